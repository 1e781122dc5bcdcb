"""Every page of people is walked: by nobody, by somebody without the session's token, and with what is another's."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from asgi import Reply
from forms import BROWSER, look, send, upload
from gigarank.service.accounts.cookies import csrf_token
from gigarank.service.call import Route
from gigarank.service.credits.schemas import Grant
from gigarank.service.credits.service import grant
from gigarank.service.db import Database
from gigarank.service.hosted import open_secrets
from gigarank.service.keys.schemas import Terms
from gigarank.service.keys.service import issue
from gigarank.service.offer_tables import bodies
from gigarank.service.tables import accounts, batches, files, grants, keys, ledger, metadata, sessions, usage
from gigarank.service.web.console_routes import ROUTES
from people import Browser, Town

OWNED = (sessions, keys, files, batches, usage, ledger, grants, bodies)
WALKED = [route for route in ROUTES if route.visitor != "anyone" and not route.path.endswith(("/sign-out", "everywhere"))]
_NAMES = ("key_id", "input_file_id", "file_id", "account_id", "name", "model", "state")
ASKED = {"query": "red planet", "documents": ["the red planet is Mars"]}


@pytest.fixture
def town(database: Database, database_url: str, tmp_path: Path) -> Iterator[Town]:
    yield Town(database, database_url, tmp_path, max_body_days=30)


def path_of(route: Route, name: str) -> str:
    return re.sub(r"\{\w+\}", name, route.path)


async def visit(browser: Browser, route: Route, name: str, token: str) -> Reply:
    """As one's own form would be sent, but for the names in it."""
    path = path_of(route, name)
    if route.method == "GET":
        return await browser.get(f"{path}?" + "&".join(f"{one}={name}" for one in ("key_id", "after", "file")), accept=BROWSER)
    if route.upload:
        return await upload(browser, path, csrf_token=token)
    fields = dict.fromkeys((*_NAMES, "code", "password", "days", "usd", "reason"), name)
    return await send(browser, path, {**fields, "csrf_token": token})


def state(town: Town) -> dict[str, Any]:
    """Of all tables, but for when a session was seen last."""
    return {table.name: town.rows(table) for table in metadata.sorted_tables if table is not sessions}


def test_nobody_gets_a_page_of_the_console(town: Town) -> None:
    async def work(browser: Browser) -> None:
        before = state(town)
        for route in WALKED:
            reply = await visit(browser, route, "x", "")
            assert reply.status == 303, route.path
            onward = f"?next={path_of(route, 'x')}" if route.method == "GET" else ""
            assert reply.headers["location"] == f"/sign-in{onward}"
        assert state(town) == before

    town.do(work)


def test_no_form_is_taken_without_the_session_s_token(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        before = state(town)
        for route in WALKED:
            if route.method == "POST" and route.visitor == "person":
                for token in ("", csrf_token("another session")):
                    reply = await visit(browser, route, "x", token)
                    assert reply.status == 403 and b"csrf_token is expected" in reply.body, route.path
        assert state(town) == before
        assert town.count(sessions) == 1

    town.do(work)


def test_operators_pages_are_operators(town: Town) -> None:
    town.person()

    async def work(browser: Browser) -> None:
        await browser.sign_in()
        before, token = state(town), csrf_token(browser.cookie.partition("=")[2])
        mine = [route for route in WALKED if route.visitor == "operator"]
        assert len(mine) == 12
        for route in mine:
            reply = await visit(browser, route, town.rows(accounts)[0]["id"], token)
            assert reply.status == 403 and b"this is for operators" in reply.body, route.path
        assert state(town) == before
        assert not [link for link in (await look(browser, "/console")).links if "/operator" in link]

    town.do(work)


async def settle_in(town: Town, browser: Browser, email: str) -> set[str]:
    """An account with a session, a key, usage, a kept body; the names by which its things are called."""
    account_id = town.person(email)
    await browser.sign_in(email)
    secrets, label = open_secrets(town.settings), f"key of {email}"
    town.database.transaction(lambda one: grant(one, account_id, Grant(1_000_000), town.now))
    _, text = town.database.transaction(lambda one: issue(one, secrets, account_id, Terms(label), town.now))
    await browser.post("/v1/logging", {"days": 3}, x_api_key=text)
    for _ in range(2):
        assert (await browser.post("/v1/rerank", ASKED, x_api_key=text)).status == 200
    mine: set[str] = set()
    for table in OWNED:
        wanted = select(table.c.id).where(table.c.account_id == account_id)
        mine |= set(town.database.transaction(lambda one, wanted=wanted: one.execute(wanted).scalars().all()))  # type: ignore[misc]
    return {account_id, email, label, *mine}


def test_no_page_shows_or_changes_what_is_another_s(town: Town) -> None:
    async def work(browser: Browser) -> None:
        other = town.browser(browser.app)
        names = await settle_in(town, other, "theirs@example.org")
        await settle_in(town, browser, "ours@example.org")
        token = csrf_token(browser.cookie.partition("=")[2])
        ours = [route for route in WALKED if route.visitor == "person" and "{" in route.path]
        before, each = state(town), sorted({one.partition("_")[0]: one for one in names if " " not in one}.values())
        for route in ours:
            for name in each:  # one of a kind
                reply = await visit(browser, route, name, token)
                assert reply.status == 404, (route.method, route.path, name, reply.status)
                assert not {one for one in names - {name} if one.encode() in reply.body}
        assert state(town) == before
        for route in (one for one in WALKED if one.visitor == "person" and one.method == "GET" and "{" not in one.path):
            for name in each:
                reply = await visit(browser, route, name, token)
                assert reply.status == 200
                seen = {one for one in names - {name} if one.encode() in reply.body}
                assert not seen, (route.path, name, seen)
        assert (await look(other, "/console")).text.count("theirs@example.org") == 1
        assert town.count(accounts) == 2

    town.do(work)


def test_every_page_is_small_and_has_one_heading(town: Town) -> None:
    async def work(browser: Browser) -> None:
        await settle_in(town, browser, "ours@example.org")
        for route in ROUTES:
            if route.method == "GET" and "{" not in route.path and route.visitor != "operator":
                page = await look(browser, route.path)
                text = page.reply.body.decode()
                assert text.count("<h1>") == 1 and len(text) < 150_000, route.path
                identities = re.findall(r'\sid="([^"]+)"', text)
                assert len(identities) == len(set(identities)), route.path

    town.do(work)
