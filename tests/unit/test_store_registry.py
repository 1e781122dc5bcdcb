"""Finding one file: in folders, on real index pages of both forms, and what is said where it is not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gigarank.engine.download import open_client
from gigarank.engine.pip_settings import PipSettings
from gigarank.engine.registry import Search, WantedFile, find_links, local_path, shown

WANTED = WantedFile("Tiny_Nano", "tiny_nano-1.0-py3-none-any.whl", "ab" * 32)
PAGE = "/simple/tiny-nano/"
JSON = "application/vnd.pypi.simple.v1+json"


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with open_client() as opened:
        yield opened


def search(server: Any, client: httpx2.Client, *folders: str) -> Search:
    return find_links(WANTED, PipSettings((f"{server.url}/simple",), folders, None), client)


def html(server: Any, *anchors: str, head: str = "") -> None:
    server.files[PAGE] = f"<!DOCTYPE html><html><head>{head}</head><body>{''.join(anchors)}</body></html>".encode()
    server.types[PAGE] = "text/html"


def as_json(server: Any, page: object) -> None:
    server.files[PAGE] = json.dumps(page).encode()
    server.types[PAGE] = JSON


def test_html_links_are_resolved_against_the_page(loopback: Any, client: httpx2.Client) -> None:
    html(loopback, '<a href="tiny_nano-0.9-py3-none-any.whl">old</a>', f'<a href="../../f/{WANTED.name}">new</a>')
    found = search(loopback, client)
    assert found.links == (f"{loopback.url}/f/{WANTED.name}",)
    assert found.tried == (f"{loopback.url}{PAGE}: found",)


def test_a_base_element_moves_the_links(loopback: Any, client: httpx2.Client) -> None:
    html(loopback, f'<a href="{WANTED.name}">x</a>', head='<base href="https://files.example/p/">')
    assert search(loopback, client).links == (f"https://files.example/p/{WANTED.name}",)


def test_json_is_asked_for_first_and_read(loopback: Any, client: httpx2.Client) -> None:
    file = {"filename": WANTED.name, "url": f"f/{WANTED.name}", "hashes": {"sha256": WANTED.sha256}}
    as_json(loopback, {"files": [{"filename": "other.whl", "url": "other.whl", "hashes": {}}, file]})
    assert search(loopback, client).links == (f"{loopback.url}{PAGE}f/{WANTED.name}",)
    assert str(loopback.accepted[0]).startswith(JSON)


def test_a_file_of_another_hash_is_passed_over_and_said(loopback: Any, client: httpx2.Client) -> None:
    html(loopback, f'<a href="{WANTED.name}#sha256={"cd" * 32}">x</a>')
    found = search(loopback, client)
    assert found.links == ()
    assert "another sha256" in found.tried[0]
    assert "cd" * 32 in found.tried[0]
    as_json(loopback, {"files": [{"filename": WANTED.name, "url": "x", "hashes": {"sha256": "cd" * 32}}]})
    assert search(loopback, client).links == ()


@pytest.mark.parametrize("page", [[], {}, {"files": [{"filename": "x"}]}, {"files": ["x"]}, {"files": {"a": 1}}])
def test_a_page_of_another_form_is_said(loopback: Any, client: httpx2.Client, page: object) -> None:
    as_json(loopback, page)
    found = search(loopback, client)
    assert found.links == ()
    assert "no index page" in found.tried[0]


def test_json_without_hashes_is_trusted_to_the_download(loopback: Any, client: httpx2.Client) -> None:
    as_json(loopback, {"files": [{"filename": WANTED.name, "url": "x.whl", "hashes": None}]})
    assert search(loopback, client).links == (f"{loopback.url}{PAGE}x.whl",)


def test_an_unknown_package_a_fault_and_a_page_without_the_file_are_said(loopback: Any, client: httpx2.Client) -> None:
    said = [search(loopback, client).tried[0]]
    loopback.status[PAGE] = 500
    said.append(search(loopback, client).tried[0])
    loopback.status.clear()
    html(loopback)
    said.append(search(loopback, client).tried[0])
    ends = ["404 Not Found", "500 Internal Server Error", f"no {WANTED.name} there"]
    assert said == [f"{loopback.url}{PAGE}: {end}" for end in ends]


def test_an_index_out_of_reach_is_said_and_the_next_is_asked(loopback: Any, client: httpx2.Client) -> None:
    html(loopback, f'<a href="{WANTED.name}">x</a>')
    settings = PipSettings(
        ("http://127.0.0.1:9/simple", "nonsense://x", "http://h:port", "http://[x", f"{loopback.url}/simple"), (), None
    )
    found = find_links(WANTED, settings, client)
    assert len(found.links) == 1
    assert [line.rpartition(": ")[2] == "found" for line in found.tried] == [False] * 4 + [True]


def test_a_folder_of_wheels_goes_first(loopback: Any, client: httpx2.Client, tmp_path: Path) -> None:
    html(loopback, f'<a href="{WANTED.name}">x</a>')
    (tmp_path / WANTED.name).touch()
    found = search(loopback, client, str(tmp_path), tmp_path.as_uri(), str(tmp_path / "absent"))
    uri = (tmp_path / WANTED.name).as_uri()
    assert found.links == (uri, uri, f"{loopback.url}{PAGE}{WANTED.name}")
    assert found.tried[2] == f"{tmp_path}/absent: not there"


def test_an_index_of_files_is_read(client: httpx2.Client, tmp_path: Path) -> None:
    page = tmp_path / "simple" / "tiny-nano"
    page.mkdir(parents=True)
    (page / "index.html").write_text(f'<a href="{WANTED.name}">x</a>', "utf-8")
    settings = PipSettings(((tmp_path / "simple").as_uri(), (tmp_path / "absent").as_uri()), (), None)
    found = find_links(WANTED, settings, client)
    assert found.links == ((page / WANTED.name).as_uri(),)
    assert "No such file" in found.tried[1]


def test_a_password_is_not_shown(loopback: Any, client: httpx2.Client) -> None:
    settings = PipSettings((loopback.url.replace("//", "//me:hunter2@") + "/simple",), (), None)
    assert find_links(WANTED, settings, client).tried == (f"{loopback.url}{PAGE}: 404 Not Found",)
    assert shown("https://me:hunter2@host:1/a?b#c") == "https://host:1/a?b#c"


def test_file_urls_and_only_they_have_a_path() -> None:
    assert local_path("file:///a%20b/c") == Path("/a b/c")
    assert local_path("https://host/a") is None
