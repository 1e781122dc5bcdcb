"""Transactions: whole or not at all, from any thread, and what is said where a database does not answer."""

import asyncio
import logging
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from gigarank.errors import DatabaseUnavailable, InvalidInput
from gigarank.service import db
from gigarank.service.db import Database, erased, usual_url


@pytest.fixture
def counter(database: Database) -> Database:
    """A table with one number, 0."""

    def work(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE counter (n INTEGER)"))
        connection.execute(text("INSERT INTO counter VALUES (0)"))

    database.transaction(work)
    return database


def add(connection: Connection) -> int:
    connection.execute(text("UPDATE counter SET n = n + 1"))
    return value(connection)


def value(connection: Connection) -> int:
    return int(connection.execute(text("SELECT n FROM counter")).scalar_one())


def test_what_is_done_is_there_for_others(counter: Database, database_url: str) -> None:
    assert counter.transaction(add) == 1
    other = Database(database_url)
    assert other.transaction(value) == 1
    other.close()


def test_what_raises_leaves_nothing(counter: Database) -> None:
    def work(connection: Connection) -> None:
        add(connection)
        raise KeyError("in the middle")

    with pytest.raises(KeyError):
        counter.transaction(work)
    assert counter.transaction(value) == 0
    assert counter.call(add) == 1
    with pytest.raises(KeyError):  # on a thread that keeps its connection
        counter.call(work)
    assert counter.transaction(value) == 1 and counter.call(add) == 2


def test_a_thread_of_the_databases_keeps_its_connection_and_gives_it_back_at_the_end(counter: Database) -> None:
    pool: Any = counter.engine.pool
    assert pool.checkedout() == 0
    for _ in range(3):
        counter.call(add)
        assert pool.checkedout() == 1
    counter.transaction(add)
    assert pool.checkedout() == 1
    counter.close()
    assert pool.checkedout() == 0


def test_transactions_of_many_threads_lose_no_step(counter: Database) -> None:
    threads = [threading.Thread(target=lambda: [counter.call(add) for _ in range(20)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.transaction(value) == 100


def test_processes_wait_for_each_other(counter: Database, database_url: str) -> None:
    """Two engines, as two processes have; neither is told that the database is locked."""
    other = Database(database_url)
    threads = [threading.Thread(target=lambda one=one: [one.call(add) for _ in range(20)]) for one in (counter, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert counter.transaction(value) == 40


def test_a_loop_goes_on_while_a_transaction_runs(counter: Database) -> None:
    gate = threading.Event()

    def work(connection: Connection) -> int:
        gate.wait(20.0)
        return add(connection)

    async def both() -> tuple[int, bool]:
        running = asyncio.create_task(counter.run(work))
        await asyncio.sleep(0.05)
        went_on = not running.done()
        gate.set()
        return await running, went_on

    assert asyncio.run(both()) == (1, True)


def test_a_caller_that_is_cancelled_leaves_a_whole_transaction(counter: Database) -> None:
    gate, began = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        add(connection)
        began.set()
        gate.wait(20.0)
        add(connection)

    async def leave() -> None:
        running = asyncio.create_task(counter.run(work))
        await asyncio.to_thread(began.wait, 20.0)
        running.cancel()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(leave())
    assert counter.call(value) in (0, 2)


def test_an_error_says_nothing_of_the_database_to_clients(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    database = Database(f"sqlite:///{tmp_path}/no/such/folder.db")
    with pytest.raises(DatabaseUnavailable) as raised:
        database.transaction(value)
    database.close()
    assert raised.value.message == "the database does not answer"
    assert "unable to open database file" in caplog.text


def test_postgres_that_is_not_there_is_told(tmp_path: Path) -> None:
    database = Database(f"postgresql://nobody@/none?host={tmp_path}")
    with pytest.raises(DatabaseUnavailable):
        database.transaction(value)
    database.close()


def backend(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def test_a_connection_that_its_server_has_ended_meanwhile_is_made_anew(database: Database, database_url: str) -> None:
    """At once: it was used a moment ago, and is not asked whether it still leads anywhere."""
    if database.embedded:
        pytest.skip("SQLite ends no connection")
    ended, other = database.call(backend), Database(database_url)
    assert other.transaction(lambda one: one.execute(text(f"SELECT pg_terminate_backend({ended}, 10000)")).scalar_one())
    other.close()
    assert database.call(backend) != ended


@pytest.mark.parametrize(("rested_s", "asked"), [(0.0, 2), (1e9, 0)])
def test_only_a_connection_that_rested_is_asked_whether_it_leads_anywhere(
    database: Database, monkeypatch: pytest.MonkeyPatch, rested_s: float, asked: int
) -> None:
    if database.embedded:
        pytest.skip("SQLite's lead to a file")
    pings: list[Any] = []
    ping = database.engine.dialect.do_ping

    def counted(driver: Any) -> bool:
        pings.append(driver)
        return ping(driver)

    monkeypatch.setattr(database.engine.dialect, "do_ping", counted)
    monkeypatch.setattr(db, "_RESTED_S", rested_s)
    assert len({database.call(backend) for _ in range(3)}) == 1
    assert len(pings) == asked


@pytest.mark.parametrize("url", ["", "x", "mysql://h/x", "oracle://h/x", "://"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="database_url: sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"):
        Database(url)


def test_the_password_is_in_no_message() -> None:
    with pytest.raises(InvalidInput) as raised:
        Database("mysql://user:4711@h/x")
    told: Any = (raised.value.message, raised.value.received, raised.value.limit)
    assert "4711" not in repr(told)


def test_the_usual_file_is_in_a_folder_for_nobody_else(tmp_path: Path) -> None:
    url = usual_url(str(tmp_path / "a" / "state"))
    assert url == f"sqlite:///{tmp_path}/a/state/gigarank.db"
    assert (tmp_path / "a" / "state").stat().st_mode & 0o077 == 0


def test_what_is_deleted_is_gone_from_the_files_once_they_are_scrubbed(tmp_path: Path) -> None:
    """SQLite alone; elsewhere there is nothing to do, and nothing is done."""
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")

    def files() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())

    database.transaction(lambda one: one.execute(text("CREATE TABLE texts (t TEXT)")))
    for number in range(200):
        values = {"t": f"zanzibar {number} " * 200}
        database.transaction(lambda one, values=values: one.execute(text("INSERT INTO texts VALUES (:t)"), values))  # type: ignore[misc]
    assert b"zanzibar" in files()
    assert database.scrub()

    def delete(one: Connection) -> None:
        one.execute(text("DELETE FROM texts"))
        erased(one)

    database.transaction(delete)
    assert b"zanzibar" in files() and database.scrub()
    assert b"zanzibar" not in files()
    assert database.transaction(lambda one: one.execute(text("SELECT count(*) FROM texts")).scalar()) == 0
    database.close()


def test_scrubbing_disturbs_nobody(counter: Database) -> None:
    counter.scrub()
    assert counter.transaction(add) == 1
    counter.scrub()
    assert counter.transaction(value) == 1


def test_a_reader_puts_a_scrub_off_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    log = tmp_path / "test.db-wal"
    database.transaction(lambda one: one.execute(text("CREATE TABLE counter (n INTEGER)")))
    assert database.scrub() and log.stat().st_size == 0
    with sqlite3.connect(tmp_path / "test.db") as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM counter").fetchall()

        def change(one: Connection) -> None:
            one.execute(text("INSERT INTO counter VALUES (1)"))
            erased(one)

        database.transaction(change)
        assert not database.scrub() and not database.scrub() and log.stat().st_size > 0
        database.transaction(lambda one: one.execute(text("INSERT INTO counter VALUES (2)")))
    reader.close()
    assert database.scrub() and log.stat().st_size == 0
    database.transaction(lambda one: one.execute(text("INSERT INTO counter VALUES (3)")))
    assert database.scrub() and log.stat().st_size > 0  # nothing was erased
    database.close()


def test_a_scrub_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}")
    database.transaction(lambda one: one.execute(text("CREATE TABLE counter (n INTEGER)")))

    def away(*_arguments: Any, **_more: Any) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as broken:
        broken.setattr(sqlite3, "connect", away)
        with pytest.raises(DatabaseUnavailable, match="cannot be scrubbed"):
            database.scrub()
    assert database.scrub() and (tmp_path / "test.db-wal").stat().st_size == 0
    database.close()
