"""Statements that go to the driver as they are: a part of their transaction, with SQLAlchemy's errors, whatever the values."""

from collections.abc import Sequence

import pytest
from sqlalchemy import BigInteger, Column, Connection, MetaData, String, Table, bindparam, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from gigarank.errors import DatabaseUnavailable, InvalidInput
from gigarank.service.db import Database
from gigarank.service.statements import Row, Statement, ask, count, first

numbers = Table("numbers", MetaData(), Column("id", String(40), primary_key=True), Column("n", BigInteger))
ADD = Statement(insert(numbers), ("id", "n"))
ALL = Statement(select(numbers).order_by(numbers.c.id))
ONE = Statement(select(numbers.c.n.label("number")).where(numbers.c.id == bindparam("name")))
RAISE = Statement(update(numbers).where(numbers.c.n > 10).values(n=numbers.c.n + bindparam("more")))
TAKE = Statement(delete(numbers).where(numbers.c.id == bindparam("name")).returning(numbers.c.n))


@pytest.fixture
def kept(database: Database) -> Database:
    """With a table of two numbers: ten is 10, dozen is 12."""

    def work(one: Connection) -> None:
        one.execute(text("CREATE TABLE numbers (id VARCHAR(40) PRIMARY KEY, n BIGINT)"))
        ask(one, ADD({"id": "ten", "n": 10}), ADD({"id": "dozen", "n": 12}))

    database.transaction(work)
    return database


def rows(database: Database) -> Sequence[Row]:
    def work(one: Connection) -> Sequence[Row]:
        (found,) = ask(one, ALL({}))
        return found.rows

    return database.transaction(work)


def test_each_sees_what_those_before_it_did(kept: Database) -> None:
    def work(one: Connection) -> None:
        before, raised, taken, gone, after = ask(
            one, ONE({"name": "dozen"}), RAISE({"more": 5}), TAKE({"name": "dozen"}), TAKE({"name": "dozen"}), ALL({})
        )
        assert before.rows == [{"number": 12}]
        assert (raised.rows, raised.count) == ([], 1)
        assert (taken.first, taken.count) == ({"n": 17}, 1)
        assert (gone.first, gone.count) == (None, 0)
        assert after.rows == [{"id": "ten", "n": 10}]

    kept.transaction(work)
    assert rows(kept) == [{"id": "ten", "n": 10}]


def test_it_is_in_the_transaction_from_the_first_on(kept: Database) -> None:
    def work(one: Connection) -> None:
        assert count(one, RAISE({"more": 1})) == 1
        raise KeyError("afterwards")

    with pytest.raises(KeyError):
        kept.transaction(work)
    assert rows(kept)[0] == {"id": "dozen", "n": 12}


def test_one_that_fails_is_told_as_it_is_and_those_after_it_do_nothing(kept: Database) -> None:
    def work(one: Connection) -> None:
        ask(one, RAISE({"more": 1}), ADD({"id": "ten", "n": 1}), ADD({"id": "more", "n": 1}))

    with pytest.raises(IntegrityError):
        kept.transaction(work)
    assert [row["n"] for row in rows(kept)] == [12, 10]


@pytest.mark.parametrize("name", ["100%", "%(n)s", "?", ":name", "$1", "'; DROP TABLE numbers; --", "ü 漢字 🙂", ""])
def test_values_are_values(kept: Database, name: str) -> None:
    kept.transaction(lambda one: ask(one, ADD({"id": name, "n": None})))
    assert {"id": name, "n": None} in rows(kept)
    assert kept.transaction(lambda one: first(one, ONE({"name": name}))) == {"number": None}


@pytest.mark.parametrize("number", [0, -1, 2**15, 2**31, 2**63 - 1])
def test_whole_numbers_of_64_bits_are_kept(kept: Database, number: int) -> None:
    kept.transaction(lambda one: ask(one, ADD({"id": "number", "n": number})))
    assert kept.transaction(lambda one: first(one, ONE({"name": "number"}))) == {"number": number}


def test_beside_sqlalchemys_own_in_any_order(kept: Database) -> None:
    def work(one: Connection) -> None:
        one.execute(update(numbers).values(n=numbers.c.n + 1))
        assert count(one, RAISE({"more": 100})) == 2
        assert one.execute(select(numbers.c.n).order_by(numbers.c.n)).scalars().all() == [111, 113]

    kept.transaction(work)
    assert [row["n"] for row in rows(kept)] == [113, 111]


def test_a_text_that_a_database_does_not_take_is_the_callers(kept: Database) -> None:
    if kept.embedded:
        pytest.skip("SQLite takes it")
    with pytest.raises(InvalidInput, match="a value is none that the database takes"):
        kept.transaction(lambda one: ask(one, ONE({"name": "a"}), ONE({"name": "\x00"}), ONE({"name": "b"})))
    assert len(rows(kept)) == 2


def test_a_connection_that_ends_meanwhile_is_a_database_that_does_not_answer_and_is_not_used_again(kept: Database) -> None:
    if kept.embedded:
        pytest.skip("SQLite ends no connection")
    ended: list[bool] = []
    other = Database(kept.engine.url.render_as_string(hide_password=False))

    def work(one: Connection) -> None:
        pid = one.execute(text("SELECT pg_backend_pid()")).scalar_one()
        other.transaction(lambda two: two.execute(text(f"SELECT pg_terminate_backend({pid}, 10000)")))
        try:
            ask(one, RAISE({"more": 1}), ALL({}))
        finally:
            ended.append(one.invalidated)

    with pytest.raises(DatabaseUnavailable):
        kept.transaction(work)
    assert ended == [True]
    other.close()
    assert [row["n"] for row in rows(kept)] == [12, 10]
