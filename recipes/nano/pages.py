"""Headings and passages out of documentation packages of Debian 12, in several languages.

    python pages.py fetch PACKAGES            # downloads with apt-get, checks packages.tsv's hashes, unpacks
    python pages.py read PACKAGES --output passages.jsonl

A line of the output: {"lang", "page" (the same in all languages of a manual), "place" (which passage of the page), "heading",
"terms" (the page's index terms), "text"}. The packages and their licences: README.md.
"""

import argparse
import csv
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WORDS = 80  # of a passage; a character of a script without blanks is a third of a word
LEAST = 14
HELP, MANUALS = (
    "usr/share/libreoffice/help",
    {"postgresql": "usr/share/doc/postgresql-doc-15/html", "python": "usr/share/doc/python3.11/html"},
)
HANDBOOK = "usr/share/doc/debian-handbook/html"
HANDBOOK_SKIPPED = {"index", "preface", "foreword"}
SKIPPED = {"script", "style", "head", "nav", "header", "footer", "aside", "table"}
NO_BLANKS = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")


def fetch(folder: Path) -> None:
    """Raises CalledProcessError where a package cannot be had, ValueError where it is another one."""
    folder.mkdir(parents=True, exist_ok=True)
    with (HERE / "packages.tsv").open() as file:
        wanted = list(csv.DictReader(file, delimiter="\t"))
    for one in wanted:
        kept = folder / f"{one['package']}.deb"
        if not kept.exists():
            subprocess.run(["apt-get", "download", "-qq", f"{one['package']}={one['version']}"], cwd=folder, check=True)
            next(folder.glob(f"{one['package']}_*.deb")).rename(kept)
        found = hashlib.sha256(kept.read_bytes()).hexdigest()
        if found != one["sha256"]:
            raise ValueError(f"{kept}: sha256 {found}, expected {one['sha256']}")
        subprocess.run(["dpkg-deb", "-x", str(kept), str(folder / "unpacked")], check=True)


class Sections(HTMLParser):
    """Headings, each with the text blocks below it; `terms` from the page's keywords."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sections: list[tuple[str, list[str]]] = []
        self.terms: list[str] = []
        self._skip: list[str] = []
        self._block: str | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "meta" and given.get("itemprop") == "keywords":
            self.terms.append(" ".join((given.get("content") or "").replace(",", ", ").split()))
        if tag in SKIPPED:
            self._skip.append(tag)
        elif tag in {"h1", "h2", "h3", "h4"} or tag in {"p", "dd", "li", "dt"}:
            self._close()
            self._block = "heading" if tag[0] == "h" else "text"

    def handle_endtag(self, tag: str) -> None:
        if self._skip and tag == self._skip[-1]:
            self._skip.pop()
        elif tag in {"h1", "h2", "h3", "h4", "p", "dd", "li", "dt"}:
            self._close()

    def handle_data(self, data: str) -> None:
        if not self._skip and self._block is not None:
            self._text += data

    def _close(self) -> None:
        text = " ".join(self._text.replace("¶", "").split())
        if text and self._block == "heading":
            self.sections.append((re.sub(r"^([A-Z]?\d+\.)+\d*\.? *", "", text), []))
        elif text and self.sections:
            self.sections[-1][1].append(text)
        self._block, self._text = None, ""


def length(text: str) -> float:
    tight = len(NO_BLANKS.findall(text))
    return len(text.split()) + tight / 3


def passages(path: Path, lang: str, page: str) -> Iterator[dict[str, Any]]:
    reader = Sections()
    reader.feed(path.read_text(encoding="utf-8", errors="replace"))
    reader.close()
    place = 0
    for heading, blocks in reader.sections:
        for text in merged(blocks):
            yield {"lang": lang, "page": page, "place": place, "heading": heading, "terms": reader.terms, "text": text}
            place += 1


def merged(blocks: list[str]) -> Iterator[str]:
    """Neighbouring blocks up to about WORDS; a shorter rest than LEAST is left out."""
    held = ""
    for block in blocks:
        if held and length(held) + length(block) > WORDS:
            if length(held) >= LEAST:
                yield held
            held = ""
        held = f"{held} {block}".strip()
    if length(held) >= LEAST:
        yield held


def read(folder: Path) -> Iterator[dict[str, Any]]:
    help_folder = folder / "unpacked" / HELP
    for language in sorted(help_folder.iterdir()):
        for path in sorted((language / "text").rglob("*.html")):
            yield from passages(path, language.name.split("-")[0], f"office/{path.relative_to(language)}")
    for name, place in MANUALS.items():
        for path in sorted((folder / "unpacked" / place).rglob("*.html")):
            if "_sources" not in path.parts and path.name not in {"genindex.html", "search.html", "bookindex.html"}:
                yield from passages(path, "en", f"{name}/{path.stem}")
    for language in sorted((folder / "unpacked" / HANDBOOK).iterdir()):
        for path in sorted(language.glob("*.html")):
            if path.stem not in HANDBOOK_SKIPPED:
                yield from passages(path, language.name.split("-")[0], f"handbook/{path.stem}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fetch", "read"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    if given.what == "fetch":
        fetch(given.folder)
        return
    if given.output is None:
        parser.error("read needs --output")
    with given.output.open("x", encoding="utf-8") as file:
        file.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in read(given.folder))


if __name__ == "__main__":
    main()
