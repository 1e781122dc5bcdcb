"""How heavy and how slow the server's pages are: each that a link leads to, as an operator who is signed in sees it.

    python scripts/page_speed.py [--repeats N] [--json]

A server with accounts, and a backend that counts words, is started on loopback; from `/` every link is followed. A page's bytes
are those that came over the wire, compressed as for a browser: its own, and with the files that it names. Its time is the
median of the repeats, one request after the other, after one that is not counted. Exit code 1: a page is above a limit. The
limits are for a machine that does nothing else.
"""

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import aiohttp

from gigarank.bench import machine
from gigarank.bench.serve_process import PROGRAM, free_port, running, until_ready
from gigarank.errors import GigarankError

MOST_MS, MOST_BYTES = 300.0, 150_000
_EMAIL, _PASSWORD = "bench@example.org", "a long enough one"
_LINK = re.compile(r"<a\b[^>]*?\bhref=\"([^\"]+)\"")
_FILE = re.compile(r"<(?:link\b[^>]*?\brel=\"(?:stylesheet|icon)\"[^>]*?\bhref|(?:script|img)\b[^>]*?\bsrc)=\"([^\"]+)\"")
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Page:
    """`bytes` alone, `all_bytes` with its files."""

    path: str
    bytes: int
    all_bytes: int
    ms: float

    @property
    def above(self) -> bool:
        return self.ms > MOST_MS or self.all_bytes > MOST_BYTES


@dataclass(frozen=True, slots=True)
class Got:
    """`wire`: how many bytes the body had on its way."""

    status: int
    kind: str
    body: bytes
    wire: int
    ms: float

    @property
    def text(self) -> str:
        return self.body.decode()


def links(text: str, path: str) -> list[str]:
    """Pages of the same server, without their anchors, each once and in the page's order."""
    return _local(_LINK.findall(text), path)


def files(text: str, path: str) -> list[str]:
    return _local(_FILE.findall(text), path)


def _local(targets: Sequence[str], path: str) -> list[str]:
    found = (urldefrag(urljoin(path, unescape(target))).url for target in targets)
    return list(dict.fromkeys(one for one in found if not urlsplit(one).scheme and not one.startswith("//")))


async def get(session: aiohttp.ClientSession, path: str) -> Got:
    began = time.perf_counter()
    async with session.get(path, headers={"accept": "text/html", "accept-encoding": "gzip"}, allow_redirects=False) as answer:
        wire = await answer.read()
    took = (time.perf_counter() - began) * 1e3
    packed = answer.headers.get("content-encoding") == "gzip"
    body = zlib.decompress(wire, wbits=31) if packed else wire
    return Got(answer.status, answer.content_type, body, len(wire), took)


async def measure(session: aiohttp.ClientSession, repeats: int) -> list[Page]:
    """Every page that can be reached from `/`. Raises GigarankError for a link that leads nowhere."""
    waiting, seen, weights = deque(["/"]), {"/"}, dict[str, int]()
    pages = []
    while waiting:
        path = waiting.popleft()
        first = await get(session, path)
        if first.status >= 400:
            raise GigarankError(f"{path}: {first.status}")
        if first.status != 200 or first.kind != "text/html":
            continue
        for file in files(first.text, path):
            weights[file] = weights[file] if file in weights else (await get(session, file)).wire
        all_bytes = first.wire + sum(weights[file] for file in files(first.text, path))
        times = [(await get(session, path)).ms for _ in range(repeats)]
        pages.append(Page(path, first.wire, all_bytes, statistics.median(times)))
        new = [link for link in links(first.text, path) if link not in seen]
        seen.update(new)
        waiting.extend(new)
    return pages


def table(pages: Sequence[Page]) -> str:
    """The slowest and the heaviest, and what all have in common."""
    shown = sorted(pages, key=lambda page: -page.ms)[:_SHOWN]
    shown += [page for page in sorted(pages, key=lambda page: -page.all_bytes)[:_SHOWN] if page not in shown]
    lines = ["| page | median | KB | with its files |", "|---|---|---|---|"]
    lines += [f"| {one.path} | {one.ms:.1f} ms | {one.bytes / 1e3:.1f} | {one.all_bytes / 1e3:.1f} |" for one in shown]
    worst = f"at most {max(page.ms for page in pages):.1f} ms and {max(page.all_bytes for page in pages) / 1e3:.1f} KB"
    return "\n".join((*lines, "", f"{len(pages)} pages: {worst} (limits: {MOST_MS:g} ms, {MOST_BYTES / 1e3:g} KB)."))


async def _signed_in(session: aiohttp.ClientSession, link: str) -> None:
    body = {"token": link.rpartition("#")[2], "password": _PASSWORD}
    for path, sent in (("/v1/auth/reset", body), ("/v1/auth/sign-in", {"email": _EMAIL, "password": _PASSWORD})):
        async with session.post(path, json=sent) as answer:
            if answer.status != 200:
                raise GigarankError(f"{path}: {await answer.text()}")


def _admin(folder: Path, *words: str) -> Any:
    command = (*PROGRAM, "admin", *words, "--state-dir", str(folder), "--json")
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


async def _run(folder: Path, repeats: int) -> list[Page]:
    _admin(folder, "account", "create", "--email", _EMAIL, "--grant-usd", "5", "--role", "operator")
    site = f"http://127.0.0.1:{free_port()}"
    options = ("--port", site.rpartition(":")[2], "--state-dir", str(folder), "--backend", "fake", "--accounts")
    with running((*PROGRAM, "serve", *options, "--log-level", "error"), {}) as (process, _):
        await until_ready(site, process)
        jar = aiohttp.CookieJar(unsafe=True)  # which takes the cookie of an address that is no name
        async with aiohttp.ClientSession(site, auto_decompress=False, cookie_jar=jar) as session:
            await _signed_in(session, _admin(folder, "account", "link", _EMAIL)["url"])
            return await measure(session, repeats)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="requests for each page (5)")
    parser.add_argument("--json", action="store_true", help="every page, as one JSON object")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        pages = asyncio.run(_run(Path(folder), asked.repeats))
    above = [page.path for page in pages if page.above]
    if asked.json:
        rows = [{name: getattr(page, name) for name in Page.__slots__} for page in pages]
        print(json.dumps({"bench": "pages", "pages": rows, "above": above, "machine": machine.describe(machine.PACKAGES)}))
    else:
        print(table(pages))
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main())
