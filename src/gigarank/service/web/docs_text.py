"""The documentation as pages: Markdown to HTML, links turned to where the pages stand, headings to be found and searched.

Knows the shipped Markdown and markdown-it. Invariant: raw HTML in a page is shown as text and never as markup.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from gigarank.errors import RouteNotFound
from gigarank.service.web.shipped import folder

_FIRST = ("models", "api", "openai", "clients", "library", "cli", "hosting", "operations")
"""What people look for first; the others follow by name."""
IMAGES = "images"
"""The folder of pictures, beside the pages."""
PICTURE_TYPES = {".svg": "image/svg+xml", ".webp": "image/webp"}
_COMMENT = re.compile(r"^<!--.*?-->\n?", re.M | re.S)
_FENCE = re.compile(r"(^```.*?^```$\n?)", re.M | re.S)
_MARKS = re.compile(r"[`*]|(?:^| )[-#>](?= )")
_TARGET = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:|^//", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Section:
    """From one heading to the next. `anchor` "": the page's beginning."""

    page: str
    title: str
    anchor: str
    text: str

    @property
    def prose(self) -> str:
        """Its sentences, in one line: without blocks of code, tables, pictures and the marks of Markdown."""
        lines = (line for line in _FENCE.sub("", self.text).splitlines() if not line.startswith(("|", "![")))
        return " ".join(_MARKS.sub("", _TARGET.sub(r"\1", " ".join(lines))).split())

    @property
    def path(self) -> str:
        return f"/docs/{self.page}" + (f"#{self.anchor}" if self.anchor else "")


@cache
def names() -> tuple[str, ...]:
    root = folder("docs")
    every = [path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.md")]
    return tuple(sorted(every, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), "/" in name, name)))


def source(name: str) -> str:
    """Raises RouteNotFound. A name is looked for in the list, so that none leads out of the folder."""
    if name not in names():
        raise RouteNotFound(f"docs: no page {name[:80]!r}", param="path", received=name[:200])
    return (folder("docs") / f"{name}.md").read_text(encoding="utf-8")


@cache
def pictures() -> Mapping[str, bytes]:
    """By their names."""
    files = sorted((folder("docs") / IMAGES).iterdir())
    return {path.name: path.read_bytes() for path in files if path.suffix in PICTURE_TYPES}


@cache
def title(name: str) -> str:
    return source(name).partition("\n")[0].removeprefix("# ").strip()


@cache
def html(name: str) -> str:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(_without_comments(source(name)))
    _name_headings(tokens)
    for token in tokens:
        for inner in token.children or ():
            if inner.type == "link_open":
                inner.attrSet("href", _link(str(inner.attrGet("href")), name))
            elif inner.type == "image":
                inner.attrs = {
                    **inner.attrs,
                    "src": f"/docs/{IMAGES}/{str(inner.attrGet('src')).rpartition('/')[2]}",
                    "loading": "lazy",
                }
    made: str = parser.renderer.render(tokens, parser.options, {})
    return _fitted(made)


def _fitted(made: str) -> str:
    """For our pages: tables scroll by themselves and have a name each, alignment is a class, an empty head is no head."""
    numbers = itertools.count(1)
    made = re.sub(r' style="text-align:(?:right|center)"', ' class="number"', made).replace(' style="text-align:left"', "")
    made = re.sub(r"<th[^>]*></th>", "<td></td>", made)
    begin = '<div class="scroll" tabindex="0" role="region" aria-label="Table {}"><table>'
    made = re.sub("<table>", lambda _: begin.format(next(numbers)), made)
    return made.replace("</table>", "</table></div>").replace("<pre>", '<pre tabindex="0">')


def _name_headings(tokens: Sequence[Token]) -> None:
    seen: set[str] = set()
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            anchor = _slug(tokens[place + 1].content)
            while anchor in seen:
                anchor += "-1"
            seen.add(anchor)
            token.attrSet("id", anchor)


def _slug(heading: str) -> str:
    """As GitHub names headings."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _link(target: str, page: str) -> str:
    """What stays in the documentation leads to its page; what points into the repository, to the list of pages."""
    if _ELSEWHERE.match(target) or target.startswith("#"):
        return target
    path, _, anchor = target.partition("#")
    parts = [*page.split("/")[:-1], *path.split("/")]
    while ".." in parts[1:]:
        place = parts.index("..", 1)
        del parts[place - 1 : place + 1]
    name = "/".join(parts).removesuffix(".md")
    return f"/docs/{name}" + (f"#{anchor}" if anchor else "") if name in names() else "/docs"


def _without_comments(text: str) -> str:
    """Comments between the blocks; one within a block of code is code."""
    return "".join(part if part.startswith("```") else _COMMENT.sub("", part) for part in _FENCE.split(text))


@cache
def sections() -> tuple[Section, ...]:
    return tuple(section for name in names() for section in _sections_of(name))


def _sections_of(name: str) -> Sequence[Section]:
    parts = re.split(r"^(#{1,4} .*)$", _without_comments(source(name)), flags=re.M)
    found = []
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        level, _, said = heading.partition(" ")
        found.append(Section(name, said.strip(), "" if level == "#" else _slug(said), text.strip()))
    return found
