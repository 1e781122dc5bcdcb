"""Pages as a browser without scripts sees them: their text, their links, and their forms with what stands in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode

from asgi import Reply
from batching import BOUNDARY, form
from people import Browser

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
FORM = "application/x-www-form-urlencoded"


@dataclass
class Page(HTMLParser):
    """`forms`: by their action, what each would send untouched. `tables`: by their caption, the texts of their rows."""

    reply: Reply
    forms: dict[str, dict[str, str]] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    _form: dict[str, str] | None = None
    _select: str = ""
    _rows: list[list[str]] | None = None
    _tag: str = ""
    _area: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        assert self.reply.headers["content-type"] == "text/html; charset=utf-8", self.reply.body
        self.feed(self.reply.body.decode())

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._tag = tag
        if tag == "a":
            self.links.append(given["href"])
        elif tag == "form":
            self._form = self.forms.setdefault(given["action"], {})
        elif tag == "table":
            self._rows = []
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in ("td", "th") and self._rows:
            self._rows[-1].append("")
        elif self._form is not None:
            self._input(tag, given)

    def _input(self, tag: str, given: dict[str, str]) -> None:
        assert self._form is not None
        if tag == "input" and "name" in given and (given.get("type") != "checkbox" or "checked" in given):
            self._form[given["name"]] = given.get("value", "")
        elif tag == "select":
            self._select = given["name"]
        elif tag == "option" and ("selected" in given or self._select not in self._form):
            self._form[self._select] = given["value"]
        elif tag == "textarea":
            self._area = given["name"]
            self._form[self._area] = ""

    def handle_data(self, data: str) -> None:
        if self._tag in ("script", "style"):
            return
        self.words.append(data)
        if self._rows and self._rows[-1]:
            self._rows[-1][-1] = " ".join(f"{self._rows[-1][-1]} {data}".split())
        elif self._tag == "caption" and self._rows == []:
            self.tables[data.strip()] = self._rows
        if self._area and self._form is not None:
            self._form[self._area] += data

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""
        if tag == "form":
            self._form = None
        elif tag == "table":
            self._rows = None
        elif tag == "textarea":
            self._area = ""


async def look(browser: Browser, path: str) -> Page:
    """The page at a path, which is there."""
    reply = await browser.get(path, accept=BROWSER)
    assert reply.status == 200, (path, reply.status, reply.headers.get("location"), reply.body)
    return Page(reply)


async def send(browser: Browser, path: str, fields: Mapping[str, str], **headers: str) -> Reply:
    """As a form does: no header proves the session."""
    return await browser.post(
        path, urlencode(fields).encode(), **{"content_type": FORM, "accept": BROWSER, "x_csrf_token": "", **headers}
    )


async def upload(browser: Browser, path: str, content: bytes = b"{}", **fields: str) -> Reply:
    """As a form with a file does."""
    body, kind = form(content, purpose="batch", **fields), f"multipart/form-data; boundary={BOUNDARY}"
    return await browser.post(path, body, content_type=kind, accept=BROWSER, x_csrf_token="")


async def fill(browser: Browser, path: str, fields: Mapping[str, str | None], action: str = "") -> Reply:
    """The answer to the form of a page, with these fields changed; None takes one away."""
    form = {**(await look(browser, path)).forms[action or path.partition("?")[0]], **fields}
    return await send(
        browser, action or path.partition("?")[0], {name: text for name, text in form.items() if text is not None}
    )


async def follow(browser: Browser, reply: Reply) -> Page:
    """Where an answer leads."""
    assert reply.status == 303, (reply.status, reply.body)
    return await look(browser, reply.headers["location"])
