"""Batches in the console: a file is sent, a batch started, watched, cancelled, and what it wrote is fetched."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batching import line, lines
from forms import BROWSER, Page, fill, follow, look, send, upload
from gigarank.service.accounts.cookies import csrf_token
from gigarank.service.credits.schemas import Grant
from gigarank.service.credits.service import grant
from gigarank.service.db import Database
from gigarank.service.hosted import open_database, open_secrets
from gigarank.service.keys.schemas import Terms
from gigarank.service.keys.service import issue, set_disabled
from gigarank.service.settings import Settings
from gigarank.service.tables import batches, files, usage
from people import Browser, Town

PATH = "/console/batches"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """On SQLite; batches themselves are tested on both. One account with credit and a key."""
    url = f"sqlite:///{tmp_path / 'test.db'}"
    database: Database = open_database(Settings(state_dir=str(tmp_path), database_url=url))
    made = Town(database, url, tmp_path, max_file_bytes=100_000)
    account_id, secrets = made.person(), open_secrets(made.settings)
    database.transaction(lambda one: grant(one, account_id, Grant(1_000_000), made.now))
    database.transaction(lambda one: issue(one, secrets, account_id, Terms("payer"), made.now))
    yield made
    database.close()


def signed_in(town: Town, work: Any) -> None:
    async def begun(browser: Browser) -> None:
        await browser.sign_in()
        await work(browser, csrf_token(browser.cookie.partition("=")[2]))

    town.do(begun)


async def ended(browser: Browser, path: str) -> Page:
    """The batch's page once it says how it ended."""
    for _ in range(600):
        page = await look(browser, path)
        if "data-live-toggle" not in page.reply.body.decode():
            return page
        await asyncio.sleep(0.05)
    raise AssertionError(page.text)


def test_from_a_file_to_its_answers(town: Town) -> None:
    async def work(browser: Browser, token: str) -> None:
        assert "Send a file first." in (await look(browser, PATH)).text
        sent = await upload(browser, "/console/files", lines(2) + line("wrong", {"query": 1}), csrf_token=token)
        page = await follow(browser, sent)
        file_id = town.rows(files)[0]["id"]
        assert "The file is kept." in page.text and page.forms[PATH]["input_file_id"] == file_id
        begun = await fill(browser, f"{PATH}?file={file_id}", {})
        path = begun.headers["location"]
        page = await ended(browser, path)
        assert "State completed" in page.text and "3 of 3 done, 1 of them failed" in page.text
        assert f"{path}/cancel" not in page.forms
        links = [link for link in page.links if "/console/files/" in link]
        answers, errors = [await browser.get(link, accept=BROWSER) for link in links]
        assert answers.body.count(b'"custom_id":"r-') == 2 and b'"custom_id":"wrong"' in errors.body
        assert answers.headers["content-disposition"] == f'attachment; filename="{links[0].rpartition("/")[2]}.jsonl"'
        assert answers.headers["content-type"] == "application/jsonl"
        listed = (await look(browser, PATH)).tables["Batches, the newest first"][1]
        assert listed[1:6] == ["/v1/rerank", "completed", "2", "1", "3"]
        assert {row["key_id"] for row in town.rows(usage)} == {town.rows(batches)[0]["key_id"]}
        action = f"/console/files/{file_id}/delete"
        assert "The file is deleted." in (await follow(browser, await fill(browser, PATH, {}, action))).text
        assert file_id not in [row["id"] for row in town.rows(files)]

    signed_in(town, work)


def test_a_batch_is_cancelled(town: Town) -> None:
    town.backend.delay_s = 5.0

    async def work(browser: Browser, token: str) -> None:
        await upload(browser, "/console/files", lines(300), csrf_token=token)
        path = (await fill(browser, PATH, {})).headers["location"]
        action = f"{path}/cancel"
        assert "is being cancelled" in (await follow(browser, await fill(browser, path, {}, action))).text
        assert town.rows(batches)[0]["state"] in ("cancelling", "cancelled")
        assert action not in (await look(browser, path)).forms

    signed_in(town, work)


def test_what_is_no_batch_says_its_lines(town: Town) -> None:
    async def work(browser: Browser, token: str) -> None:
        await upload(browser, "/console/files", lines(1) + b"no json\n", csrf_token=token)
        page = await ended(browser, (await fill(browser, PATH, {})).headers["location"])
        assert "State failed" in page.text and page.tables["What is wrong with the file"][1][0] == "2"

    signed_in(town, work)


def test_a_file_needs_the_session_s_token_and_its_size(town: Town) -> None:
    async def work(browser: Browser, token: str) -> None:
        for wrong in ({}, {"csrf_token": csrf_token("other")}):
            reply = await upload(browser, "/console/files", lines(1), **wrong)
            assert reply.status == 403 and "csrf_token is expected" in Page(reply).text
        reply = await upload(browser, "/console/files", b"x" * 200_000, csrf_token=token)
        assert reply.status == 413 and "max_file_bytes" in Page(reply).text
        assert town.count(files) == 0

    signed_in(town, work)


def test_only_a_key_that_may_ask_models_pays(town: Town) -> None:
    async def work(browser: Browser, token: str) -> None:
        await upload(browser, "/console/files", lines(1), csrf_token=token)
        form = (await look(browser, PATH)).forms[PATH]
        account_id, secrets = town.rows(files)[0]["account_id"], open_secrets(town.settings)
        looks = town.database.transaction(lambda one: issue(one, secrets, account_id, Terms("l", ("account",)), town.now))[0].id
        town.database.transaction(lambda one: set_disabled(one, form["key_id"], True))
        for key_id, status, said in (
            (looks, 403, "the API key has no scope inference"),
            (form["key_id"], 401, "the API key is disabled"),
            ("", 400, "key_id: must not be empty"),
            ("key_of_nobody", 404, "no key 'key_of_nobody'"),
        ):
            reply = await send(browser, PATH, {**form, "key_id": key_id})
            assert reply.status == status and said in Page(reply).text, key_id
        assert "make one first" in (await look(browser, PATH)).text
        assert town.count(batches) == 0

    signed_in(town, work)
