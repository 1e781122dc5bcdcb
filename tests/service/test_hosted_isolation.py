"""One account never sees another's anything: every route is walked with one account's key and the other's names."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from accounts import Made, make_account
from asgi import Reply, Visit, ask_in_turn, getting, posting, run
from batching import Client, lines
from gigarank.service import people_routes
from gigarank.service.app import ROUTES, create_app
from gigarank.service.call import Route
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.hosted import open_secrets
from gigarank.service.settings import Settings
from gigarank.service.tables import batches, files, ledger, sessions, usage
from people import Browser, Town

BODY = {"query": "red planet", "documents": ["the red planet is Mars"]}
BATCH = {"endpoint": "/v1/rerank", "completion_window": "24h"}


class Two:
    """`ours` looks at what is `theirs`. `names`: by what theirs is called."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        secrets = open_secrets(settings)
        self.ours = make_account(database, secrets, 10**6, "ours@example.org", name="our key")
        self.theirs = make_account(database, secrets, 777_777, "theirs@example.org", name="their key")
        self.ask(self.of(self.theirs, posting(BODY)), self.of(self.ours, posting(BODY)))
        self.names = {"theirs@example.org", "their key", self.theirs.account_id, self.theirs.key_id, self.theirs.key[:8]}
        self.batch()
        self.names |= self.rows(files.c.id, self.theirs) | self.rows(batches.c.id, self.theirs)
        self.names |= self.rows(usage.c.id, self.theirs) | self.rows(ledger.c.id, self.theirs)

    def batch(self) -> None:
        """One of theirs, with its files."""

        async def work() -> None:
            app = create_app(self.settings, FakeBackend())
            async with app.router.lifespan_context(app):
                client = Client(app, self.theirs.key)
                await client.ended((await client.create(lines(2)))["id"])

        run(work(), 60.0)

    def of(self, made: Made, request: Visit) -> Visit:
        return replace(request, headers={**request.headers, "x-api-key": made.key})

    def rows(self, column: object, made: Made) -> set[str]:
        table = column.table  # type: ignore[attr-defined]
        wanted = select(column).where(table.c.account_id == made.account_id)  # type: ignore[call-overload]
        return set(self.database.transaction(lambda one: one.execute(wanted).scalars().all()))

    def ask(self, *requests: Visit) -> list[Reply]:
        return ask_in_turn(create_app(self.settings, FakeBackend()), *requests, timeout_s=120.0)


@pytest.fixture
def two(database: Database, database_url: str, tmp_path: Path) -> Iterator[Two]:
    yield Two(
        Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True),
        database,
    )


def requests_of(route: Route, name: str) -> Visit:
    """A request that asks for `name` wherever the route takes a name."""
    path = re.sub(r"\{\w+(:path)?\}", name, route.path)
    if route.method == "GET":
        request = getting(path)
        request.query = "&".join(f"{field}={name}" for field in ("key_id", "after", "model", "account_id", "account"))
        return request
    if route.method == "DELETE":
        return replace(getting(path), method="DELETE")
    return posting({"account_id": name, "key_id": name, "models": [name], "input_file_id": name, **BATCH}, path)


def test_no_route_shows_one_account_what_is_another_s(two: Two) -> None:
    asked = [(route, name) for route in ROUTES for name in sorted(two.names) if route.hosted or "{" in route.path]
    replies = two.ask(*(two.of(two.ours, requests_of(route, name)) for route, name in asked))
    for (route, name), reply in zip(asked, replies, strict=True):
        assert reply.status < 500
        seen = {one for one in two.names - {name} if one.encode() in reply.body}
        assert not seen, (route.method, route.path, name)
        if name.encode() in reply.body:  # what was sent may be said again, by a refusal or by what the client made of it
            assert reply.status >= 400 or route.hosted == "mint_token", (route.method, route.path, reply.body)


def test_every_plain_look_shows_what_is_one_s_own(two: Two) -> None:
    looks = [one for one in ROUTES if one.hosted and one.method == "GET" and "{" not in one.path and not one.visitor]
    for route, reply in zip(looks, two.ask(*(two.of(two.ours, getting(route.path)) for route in looks)), strict=True):
        assert reply.status == 200
        assert not any(name.encode() in reply.body for name in two.names), route.path


def names_of(town: Town, account_id: str, email: str) -> set[str]:
    """By what a person's things are called."""
    mine = [row["id"] for row in town.rows(sessions) if row["account_id"] == account_id]
    return {account_id, email, *mine}


def test_no_person_sees_or_ends_what_is_another_s(database: Database, database_url: str, tmp_path: Path) -> None:
    """Every route of people, with one's session and the other's names wherever a name fits."""
    town = Town(database, database_url, tmp_path)
    ours, theirs = town.person("ours@example.org"), town.person("theirs@example.org")

    async def work(browser: Browser) -> None:
        other = town.browser(browser.app)
        await other.sign_in("theirs@example.org")
        await browser.sign_in("ours@example.org")
        names = names_of(town, theirs, "theirs@example.org")
        walked = [route for route in people_routes.ROUTES if route.hosted not in ("sign_out", "sign_out_everywhere")]
        for route, name in ((route, name) for route in walked for name in sorted(names)):
            path = re.sub(r"\{\w+\}", name, route.path)
            body = dict.fromkeys(("email", "token", "password", "new_password", "code", "account_id", "key_id"), name)
            browser.client = f"192.0.2.{len(name)}"
            if route.method == "POST":
                reply = await browser.post(path, body)
            elif route.method == "DELETE":
                reply = await browser.delete(path)
            else:
                reply = await browser.get(f"{path}?account_id={name}&after={name}&key_id={name}")
            assert reply.status < 500, (route.path, reply.body)
            seen = {one for one in names - {name} if one.encode() in reply.body}
            assert not seen, (route.method, route.path, name)
            assert route.visitor != "operator" or reply.status == 403
            assert route.visitor != "person" or "{" not in route.path or reply.status == 404, (route.path, reply.body)
        assert (await other.well("show_me"))["account_id"] == theirs
        assert (await browser.well("show_me"))["account_id"] == ours

    town.do(work)


def test_no_key_is_a_session_and_no_session_a_key(two: Two) -> None:
    visited = [route for route in ROUTES if route.visitor and route.visitor != "anyone"]
    replies = two.ask(*(replace(two.of(two.ours, requests_of(one, "x")), query="") for one in visited))
    assert {reply.status for reply in replies} <= {401, 403} and len(replies) > 5
    looks = [getting(path, cookie="gigarank=x", host="localhost") for path in ("/v1/key", "/v1/account", "/v1/models")]
    assert [reply.status for reply in two.ask(*looks)] == [401, 401, 401]
