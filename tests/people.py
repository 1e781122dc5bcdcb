"""People for tests: browsers that keep a cookie, at an application with accounts, and the letters that they are sent."""

import itertools
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
from argon2 import PasswordHasher
from fastapi import FastAPI
from sqlalchemy import select, update

from accounts import NOW
from asgi import Reply, Visit, getting, posting, run, visit
from gigarank.errors import InvalidInput
from gigarank.service import people_routes
from gigarank.service.accounts import repository
from gigarank.service.app import ROUTES, create_app
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.metering.gate import AccountGate
from gigarank.service.settings import Settings
from gigarank.service.tables import accounts, outbox

PASSWORD = "a long enough one"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
KEPT = CHEAP.hash(PASSWORD)
"""Of the same kind as the server's, and made and checked at once."""
HOST = "127.0.0.1:8000"
SITE = f"http://{HOST}"


def at_once(database: Database, count: int, work: Callable[[Any, int], Any]) -> list[Any]:
    """What each of as many transactions gave: a value, or its InvalidInput."""
    found: list[Any] = [None] * count

    def one(number: int) -> None:
        try:
            found[number] = database.call(lambda connection: work(connection, number))
        except InvalidInput as error:
            found[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


class Browser:
    """It sends its cookie and the token beside it, and says where its page is from."""

    def __init__(self, app: FastAPI, site: str = SITE) -> None:
        self.app, self.site = app, site
        self.cookie = self.csrf = ""
        self.client = "10.1.2.3"
        self.socket = "127.0.0.1"

    async def send(self, request: Visit, **headers: str) -> Reply:
        """`headers`: over the usual ones; "" leaves one out."""
        usual = {"host": self.site.partition("//")[2], "user-agent": "Firefox", "x-forwarded-for": self.client}
        if request.method != "GET":
            usual |= {"origin": self.site, "sec-fetch-site": "same-origin"}
        usual |= {name: value for name, value in (("cookie", self.cookie), ("x-csrf-token", self.csrf)) if value}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in {**request.headers, **usual, **named}.items() if value}
        reply = await visit(self.app, replace(request, headers=sent, client=self.socket))
        if "set-cookie" in reply.headers:
            pair = reply.headers["set-cookie"].partition(";")[0]
            self.cookie = pair if pair.partition("=")[2] else ""
        is_json = reply.status == 200 and reply.headers["content-type"] == "application/json" and bool(reply.body)
        if is_json and "csrf_token" in reply.json:
            self.csrf = reply.json["csrf_token"]
        return reply

    async def post(self, path: str, body: Any = b"", **headers: str) -> Reply:
        return await self.send(posting(body, path), **headers)

    async def get(self, path: str, **headers: str) -> Reply:
        path, _, query = path.partition("?")
        return await self.send(replace(getting(path), query=query), **headers)

    async def delete(self, path: str, **headers: str) -> Reply:
        return await self.send(replace(getting(path), method="DELETE"), **headers)

    async def well(self, name: str, body: Any = b"", **parameters: str) -> Any:
        """The answer of the endpoint of that name, which is good and as its route describes it."""
        (route,) = [one for one in people_routes.ROUTES if one.hosted == name]
        path = re.sub(r"\{(\w+)\}", lambda found: parameters[found[1]], route.path)
        asks = {"GET": self.get, "DELETE": self.delete}
        reply = await (self.post(path, body) if route.method == "POST" else asks[route.method](path))
        assert reply.status == 200, reply.body
        assert reply.headers["cache-control"] == "no-store"
        jsonschema.validate(reply.json, route.response)
        return reply.json

    async def sign_in(self, email: str = "ada@example.org", password: str = PASSWORD) -> Any:
        return await self.well("sign_in", {"email": email, "password": password})


class Town:
    """A server with accounts on a database of its own, whose time stands at `now`."""

    def __init__(self, database: Database, database_url: str, folder: Path, **settings: Any) -> None:
        self.database, self.now, self.site = database, NOW, SITE
        self.backend = FakeBackend()
        mail = {"smtp_url": "smtp://127.0.0.1:1", "mail_from": "noreply@example.org"}  # nobody there: letters stay
        own = {"models": ("fake",), "state_dir": str(folder), "database_url": database_url, "accounts": True}
        self.settings = Settings(**{**own, **mail, "client_header": "X-Forwarded-For", **settings})
        self._numbers = itertools.count()

    def person(self, email: str = "ada@example.org", kept: str | None = KEPT) -> str:
        """An account that is verified; its id."""
        account = self.database.transaction(lambda one: repository.open_account(one, email, kept, self.now))
        assert account is not None
        return account.id

    def operator(self, email: str = "ada@example.org") -> str:
        """As `person`, and an operator."""
        made = self.person(email)
        self.database.transaction(
            lambda one: one.execute(update(accounts).where(accounts.c.id == made).values(role="operator"))
        )
        return made

    @asynccontextmanager
    async def open(self) -> AsyncIterator[FastAPI]:
        gate = AccountGate(self.settings, lambda: self.now, self.backend, ROUTES)
        app = create_app(self.settings, self.backend, gate=gate)
        async with app.router.lifespan_context(app):
            yield app

    def do(self, work: Callable[[Browser], Coroutine[Any, Any, Any]]) -> Any:
        """What `work` gives with a browser."""

        async def opened() -> Any:
            async with self.open() as app:
                return await work(self.browser(app))

        return run(opened(), 120.0)

    def browser(self, app: FastAPI) -> Browser:
        """One on a machine of its own."""
        made = Browser(app, self.site)
        made.client = f"10.0.0.{next(self._numbers)}"
        return made

    def letters(self, email: str) -> list[str]:
        """The subjects of what waits for an address."""
        return [row["subject"] for row in self._waiting(email)]

    def token(self, email: str, purpose: str) -> str:
        """Of the one link of its kind that was sent there."""
        found = [re.findall(rf"/account/{purpose}#(\S+)", row["body"]) for row in self._waiting(email)]
        (token,) = [token for tokens in found for token in tokens]
        return str(token)

    def count(self, table: Any) -> int:
        return len(self.rows(table))

    def rows(self, table: Any) -> list[Any]:
        return list(self.database.transaction(lambda one: one.execute(select(table)).mappings().all()))

    def forget_letters(self) -> None:
        self.database.transaction(lambda one: one.execute(outbox.delete()))

    def _waiting(self, email: str) -> list[Any]:
        return [row for row in self.rows(outbox) if row["recipient"] == email]
