"""What a silent database kept from being given back is given back once it answers; and what stays behind of ended processes."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, make_url, select
from sqlalchemy.exc import OperationalError

from accounts import NOW, Made, make_account
from asgi import posting, run, visit
from gigarank.errors import DatabaseUnavailable, StillRunning
from gigarank.service import db
from gigarank.service.app import create_app
from gigarank.service.credits import repository as credit
from gigarank.service.credits.service import audit
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.hosted import open_secrets
from gigarank.service.metering import repeats
from gigarank.service.metering.owed import Owed
from gigarank.service.metering.repeats import HELD_S, Kept, Repeat
from gigarank.service.metering.sweeper import tend
from gigarank.service.settings import Settings
from gigarank.service.tables import repeats as kept
from gigarank.service.tables import reservations

BODY = {"query": "red planet", "documents": ["the red planet is Mars", "a red car"]}


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True)


@pytest.fixture
def made(settings: Settings, database: Database) -> Iterator[Made]:
    yield make_account(database, open_secrets(settings), 1_000)
    assert database.transaction(audit).problems == ()


class Silence:
    """A part of the repository that raises what a silent database does, as long as it is on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.on, self.met = True, 0
        works = getattr(module, name)

        def broken(*arguments: Any, **more: Any) -> Any:
            if self.on:
                self.met += 1
                raise OperationalError("statement", {}, Exception("the server closed the connection"))
            return works(*arguments, **more)

        monkeypatch.setattr(module, name, broken)


def left(database: Database, table: Any) -> int:
    return database.transaction(lambda one: len(one.execute(select(table)).all()))


async def until_none(database: Database, table: Any) -> None:
    async with asyncio.timeout(20.0):
        while left(database, table):
            await asyncio.sleep(0.02)


def test_a_hold_is_given_back_by_the_server_itself_once_the_database_answers(
    settings: Settings, database: Database, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own sweep would not: it renews what its process holds."""
    silence = Silence(monkeypatch, credit, "take_hold")

    async def work() -> int:
        app = create_app(settings, FakeBackend())
        async with app.router.lifespan_context(app):
            reply = await visit(app, posting(BODY, x_api_key=made.key))
            assert silence.met >= 2  # settling, and giving back
            assert left(database, reservations) == 1
            silence.on = False
            await until_none(database, reservations)
            return reply.status

    assert run(work()) == 503


def test_a_claim_is_given_back_too(settings: Settings, database: Database, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    silence, claims = Silence(monkeypatch, repeats, "finish"), Silence(monkeypatch, repeats, "give_up")

    async def work() -> list[int]:
        app = create_app(settings, FakeBackend())
        async with app.router.lifespan_context(app):
            asked = [await visit(app, posting(BODY, x_api_key=made.key, idempotency_key="k-1")) for _ in range(2)]
            silence.on = claims.on = False
            await until_none(database, kept)
            asked.append(await visit(app, posting(BODY, x_api_key=made.key, idempotency_key="k-1")))
            return [reply.status for reply in asked]

    assert run(work()) == [503, 409, 200]


def test_what_fails_for_another_reason_keeps_nothing_back(database: Database) -> None:
    done: list[str] = []
    silent = [True, True]

    def broken(_: Connection) -> None:
        if silent:
            silent.pop()
            raise DatabaseUnavailable("silent", retry_after=1.0)
        raise ValueError("a defect")

    async def work() -> None:
        owed = Owed(database)
        await owed.give_back(broken)
        silent.append(True)
        await owed.give_back(lambda one: done.append("now"))
        assert (len(owed), done) == (1, ["now"])
        silent.clear()
        await owed.give_back(lambda one: done.append("later"))
        task = asyncio.create_task(owed.run())
        async with asyncio.timeout(20.0):
            while len(owed):
                await asyncio.sleep(0.01)
        task.cancel()

    run(work())
    assert done == ["now", "later"]


# Claims of requests that are sent again.


def claimed(database: Database, made: Made, holder: str, now: int) -> Any:
    return database.transaction(lambda one: repeats.claim(one, Repeat(made.account_id, "k-1", "d", holder), now))


def test_a_claim_is_kept_as_long_as_its_process_renews_it(database: Database, made: Made) -> None:
    claimed(database, made, "server_1/a", NOW)
    claimed_later = NOW + HELD_S - 1
    run(tend(database, "server_2", claimed_later))
    with pytest.raises(StillRunning):
        claimed(database, made, "server_2/b", claimed_later)
    run(tend(database, "server_1", claimed_later))
    with pytest.raises(StillRunning):
        claimed(database, made, "server_2/b", NOW + HELD_S)
    assert claimed(database, made, "server_2/b", claimed_later + HELD_S) is None


def test_whoever_lost_the_claim_is_not_charged(database: Database, made: Made) -> None:
    """The next one with its key is, and gets the answer."""
    first = Repeat(made.account_id, "k-1", "d", "server_1/a")
    claimed(database, made, first.holder, NOW)
    claimed(database, made, "server_2/b", NOW + HELD_S)
    answer = Kept(200, "application/json", b"{}")
    with pytest.raises(StillRunning):
        database.transaction(lambda one: repeats.finish(one, first, answer, NOW + HELD_S))


# How long a database is waited for.


def test_a_database_that_cannot_be_reached_is_tried_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    tries: list[str] = []
    one = Database("postgresql://gigarank@127.0.0.1:1/nobody?connect_timeout=2")

    def connect() -> Any:
        tries.append("")
        raise OperationalError("connect", {}, Exception("refused"))

    monkeypatch.setattr(one.engine, "connect", connect)
    for moment in (0.0, 0.5, 0.99, 1.0):
        clock[0] = 1_000.0 + moment
        with pytest.raises(DatabaseUnavailable):
            one.transaction(lambda connection: None)
    one.close()
    assert len(tries) == 2


def test_what_the_url_says_of_waiting_counts() -> None:
    url = make_url("postgresql://h/n?connect_timeout=2")
    assert "connect_timeout" not in db._waits(url)
    assert db._waits(url)["tcp_user_timeout"] == 10_000


def test_a_transaction_that_is_forgotten_is_ended_by_the_server(database: Database) -> None:
    """Else it would keep its account locked for as long as the machine believes in the connection: two hours."""
    if database.embedded:
        pytest.skip("SQLite has no other end")
    names = ("lock_timeout", "idle_in_transaction_session_timeout")
    told = database.transaction(lambda one: [one.exec_driver_sql(f"SHOW {name}").scalar() for name in names])
    assert told == ["15s", "15s"]
