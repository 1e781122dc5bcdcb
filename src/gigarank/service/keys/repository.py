"""Rows of keys. Knows SQL and no rule."""

import json
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, insert, select, update

from gigarank.service.keys.schemas import Key, Terms
from gigarank.service.statements import Row, Statement, first
from gigarank.service.tables import accounts, keys, usage

_LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrent_requests")
_OF_ACCOUNT = [accounts.c[name].label(f"account_{name}") for name in ("state", *_LIMITS)]
_WITH_ACCOUNT = select(keys, *_OF_ACCOUNT).join(accounts, keys.c.account_id == accounts.c.id)
_BY_ID = Statement(_WITH_ACCOUNT.where(keys.c.id == bindparam("key")))


def add(connection: Connection, key: Key, secret_id: str, digest: str) -> None:
    values = {
        "id": key.id,
        "account_id": key.account_id,
        "shown": key.shown_as,
        "digest": digest,
        "secret_id": secret_id,
        "disabled": int(key.disabled),
        "spent_micros": 0,
        "spent_from": 0,
        "held_micros": 0,
        "created": key.created,
    }
    connection.execute(insert(keys).values(**values, **_terms(key.terms)))


@lru_cache(maxsize=64)
def _by_digest(count: int) -> Statement:
    """One of so many, which is how many secrets there are."""
    return Statement(_WITH_ACCOUNT.where(keys.c.digest.in_([bindparam(f"digest_{number}") for number in range(count)])))


def by_digest(connection: Connection, digests: Collection[str]) -> Row | None:
    """The key's row, with `account_state` and the account's limits beside it."""
    given = {f"digest_{number}": digest for number, digest in enumerate(digests)}
    return first(connection, _by_digest(len(given))(given))


def with_account(connection: Connection, key_id: str) -> Row | None:
    """As `by_digest`."""
    return first(connection, _BY_ID({"key": key_id}))


def by_id(connection: Connection, key_id: str) -> Key | None:
    row = connection.execute(select(keys).where(keys.c.id == key_id, keys.c.deleted.is_(None))).mappings().first()
    return None if row is None else Key.of(row)


def of_account(connection: Connection, account_id: str) -> Sequence[Key]:
    """Those that were not deleted."""
    mine = select(keys).where(keys.c.account_id == account_id, keys.c.deleted.is_(None))
    return [Key.of(row) for row in connection.execute(mine.order_by(keys.c.created, keys.c.id)).mappings()]


def lock_own(connection: Connection, account_id: str, key_id: str) -> Key | None:
    """Nobody else changes, spends or deletes it before the transaction ends."""
    mine = select(keys).where(keys.c.id == key_id, keys.c.account_id == account_id, keys.c.deleted.is_(None))
    row = connection.execute(mine.with_for_update()).mappings().first()
    return None if row is None else Key.of(row)


def count(connection: Connection, account_id: str) -> tuple[int, int]:
    """How many rows the account has, and how many of them are keys that were not deleted."""
    left = func.count(case((keys.c.deleted.is_(None), 1)))
    row = connection.execute(select(func.count(), left).where(keys.c.account_id == account_id)).one()
    return int(row[0]), int(row[1])


def set_terms(connection: Connection, key_id: str, terms: Terms, disabled: bool) -> None:
    mine = update(keys).where(keys.c.id == key_id, keys.c.deleted.is_(None))
    connection.execute(mine.values(**_terms(terms), disabled=int(disabled)))


def spent_since(connection: Connection, key: Key, begin: int) -> int:
    """Micro-dollars, by its rows of usage."""
    mine = (usage.c.account_id == key.account_id, usage.c.key_id == key.id, usage.c.created >= begin)
    return int(connection.execute(select(func.coalesce(func.sum(usage.c.amount_micros), 0)).where(*mine)).scalar_one())


def set_spent(connection: Connection, key_id: str, micros: int, begin: int) -> None:
    connection.execute(update(keys).where(keys.c.id == key_id).values(spent_micros=micros, spent_from=begin))


def delete(connection: Connection, key_id: str, now: int) -> None:
    """The row stays, for its usage; no text leads to it any more."""
    ended = update(keys).where(keys.c.id == key_id)
    connection.execute(ended.values(digest=keys.c.id, disabled=1, deleted=now))


def _terms(terms: Terms) -> dict[str, Any]:
    return {
        "name": terms.name,
        "scopes": " ".join(terms.scopes),
        "models": None if terms.models is None else json.dumps(terms.models),
        "expires": terms.expires,
        "cap_micros": terms.cap_micros,
        "cap_period": terms.cap_period,
        **terms.limits.values(),
    }


def set_disabled(connection: Connection, key_id: str, disabled: bool) -> None:
    mine = update(keys).where(keys.c.id == key_id, keys.c.deleted.is_(None))
    connection.execute(mine.values(disabled=int(disabled)))


def set_digest(connection: Connection, key_id: str, secret_id: str, digest: str) -> None:
    connection.execute(update(keys).where(keys.c.id == key_id).values(secret_id=secret_id, digest=digest))


def touch(connection: Connection, key_id: str, now: int) -> None:
    connection.execute(update(keys).where(keys.c.id == key_id).values(last_used=now))


def secrets_in_use(connection: Connection) -> set[str]:
    """By keys that were not deleted: no text leads to the others."""
    return set(connection.execute(select(keys.c.secret_id).where(keys.c.deleted.is_(None)).distinct()).scalars())
