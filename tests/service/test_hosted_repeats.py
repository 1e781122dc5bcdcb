"""Requests that are sent again: who runs, who waits, who gets the kept answer, and for how long it is kept."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from accounts import NOW, make_account, secrets_in
from gigarank.errors import InvalidInput, KeyReused, StillRunning
from gigarank.service.db import Database
from gigarank.service.metering import repeats
from gigarank.service.metering.repeats import HELD_S, KEPT_S, Kept, Repeat
from gigarank.service.tables import repeats as rows

ANSWER = Kept(200, "application/json", b'{"results": []}')


class Desk:
    def __init__(self, database: Database, account_id: str) -> None:
        self.database = database
        self.first = Repeat(account_id, "k-1", repeats.digest_of("/v1/rerank", b"{}"), "run_1")
        self.again = replace(self.first, holder="run_2")

    def claim(self, repeat: Repeat, now: int = NOW) -> Kept | None:
        return self.database.transaction(lambda one: repeats.claim(one, repeat, now))

    def finish(self, repeat: Repeat, kept: Kept = ANSWER, now: int = NOW) -> None:
        self.database.transaction(lambda one: repeats.finish(one, repeat, kept, now))

    def give_up(self, repeat: Repeat) -> None:
        self.database.transaction(lambda one: repeats.give_up(one, repeat))

    def count(self) -> int:
        return self.database.transaction(lambda one: one.execute(select(func.count()).select_from(rows)).scalar_one())


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> Iterator[Desk]:
    yield Desk(database, make_account(database, secrets_in(tmp_path)).account_id)


def test_the_first_runs_and_the_next_gets_its_answer(desk: Desk) -> None:
    assert desk.claim(desk.first) is None
    desk.finish(desk.first)
    assert desk.claim(desk.again) == ANSWER
    assert desk.claim(desk.again, NOW + KEPT_S - 1) == ANSWER


def test_an_answer_is_kept_for_a_day_from_when_it_was_given(desk: Desk) -> None:
    desk.claim(desk.first)
    desk.finish(desk.first, now=NOW + 100)
    assert desk.claim(desk.again, NOW + KEPT_S + 99) == ANSWER
    assert desk.claim(desk.again, NOW + KEPT_S + 100) is None
    assert desk.count() == 1


def test_who_comes_while_the_first_runs_is_told_to_come_back(desk: Desk) -> None:
    desk.claim(desk.first)
    with pytest.raises(StillRunning, match="not answered yet") as told:
        desk.claim(desk.again)
    assert told.value.retry_after == 1.0


def test_another_body_is_refused_whether_the_first_runs_or_is_done(desk: Desk) -> None:
    other = replace(desk.again, digest=repeats.digest_of("/v1/rerank", b"[]"))
    desk.claim(desk.first)
    with pytest.raises(KeyReused):
        desk.claim(other)
    desk.finish(desk.first)
    with pytest.raises(KeyReused):
        desk.claim(other)


def test_after_a_failure_the_next_one_runs(desk: Desk) -> None:
    desk.claim(desk.first)
    desk.give_up(desk.first)
    assert desk.claim(desk.again) is None


def test_an_answer_is_not_given_up(desk: Desk) -> None:
    desk.claim(desk.first)
    desk.finish(desk.first)
    desk.give_up(desk.first)
    assert desk.claim(desk.again) == ANSWER


def test_a_request_whose_process_died_is_taken_over_and_its_ghost_changes_nothing(desk: Desk) -> None:
    desk.claim(desk.first)
    with pytest.raises(StillRunning):
        desk.claim(desk.again, NOW + HELD_S - 1)
    assert desk.claim(desk.again, NOW + HELD_S) is None
    with pytest.raises(StillRunning):  # and so it is not charged for either
        desk.finish(desk.first, Kept(200, "text/plain", b"the ghost's"))
    desk.give_up(desk.first)
    desk.finish(desk.again)
    assert desk.claim(replace(desk.again, holder="run_3"), NOW + HELD_S) == ANSWER


def test_what_is_old_is_forgotten(desk: Desk) -> None:
    desk.claim(desk.first)
    desk.claim(replace(desk.first, name="k-2"), NOW + 10)
    desk.database.transaction(lambda one: repeats.forget(one, NOW + KEPT_S))
    assert desk.count() == 1


def test_a_path_is_a_part_of_the_request() -> None:
    digests = {repeats.digest_of(path, body) for path in ("/a", "/b") for body in (b"", b"x", b"/")}
    assert len(digests) == 6


@pytest.mark.parametrize("name", ["", " ", "k" * 256])
def test_a_name_has_characters_and_not_too_many(name: str) -> None:
    with pytest.raises(InvalidInput, match="idempotency-key: from 1 to 255 characters"):
        repeats.read_name(name)


def test_blanks_around_a_name_do_not_count() -> None:
    assert repeats.read_name(" k-1 ") == "k-1"
    assert repeats.read_name("k" * 255) == "k" * 255
