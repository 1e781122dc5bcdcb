"""Keys of accounts: how they are written, that nobody can read them out of the database, and who gets past them."""

import stat
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from accounts import NOW, make_account, secrets_in
from gigarank.errors import AccessDenied, BadFile, InvalidInput, Unauthorized
from gigarank.service.accounts import service as accounts
from gigarank.service.accounts.schemas import read_email
from gigarank.service.db import Database
from gigarank.service.keys import format as form
from gigarank.service.keys import repository, service
from gigarank.service.keys.schemas import period, read_period, read_scopes
from gigarank.service.keys.secrets import Secrets
from gigarank.service.keys.service import authenticate, find, require_scope, rotate, set_disabled
from gigarank.service.tables import keys
from gigarank.service.tenant import Limits, Tenant

DAY = 86_400


def known(database: Database, secrets: Secrets, text: str, now: int = NOW, usual: Limits | None = None) -> Tenant:
    return database.transaction(lambda one: authenticate(one, secrets, text, usual or Limits(), now))


def test_a_key_is_checked_by_itself() -> None:
    key = form.make()
    assert form.is_ours(key) and key.startswith("grk_") and len(key) == 42
    assert len({form.make() for _ in range(100)}) == 100
    for place in range(4, len(key)):
        assert not form.is_ours(key[:place] + ("x" if key[place] != "x" else "y") + key[place + 1 :])
    for other in ("", key[:-1], key + "0", key[1:], "sk-" + key[3:], key[:-1] + "é"):
        assert not form.is_ours(other)
    assert key.startswith(form.shown(key)) and len(form.shown(key)) == 8


def test_a_key_is_known_again_and_is_nowhere_in_the_database(database: Database, tmp_path: Path) -> None:
    secrets = secrets_in(tmp_path)
    made = make_account(database, secrets)
    tenant = known(database, secrets, made.key)
    assert (tenant.account_id, tenant.key_id, tenant.models) == (made.account_id, made.key_id, None)
    row = database.transaction(lambda one: one.execute(select(keys)).mappings().one())
    assert made.key[8:] not in repr(dict(row))
    assert row["last_used"] == NOW
    file = tmp_path / "key-secrets"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_database_alone_knows_no_key(database: Database, tmp_path: Path) -> None:
    made = make_account(database, secrets_in(tmp_path))
    with pytest.raises(Unauthorized, match="not known here"):
        known(database, secrets_in(tmp_path / "elsewhere"), made.key)


@pytest.mark.parametrize("text", ["", "sk-abc", "grk_" + "0" * 38, "grk_é"])
def test_what_is_no_key_asks_no_database(database: Database, tmp_path: Path, text: str) -> None:
    with pytest.raises(Unauthorized, match="mistyped or cut"):
        known(database, secrets_in(tmp_path), text)


def test_a_disabled_key_is_refused_until_it_is_enabled(database: Database, tmp_path: Path) -> None:
    secrets = secrets_in(tmp_path)
    made = make_account(database, secrets)
    database.transaction(lambda one: set_disabled(one, made.key_id, True))
    with pytest.raises(Unauthorized, match="disabled"):
        known(database, secrets, made.key)
    database.transaction(lambda one: set_disabled(one, made.key_id, False))
    assert known(database, secrets, made.key)


def test_a_key_ends_at_its_second(database: Database, tmp_path: Path) -> None:
    secrets = secrets_in(tmp_path)
    made = make_account(database, secrets, expires=NOW + 10)
    assert known(database, secrets, made.key, NOW + 9)
    with pytest.raises(Unauthorized, match="expired"):
        known(database, secrets, made.key, NOW + 10)


def test_a_suspended_account_s_keys_are_refused(database: Database, tmp_path: Path) -> None:
    secrets = secrets_in(tmp_path)
    made = make_account(database, secrets)
    database.transaction(lambda one: accounts.set_state(one, "A@Example.org", "suspended"))
    with pytest.raises(AccessDenied, match="suspended"):
        known(database, secrets, made.key)
    database.transaction(lambda one: accounts.set_state(one, made.account_id, "active"))
    assert known(database, secrets, made.key)


def test_limits_are_the_key_s_own_and_the_account_s_over_the_usual(database: Database, tmp_path: Path) -> None:
    secrets = secrets_in(tmp_path)
    made = make_account(database, secrets, limits=Limits(5, None, 2))
    database.transaction(lambda one: accounts.set_limits(one, made.account_id, Limits(None, 700, None)))
    tenant = known(database, secrets, made.key, usual=Limits(60, 1_000, None))
    assert (tenant.account_limits, tenant.key_limits) == (Limits(60, 700, None), Limits(5, None, 2))


def test_scopes(database: Database, tmp_path: Path) -> None:
    secrets = secrets_in(tmp_path)
    tenant = known(database, secrets, make_account(database, secrets, scopes=("account",)).key)
    require_scope(tenant, "account")
    with pytest.raises(AccessDenied, match="no scope inference; it has account"):
        require_scope(tenant, "inference")
    with pytest.raises(InvalidInput, match="scopes: some of inference, account, batches; received admin"):
        read_scopes(["account", "admin"])
    with pytest.raises(InvalidInput, match="cap_period: one of total, day, week, month; received 'year'"):
        read_period("year")


# The secret.


def test_a_new_secret_takes_over_the_keys_that_are_used_and_forgets_the_old_one_when_none_needs_it(
    database: Database, tmp_path: Path
) -> None:
    secrets, other_process = secrets_in(tmp_path), secrets_in(tmp_path)
    used, unused = make_account(database, secrets), make_account(database, secrets, email="b@example.org")

    def needed() -> set[str]:
        return database.transaction(repository.secrets_in_use)

    (first,) = needed()
    second = database.transaction(lambda one: rotate(one, secrets, NOW))
    assert needed() == {first}
    assert known(database, other_process, used.key).key_id == used.key_id
    assert needed() == {first, second}
    database.transaction(lambda one: rotate(one, secrets, NOW + 1))
    assert known(database, other_process, unused.key).key_id == unused.key_id
    assert known(database, other_process, used.key).key_id == used.key_id
    third = database.transaction(lambda one: rotate(one, secrets, NOW + 86_399))
    assert first in (tmp_path / "key-secrets").read_text()  # for the tokens that it signed
    assert (tmp_path / "key-secrets").read_text().startswith(third)
    fourth = database.transaction(lambda one: rotate(one, secrets, NOW + 86_400))
    assert first not in (tmp_path / "key-secrets").read_text()
    assert (tmp_path / "key-secrets").read_text().startswith(fourth)
    assert {known(database, secrets, made.key).key_id for made in (used, unused)} == {used.key_id, unused.key_id}


def test_a_deleted_key_keeps_no_secret(database: Database, tmp_path: Path) -> None:
    secrets = secrets_in(tmp_path)
    made, first = make_account(database, secrets), secrets.current("")[0]
    database.transaction(lambda one: service.delete(one, made.account_id, made.key_id, NOW))
    database.transaction(lambda one: rotate(one, secrets, NOW))
    database.transaction(lambda one: rotate(one, secrets, NOW + 86_400))
    assert first not in (tmp_path / "key-secrets").read_text()


def test_a_file_from_before_addresses_had_secrets_holds_on(database: Database, tmp_path: Path) -> None:
    """Whoever was known by a secret of keys is known by it again, which signs nothing any more."""
    (tmp_path / "key-secrets").write_text(f"aaaa {'01' * 32}\nbbbb {'02' * 32}\n")
    secrets = secrets_in(tmp_path)
    assert [*secrets.digests("x")] == [*secrets.of_address("x")] == ["aaaa", "bbbb"]
    assert list(secrets.fresh("x", NOW)) == [secrets.current("x")[1]]
    known_by = secrets.of_address("x")["aaaa"]
    for now in (NOW, NOW + 86_400):
        secrets.rotate(set(), {"aaaa"}, now)
    assert len(secrets.digests("x")) == 2 and "aaaa" not in secrets.digests("x")
    assert secrets.of_address("x")["aaaa"] == known_by
    assert next(iter(secrets.of_address("x"))) not in (*secrets.digests("x"), "aaaa", "bbbb")
    assert "bbbb" not in (tmp_path / "key-secrets").read_text()


@pytest.mark.parametrize(
    "content",
    ["", "abc", "abc 00ff", "abc zz", "é", f"a {'00' * 32} soon", f"a {'00' * 32} address", f"a {'00' * 32} 1 2"],
)
def test_a_file_of_secrets_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "key-secrets").write_text(content, encoding="utf-8")
    with pytest.raises(BadFile, match="key-secrets"):
        secrets_in(tmp_path)


# The period that a cap counts.


@pytest.mark.parametrize(
    ("kind", "begin", "end"),
    [
        ("day", "2026-11-26T00:00:00", "2026-11-27T00:00:00"),
        ("week", "2026-11-23T00:00:00", "2026-11-30T00:00:00"),
        ("month", "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
    ],
)
def test_periods_are_utc_s(kind: Any, begin: str, end: str) -> None:
    def seconds(text: str) -> int:
        return int(datetime.fromisoformat(text + "+00:00").timestamp())

    assert period(kind, NOW) == (seconds(begin), seconds(end))
    assert period(kind, seconds(end) - 1) == (seconds(begin), seconds(end))
    assert period(kind, seconds(end))[0] == seconds(end)


def test_december_is_followed_by_january() -> None:
    begin, end = period("month", NOW + 20 * DAY)
    assert end is not None and end - begin == 31 * DAY
    assert period("total", NOW) == (0, None)


# Accounts.


def test_an_address_has_one_account(database: Database, tmp_path: Path) -> None:
    make_account(database, secrets_in(tmp_path))
    with pytest.raises(InvalidInput, match=r"email: a@example.org has an account already"):
        database.transaction(lambda one: accounts.create(one, " A@EXAMPLE.org ", NOW))


@pytest.mark.parametrize("wrong", ["", "a", "a@", "@b", "a b@c", "a@b c"])
def test_an_address_is_one(wrong: str) -> None:
    with pytest.raises(InvalidInput, match="email: an address"):
        read_email(wrong)


def test_what_is_not_there_is_said(database: Database) -> None:
    with pytest.raises(InvalidInput, match="account: no account 'acc_0'"):
        database.transaction(lambda one: accounts.find(one, "acc_0"))
    with pytest.raises(InvalidInput, match="key: no key 'key_0'"):
        database.transaction(lambda one: find(one, "key_0"))
