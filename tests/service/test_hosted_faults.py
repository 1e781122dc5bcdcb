"""A database that fails in the middle: the client is told to come back, and nothing is charged, held or kept for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from accounts import Made, make_account
from asgi import Reply, ask_in_turn, getting, posting
from gigarank.errors import DatabaseUnavailable, InvalidInput
from gigarank.service.accounts import service as accounts
from gigarank.service.app import create_app
from gigarank.service.credits import repository as credit
from gigarank.service.credits.service import audit
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.hosted import open_secrets
from gigarank.service.keys import repository as keys
from gigarank.service.metering import repeats
from gigarank.service.settings import Settings
from gigarank.service.tables import repeats as kept
from gigarank.service.tables import reservations, usage

BODY = {"query": "red planet", "documents": ["the red planet is Mars", "a red car"]}


class Scene:
    """One account; `breaks` makes a part of the repository fail, the given times."""

    def __init__(self, settings: Settings, database: Database, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings, self.database, self.made, self._patch = settings, database, made, monkeypatch
        self.times = 0

    def breaks(self, module: Any, name: str, times: int = 1) -> None:
        works: Callable[..., Any] = getattr(module, name)
        self.times = times

        def broken(*arguments: Any, **more: Any) -> Any:
            if self.times > 0:
                self.times -= 1
                raise OperationalError("statement", {}, Exception("the server closed the connection"))
            return works(*arguments, **more)

        self._patch.setattr(module, name, broken)

    def ask(self, count: int = 1, **headers: str) -> list[Reply]:
        asked = [posting(BODY, x_api_key=self.made.key, **headers) for _ in range(count)]
        return ask_in_turn(create_app(self.settings, FakeBackend()), *asked)

    def left(self) -> tuple[int, int, int]:
        """(balance, holds, rows of usage)"""

        def work(connection: Connection) -> tuple[int, int, int]:
            account = accounts.find(connection, self.made.account_id)
            counts = [len(connection.execute(select(table)).all()) for table in (reservations, usage)]
            return account.balance_micros, counts[0], counts[1]

        return self.database.transaction(work)


@pytest.fixture
def scene(database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True)
    yield Scene(settings, database, make_account(database, open_secrets(settings), 1_000), monkeypatch)
    assert database.transaction(audit).problems == ()


def refused(reply: Reply) -> bool:
    told = (reply.status, reply.error["code"], reply.headers["retry-after"], reply.headers["x-should-retry"])
    return told == (503, "database_unavailable", "1", "true") and b"closed" not in reply.body


PLACES = {
    "looking up the key": (keys, "by_digest"),
    "holding": (credit, "hold_account"),
    "writing the hold": (credit, "add_hold"),
    "settling": (credit, "take_hold"),
    "the row of usage": (credit, "add_use"),
    "the debit": (credit, "add_entry"),
}


@pytest.mark.parametrize("place", PLACES)
def test_whatever_fails_nothing_is_charged_and_the_next_try_is_served(scene: Scene, place: str) -> None:
    scene.breaks(*PLACES[place])
    first, second = scene.ask(2)
    assert refused(first), first.body
    assert second.status == 200
    assert scene.left() == (998, 0, 1)


def test_an_answer_that_cannot_be_kept_is_not_given(scene: Scene) -> None:
    scene.breaks(repeats, "finish")
    first, second, third = scene.ask(3, idempotency_key="k-1")
    assert refused(first)
    assert (second.status, third.status) == (200, 200)
    assert "idempotent-replayed" not in second.headers and third.headers["idempotent-replayed"] == "true"
    assert scene.left() == (998, 0, 1)


def test_a_repeat_that_cannot_be_claimed_runs_nothing(scene: Scene) -> None:
    scene.breaks(repeats, "claim")
    (first,) = scene.ask(1, idempotency_key="k-1")
    assert refused(first)
    assert scene.left() == (1_000, 0, 0)
    assert scene.database.transaction(lambda one: one.execute(select(kept)).first()) is None


# What a database says, as its reader can act on it.


def test_a_standby_that_only_reads_is_a_database_that_does_not_answer(database: Database) -> None:
    if database.embedded:
        pytest.skip("SQLite has no standby")

    def work(one: Connection) -> None:
        one.execute(text("SET TRANSACTION READ ONLY"))
        one.execute(text("DELETE FROM outbox"))

    with pytest.raises(DatabaseUnavailable) as raised:
        database.transaction(work)
    assert raised.value.retry_after == 1.0


def test_a_value_that_the_database_does_not_take_is_the_callers(database: Database) -> None:
    def work(one: Connection) -> None:
        if database.embedded:
            raise DataError("statement", {}, Exception("no such text\nDETAIL: more"))
        one.execute(select(usage).where(usage.c.id == "\x00")).all()

    with pytest.raises(InvalidInput, match="a value is none that the database takes") as raised:
        database.transaction(work)
    assert "\n" not in raised.value.message and "U+0000" in str(raised.value.limit)


def test_what_breaks_a_rule_of_the_tables_is_told_as_it_is(database: Database) -> None:
    with pytest.raises(IntegrityError):
        database.transaction(lambda one: one.execute(text("INSERT INTO free_credits DEFAULT VALUES")))


@pytest.mark.parametrize("path", ["/v1/files/%00", "/v1/batches/%00", "/v1/me/keys/%00"])
def test_a_path_with_a_nul_is_no_fault_of_the_server(scene: Scene, path: str) -> None:
    (reply,) = ask_in_turn(
        create_app(scene.settings, FakeBackend()), getting(path.replace("%00", "\x00"), x_api_key=scene.made.key)
    )
    assert 400 <= reply.status < 500
