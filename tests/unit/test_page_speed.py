"""The command that times pages: which links it follows, what a page weighs, and what is above a limit."""

import asyncio
import json
import runpy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gigarank.errors import GigarankError

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "page_speed.py"), run_name="page_speed")
SHEET = b"p {}" * 1_000
HEAD = (
    '<link rel="stylesheet" href="/static/a.css"><link rel="alternate" href="/a.md"><script src="/static/b.js" defer></script>'
)


def page(*targets: str) -> str:
    return HEAD + "".join(f'<p><a class="x" href="{target}">there</a></p>' for target in targets)


def test_links_are_the_server_s_own_pages_once() -> None:
    text = page("/b?x=1&amp;y=2", "c", "/b?x=1&amp;y=2#part", "https://example.org/", "//example.org/", "#here", "mailto:a@b")
    assert SCRIPT["links"](text, "/docs/a") == ["/b?x=1&y=2", "/docs/c", "/docs/a"]


def test_files_are_what_a_browser_loads_with_the_page() -> None:
    text = page("/b") + '<img alt="" src="images/c.webp">'
    assert SCRIPT["files"](text, "/docs/a") == ["/static/a.css", "/static/b.js", "/docs/images/c.webp"]


@asynccontextmanager
async def site(pages: dict[str, str], asked: list[str]) -> AsyncIterator[aiohttp.ClientSession]:
    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path.startswith("/static"):
            made = web.Response(body=SHEET, content_type="text/css")
            made.enable_compression(web.ContentCoding.gzip)
            return made
        if request.path == "/away":
            return web.Response(status=303, headers={"location": "/"})
        if request.path not in pages:
            return web.Response(status=404)
        return web.Response(text=pages[request.path], content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/"), auto_decompress=False) as session:
        yield session


def measured(pages: dict[str, str], asked: list[str]) -> list[Any]:
    async def work() -> list[Any]:
        async with site(pages, asked) as session:
            found: list[Any] = await SCRIPT["measure"](session, 2)
            return found

    return asyncio.run(work())


def test_every_page_is_asked_for_once_more_than_it_is_timed_and_a_file_once() -> None:
    asked: list[str] = []
    first, second = measured({"/": page("/b", "/away"), "/b": page("/", "/b")}, asked)
    assert [asked.count(path) for path in ("/", "/b", "/away", "/static/a.css", "/static/b.js")] == [3, 3, 1, 1, 1]
    assert (first.path, second.path, first.bytes) == ("/", "/b", len(page("/b", "/away")))
    assert 0 < first.all_bytes - first.bytes == second.all_bytes - second.bytes < len(SHEET)


def test_a_link_that_leads_nowhere_is_an_error() -> None:
    with pytest.raises(GigarankError, match="/gone: 404"):
        measured({"/": page("/gone")}, [])


def test_a_page_is_above_a_limit_by_its_time_or_by_all_its_bytes() -> None:
    made = SCRIPT["Page"]
    assert not made("/a", 1, 150_000, 300.0).above
    assert made("/a", 1, 150_001, 1.0).above
    assert made("/a", 1, 1, 300.1).above
    lines = SCRIPT["table"]([made("/a", 2_000, 4_000, 7.0), made("/b", 1_000, 9_000, 3.0)]).splitlines()
    assert lines[2:] == [
        "| /a | 7.0 ms | 2.0 | 4.0 |",
        "| /b | 3.0 ms | 1.0 | 9.0 |",
        "",
        "2 pages: at most 7.0 ms and 9.0 KB (limits: 300 ms, 150 KB).",
    ]


@pytest.mark.slow
def test_it_finds_the_pages_of_a_server_with_those_of_an_operator(capsys: pytest.CaptureFixture[str]) -> None:
    code = SCRIPT["main"](["--repeats", "1", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert {"/", "/models/nano", "/playground", "/docs/api", "/console/keys", "/operator/health"} <= {
        one["path"] for one in told["pages"]
    }
    assert code == (1 if told["above"] else 0)
    assert max(one["all_bytes"] for one in told["pages"]) < 150_000
