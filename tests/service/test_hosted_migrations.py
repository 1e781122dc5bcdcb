"""The database's versions: up and down with rows in them, on SQLite and PostgreSQL, and what they refuse."""

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from gigarank.errors import DatabaseUnavailable, InvalidInput
from gigarank.service import migrations
from gigarank.service.db import Database, _prepare
from gigarank.service.migrations import HEAD, current, migrate
from gigarank.service.people_tables import identities
from gigarank.service.topup_tables import codes

metadata = codes.metadata  # of all tables
assert identities.metadata is metadata
STEPS = sorted(
    re.search(r'^revision = "(\d+)"', path.read_text(), re.MULTILINE)[1]  # type: ignore[index]
    for path in (Path(migrations.__file__).parent / "steps" / "versions").glob("v*.py")
)
ROWS = {
    "0001": [
        "INSERT INTO accounts (id, email, role, state, balance_micros, held_micros, created)"
        " VALUES ('acc_1', 'a@x', 'user', 'active', 5, 0, 1)",
        "INSERT INTO keys (id, account_id, name, shown, digest, secret_id, scopes, disabled, cap_period, spent_micros,"
        " spent_from, held_micros, created)"
        " VALUES ('key_1', 'acc_1', 'k', 'grk_', 'd', 's', 'inference', 0, 'total', 0, 0, 0, 1)",
        "INSERT INTO grants (id, account_id, amount_micros, left_micros, priority, reason, created)"
        " VALUES ('g_1', 'acc_1', 5, 5, 1, 'r', 1)",
        "INSERT INTO ledger (id, account_id, grant_id, kind, amount_micros, created)"
        " VALUES ('e_1', 'acc_1', 'g_1', 'grant', 5, 1)",
    ],
    "0002": [
        "INSERT INTO reservations (id, account_id, key_id, amount_micros, owner, expires, created)"
        " VALUES ('r_1', 'acc_1', 'key_1', 0, 'o', 9, 1)",
        "INSERT INTO usage (id, request_id, account_id, key_id, model, route, tier, documents, tokens, amount_micros,"
        " price_id, latency_ms, created, day)"
        " VALUES ('r_0', 'q', 'acc_1', 'key_1', 'm', '/', 'default', 1, 2, 0, 'price_default', 3, 1, '2026-01-01')",
        "INSERT INTO repeats (account_id, name, digest, holder, held_until, expires) VALUES ('acc_1', 'n', 'd', 'h', 2, 3)",
    ],
    "0003": [
        "INSERT INTO files (id, account_id, purpose, filename, bytes, state, created, expires)"
        " VALUES ('file-1', 'acc_1', 'batch', 'x', 1, 'ready', 1, 9)",
        "INSERT INTO batches (id, account_id, key_id, endpoint, input_file_id, state, total, completed, failed, tokens,"
        " lines_done, bytes_done, created, expires_at, held_until, turn)"
        " VALUES ('batch_1', 'acc_1', 'key_1', '/v1/rerank', 'file-1', 'validating', 0, 0, 0, 0, 0, 0, 1, 9, 0, 1)",
        "INSERT INTO batch_segments (batch_id, bytes_done, output) VALUES ('batch_1', 7, 'x')",
    ],
    "0008": [
        "INSERT INTO models (id, name, state, created, changed) VALUES ('a/b', 'A/b', 'proposed', 1, 1)",
        "INSERT INTO model_votes (model_id, account_id, created) VALUES ('a/b', 'acc_1', 1)",
    ],
    "0007": [
        "INSERT INTO body_terms (id, account_id, days) VALUES ('key_1', 'acc_1', 7)",
        "INSERT INTO bodies (id, account_id, key_id, request_id, route, status, request, response, request_bytes,"
        " response_bytes, created, expires) VALUES ('log_1', 'acc_1', 'key_1', 'q', '/', 200, '', '', 0, 0, 1, 2)",
    ],
    "0004": [
        "INSERT INTO outbox (id, recipient, subject, body, attempts, next_try, expires, held_until, created)"
        " VALUES ('mail_1', 'a@x', 's', 'b', 0, 1, 9, 0, 1)",
    ],
    "0005": [
        "INSERT INTO people (account_id, password, verified) VALUES ('acc_1', 'h', 1)",
        "INSERT INTO sessions (id, digest, account_id, agent, address, created, last_seen, expires)"
        " VALUES ('session_1', 'd', 'acc_1', 'a', '::1', 1, 1, 9)",
        "INSERT INTO links (digest, purpose, email, account_id, expires, created) VALUES ('d', 'reset', 'a@x', 'acc_1', 9, 1)",
    ],
    "0006": [
        "INSERT INTO free_credits (digest, secret_id, account_id, created) VALUES ('d', 's', 'acc_1', 1)",
        "INSERT INTO codes (id, digest, amount_micros, created) VALUES ('code_1', 'd', 5, 1)",
    ],
    "0009": [
        "INSERT INTO identities (issuer, subject, account_id, created) VALUES ('https://i', 's', 'acc_1', 1)",
        "INSERT INTO sign_ins (digest, provider, nonce, verifier, onward, expires) VALUES ('d', 'p', 'n', 'v', '', 9)",
    ],
    "0010": ["UPDATE accounts SET leaving = ''"],
    "0011": ["UPDATE keys SET scopes = 'batches'"],
    "0012": ["INSERT INTO batch_turns (account_id, turn) VALUES ('acc_1', 7)"],
}


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    database = Database(empty_url)
    yield database
    database.close()


def counts(database: Database) -> dict[str, int]:
    def work(connection: Any) -> dict[str, int]:
        names = sorted(set(inspect(connection).get_table_names()) - {"alembic_version"})
        return {name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar() for name in names}

    return database.transaction(work)


def execute(database: Database, statement: str) -> None:
    database.transaction(lambda connection: connection.execute(text(statement)))


def test_up_and_down_again_keeps_what_is_there(empty: Database) -> None:
    before = {}
    for step in STEPS:
        migrate(empty, step)
        for row in ROWS[step]:
            execute(empty, row)
        before[step] = counts(empty)
        assert all(before[step].values())
        assert empty.transaction(current) == step
    for step in reversed(STEPS):
        assert counts(empty) == {name: before[STEPS[-1]][name] for name in before[step]}
        migrate(empty, "base" if step == STEPS[0] else STEPS[STEPS.index(step) - 1])
    assert counts(empty) == {}
    migrate(empty)
    assert set(counts(empty)) == set(metadata.tables)


def test_the_newest_version_is_the_tables_as_the_program_knows_them(database: Database) -> None:
    assert STEPS[-1] == HEAD
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_keys_that_could_ask_models_go_on_to_use_files_and_batches(empty: Database) -> None:
    def scopes() -> list[str]:
        found = text("SELECT scopes FROM keys ORDER BY id")
        return empty.transaction(lambda one: list(one.execute(found).scalars()))

    old = ["inference", "account", "inference account", "account inference"]
    migrate(empty, "0010")
    account, key, *_ = ROWS["0001"]
    execute(empty, account)
    for number, one in enumerate(old):
        execute(empty, key.replace("key_1", f"key_{number}").replace("'d'", f"'{number}'").replace("'inference'", f"'{one}'"))
    migrate(empty, "0011")
    assert scopes() == ["inference batches", "account", "inference account batches", "account inference batches"]
    migrate(empty, "0010")
    assert scopes() == old
    migrate(empty, "0011")
    execute(empty, "UPDATE keys SET scopes = 'batches account inference' WHERE id = 'key_0'")
    migrate(empty, "0010")
    assert scopes() == ["account inference", *old[1:]]


def test_a_migration_that_fails_leaves_nothing(empty: Database) -> None:
    migrate(empty, STEPS[0])
    execute(empty, "CREATE TABLE repeats (x INTEGER)")
    before = counts(empty)
    with pytest.raises((DatabaseUnavailable, DBAPIError)):
        migrate(empty)
    assert (empty.transaction(current), counts(empty)) == (STEPS[0], before)


def test_a_database_of_a_newer_program_is_left_alone(empty: Database) -> None:
    migrate(empty)
    execute(empty, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InvalidInput, match=r"its version is 9999.*newer gigarank"):
        migrate(empty)


class Refusing(sqlite3.Connection):
    """Says at once, so many times, that another one changes the file to WAL, as SQLite does when two begin together."""

    refusals, code = 2, sqlite3.SQLITE_BUSY

    def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
        if "journal_mode=WAL" in sql and self.refusals:
            self.refusals -= 1
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = self.code
            raise error
        return super().execute(sql, *more)


def test_the_change_to_wal_is_tried_until_nobody_else_is_at_it(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new.db", factory=Refusing)) as connection:
        _prepare(connection, None)  # type: ignore[arg-type]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with closing(sqlite3.connect(tmp_path / "other.db", factory=Refusing)) as connection:
        connection.code = sqlite3.SQLITE_READONLY
        with pytest.raises(sqlite3.OperationalError):
            _prepare(connection, None)  # type: ignore[arg-type]


def test_several_processes_may_migrate_at_once(empty_url: str) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        database = Database(empty_url)
        try:
            migrate(database)
        except BaseException as error:  # noqa: BLE001 - told by the assertion
            failures.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("change", ["UPDATE ledger SET amount_micros = 6", "DELETE FROM ledger"])
def test_the_ledger_takes_no_change(empty: Database, change: str) -> None:
    migrate(empty)
    for row in ROWS["0001"]:
        execute(empty, row)
    with pytest.raises(DBAPIError, match="the ledger only grows"):
        execute(empty, change)
    assert counts(empty)["ledger"] == 1


def test_a_balance_below_what_is_held_is_refused(empty: Database) -> None:
    migrate(empty)
    execute(empty, ROWS["0001"][0])
    with pytest.raises(DBAPIError):
        execute(empty, "UPDATE accounts SET held_micros = 6")
