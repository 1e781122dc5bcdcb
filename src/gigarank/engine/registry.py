"""Finds one file of one package in the Python registry: in a folder, a file index, or a simple index over HTTP.

Knows the two forms of a simple index (PEP 503 HTML, PEP 691 JSON) and asks for nothing else; installs nothing and resolves
no dependency. Invariant: a link is given only where the index states no other hash than the wanted one.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit
from urllib.request import url2pathname

import httpx2

from gigarank.engine.pip_settings import PipSettings

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


@dataclass(frozen=True, slots=True)
class WantedFile:
    """Which file: `name` is its whole name, `sha256` what it must hold."""

    package: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Search:
    """`links` in the order of trust; `tried` says of each place what came of it, for people."""

    links: tuple[str, ...]
    tried: tuple[str, ...]


def find_links(wanted: WantedFile, settings: PipSettings, client: httpx2.Client) -> Search:
    """Every place that has the file: folders first, then the indexes in pip's order. Raises nothing of the network's."""
    links: list[str] = []
    tried: list[str] = []
    for folder in settings.find_links:
        path = _local(folder) / wanted.name
        if path.is_file():
            links.append(path.absolute().as_uri())
        tried.append(f"{shown(folder)}: {'found' if path.is_file() else 'not there'}")
    for index in settings.indexes:
        page = f"{index}/{re.sub(r'[-_.]+', '-', wanted.package).lower()}/"
        found, said = _on_page(page, wanted, client)
        links += found
        tried.append(f"{shown(page)}: {said}")
    return Search(tuple(links), tuple(tried))


def shown(url: str) -> str:
    """The URL without the name and password that it may carry."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is no URL"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def reason(error: Exception) -> str:
    """What went wrong, in few words; httpx2 would put the whole URL, password and all, into a refusal's text."""
    if isinstance(error, httpx2.HTTPStatusError):
        return f"{error.response.status_code} {error.response.reason_phrase}"
    return str(error) or type(error).__name__


def local_path(url: str) -> Path | None:
    """The path of a file URL, None for any other."""
    parts = urlsplit(url)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def _local(folder: str) -> Path:
    return local_path(folder) or Path(folder).expanduser()


def _on_page(page: str, wanted: WantedFile, client: httpx2.Client) -> tuple[list[str], str]:
    """The links that the index page gives for the file, and one phrase on what came of asking."""
    try:
        links = list(_page_links(page, client))
    except (OSError, httpx2.HTTPError, httpx2.InvalidURL) as error:
        return [], reason(error)
    except ValueError as error:
        return [], f"no index page: {error}"
    named = [(url, sha256) for url, name, sha256 in links if name == wanted.name]
    right = [url for url, sha256 in named if sha256 in (None, wanted.sha256)]
    if named and not right:
        return [], f"{wanted.name} has another sha256 there: {named[0][1]}"
    return right, "found" if right else f"no {wanted.name} there"


def _page_links(page: str, client: httpx2.Client) -> Iterator[tuple[str, str, str | None]]:
    if (folder := local_path(page)) is not None:
        yield from _html_links((folder / "index.html").read_text("utf-8"), page)
        return
    answer = client.get(page, headers={"Accept": _ACCEPT})
    answer.raise_for_status()
    parse: Callable[[str, str], Iterator[tuple[str, str, str | None]]]
    parse = _json_links if "json" in answer.headers.get("content-type", "") else _html_links
    yield from parse(answer.text, str(answer.url))


def _json_links(text: str, base: str) -> Iterator[tuple[str, str, str | None]]:
    page = json.loads(text)
    files = page.get("files") if isinstance(page, dict) else None
    if not isinstance(files, list):
        raise ValueError("JSON without a list of files")
    for file in files:
        if not isinstance(file, dict) or not isinstance(file.get("url"), str):
            raise ValueError("a file without a url")
        hashes = file.get("hashes")
        yield urljoin(base, file["url"]), str(file.get("filename")), (hashes or {}).get("sha256")


def _html_links(text: str, base: str) -> Iterator[tuple[str, str, str | None]]:
    parser = _Anchors()
    parser.feed(text)
    for href in parser.links:
        url, fragment = urldefrag(urljoin(urljoin(base, parser.base), href))
        name = unquote(urlsplit(url).path.rpartition("/")[2])
        yield url, name, fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None


class _Anchors(HTMLParser):
    """Collects where a page's anchors point; a `base` element moves them all."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "base" and href and not self.base:
            self.base = href
        elif tag == "a" and href:
            self.links.append(href)
