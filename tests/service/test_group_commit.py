"""What an account's requests change at the same time: committed together, each answered as if it were alone."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from gigarank.errors import DatabaseUnavailable
from gigarank.service.db import Database
from gigarank.service.group_commit import GroupCommit


@pytest.fixture
def commits(database: Database) -> list[int]:
    """A table of numbers, and how many were there at each commit."""
    database.transaction(lambda connection: connection.execute(text("CREATE TABLE numbers (n INTEGER UNIQUE)")))
    found = list[int]()
    event.listen(database.engine, "commit", lambda connection: found.append(len(numbers(connection))))
    return found


@pytest.fixture
def groups(database: Database) -> GroupCommit:
    return GroupCommit(database)


def numbers(connection: Connection) -> list[int]:
    return sorted(connection.execute(text("SELECT n FROM numbers")).scalars())


def adding(number: int) -> Callable[[Connection], int]:
    def work(connection: Connection) -> int:
        connection.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": number})
        return number

    return work


class Held:
    """Work that does not end before it is told to."""

    def __init__(self, number: int) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self._work = adding(number)

    def __call__(self, connection: Connection) -> int:
        self.begun.set()
        assert self.go.wait(30.0)
        return self._work(connection)


def together(groups: GroupCommit, *works: Callable[[Connection], Any]) -> list[Any]:
    """What each gives or raises; they wait while another one is at work."""
    held = Held(-1)
    with ThreadPoolExecutor(len(works) + 1) as threads:
        first = threads.submit(groups.call, "a", held)
        assert held.begun.wait(30.0)
        waiting = groups._waiting["a"]
        asked = []
        for count, work in enumerate(works, 1):
            asked.append(threads.submit(groups.call, "a", work))
            while len(waiting) < count:
                time.sleep(0.001)
        held.go.set()
        assert first.result(30.0) == -1
        return [one.exception(30.0) or one.result() for one in asked]


def test_what_waits_is_committed_together_and_each_gets_its_own_result(
    database: Database, groups: GroupCommit, commits: list[int]
) -> None:
    assert together(groups, *map(adding, (3, 1, 2))) == [3, 1, 2]
    assert commits == [1, 4]  # what was at work, and the three
    assert database.transaction(numbers) == [-1, 1, 2, 3]
    assert groups.call("a", adding(4)) == 4 and groups._waiting == {}


def test_no_group_is_longer_than_it_may_be(groups: GroupCommit, commits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gigarank.service.group_commit._MOST", 2)
    assert together(groups, *map(adding, range(5))) == [0, 1, 2, 3, 4]
    assert commits == [1, 3, 5, 6]


@pytest.mark.usefixtures("commits")
def test_work_that_fails_takes_no_other_with_it(database: Database, groups: GroupCommit) -> None:
    def refused(connection: Connection) -> None:
        adding(9)(connection)
        raise KeyError("no credit")

    first, failed, again, last = together(groups, adding(1), refused, adding(1), adding(2))
    assert (first, last) == (1, 2) and isinstance(failed, KeyError)
    assert "UNIQUE" in str(again).upper()  # what the database itself refuses
    assert database.transaction(numbers) == [-1, 1, 2]


@pytest.mark.usefixtures("commits")
def test_a_commit_whose_word_is_lost_is_not_repeated(
    database: Database, groups: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether it happened: done again it might be done twice."""
    real, done = database.transaction, list[int]()

    def lost(work: Callable[[Connection], Any]) -> Any:
        result = real(work)
        if isinstance(result, list):
            raise DatabaseUnavailable("the database does not answer", retry_after=1.0)
        return result

    def counted(number: int) -> Callable[[Connection], int]:
        def work(connection: Connection) -> int:
            done.append(number)
            return adding(number)(connection)

        return work

    monkeypatch.setattr(database, "transaction", lost)
    assert [type(one) for one in together(groups, counted(1), counted(2))] == [DatabaseUnavailable] * 2
    assert done == [1, 2] and real(numbers) == [-1, 1, 2]


@pytest.mark.usefixtures("commits")
def test_other_accounts_do_not_wait(database: Database, groups: GroupCommit) -> None:
    if database.embedded:
        pytest.skip("SQLite has one writer")
    held = Held(1)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(groups.call, "a", held)
        assert held.begun.wait(30.0)
        assert groups.call("b", adding(2)) == 2
        held.go.set()
        assert first.result(30.0) == 1


@pytest.mark.usefixtures("commits")
def test_who_leaves_before_it_begins_changes_nothing(database: Database, groups: GroupCommit) -> None:
    async def act() -> None:
        held = Held(1)
        first = asyncio.create_task(groups.run("a", held))
        assert await asyncio.to_thread(held.begun.wait, 30.0)
        leaving, staying = (asyncio.create_task(groups.run("a", adding(number))) for number in (2, 3))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        held.go.set()
        assert await first == 1 and await staying == 3

    asyncio.run(asyncio.wait_for(act(), 60.0))
    assert database.transaction(numbers) == [1, 3]


@pytest.mark.usefixtures("commits")
def test_whoever_waits_for_the_thread_comes_before_the_next_group(
    database: Database, groups: GroupCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account that always has something to change would keep SQLite's one thread."""
    if not database.embedded:
        pytest.skip("PostgreSQL has several threads")
    monkeypatch.setattr("gigarank.service.group_commit._MOST", 1)
    order = list[int]()

    def noted(number: int) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            if number == 0:
                threading.Thread(target=database.call, args=(noted(9),)).start()
                while not database._threads._work_queue.qsize():
                    time.sleep(0.001)
            order.append(number)

        return work

    together(groups, *map(noted, range(3)))
    assert order == [0, 9, 1, 2]


def test_a_closed_database_takes_nothing(database: Database, groups: GroupCommit) -> None:
    database.close()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            groups.call("a", adding(1))


@pytest.mark.usefixtures("commits")
def test_a_database_that_closes_does_what_was_asked_before(database: Database, database_url: str, groups: GroupCommit) -> None:
    held = Held(1)
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(groups.call, "a", held)]
        assert held.begun.wait(30.0)
        asked.append(threads.submit(groups.call, "a", adding(2)))
        while not groups._waiting["a"]:
            time.sleep(0.001)
        closing = threads.submit(database.close)
        held.go.set()
        closing.result(30.0)
        assert [one.result(30.0) for one in asked] == [1, 2]
    other = Database(database_url)
    assert other.transaction(numbers) == [1, 2]
    other.close()
