"""Links in mail: who follows one has read what was sent to an address. Each function is a part of one transaction.

Invariants: a link is good once, for one thing, and until it expires; its token is kept as its digest alone.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, insert, select

from gigarank.errors import InvalidInput
from gigarank.service.tables import links

Purpose = Literal["verify", "reset", "email"]
"""verify: a sign-up, whose password waits here. reset: a new password. email: another address of an account."""
LIFE_S: dict[Purpose, int] = {"verify": 24 * 3_600, "reset": 3_600, "email": 24 * 3_600}


@dataclass(frozen=True, slots=True)
class Link:
    """`account_id` None, of a sign-up: there is no account yet; of a reset: it leads nowhere. `password`: a hash."""

    purpose: Purpose
    email: str
    account_id: str | None = None
    password: str | None = None


def new_token() -> str:
    """256 bits, so that its digest needs no salt."""
    return secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def issue(connection: Connection, link: Link, now: int) -> str:
    """Its token."""
    token = new_token()
    values = {name: getattr(link, name) for name in Link.__slots__}
    expires = now + LIFE_S[link.purpose]
    connection.execute(insert(links).values(digest=digest_of(token), **values, expires=expires, created=now))
    return token


def look(connection: Connection, token: str, purpose: Purpose, now: int) -> Link:
    """It stays good. Raises InvalidInput."""
    row = connection.execute(select(links).where(*_is(token, purpose))).mappings().first()
    return _link(row, now)


def take(connection: Connection, token: str, purpose: Purpose, now: int) -> Link:
    """It is good no more: of several that take it at once, one does. Raises InvalidInput."""
    row = connection.execute(delete(links).where(*_is(token, purpose)).returning(*links.c)).mappings().first()
    return _link(row, now)


def waiting(connection: Connection, email: str, now: int) -> Link | None:
    """The newest sign-up of the address."""
    mine = select(links).where(links.c.email == email, links.c.purpose == "verify", links.c.expires > now)
    row = connection.execute(mine.order_by(links.c.created.desc(), links.c.digest).limit(1)).mappings().first()
    return None if row is None else _link(row, now)


def drop(connection: Connection, email: str) -> None:
    """Those of sign-ups, and those that lead nowhere."""
    connection.execute(delete(links).where(links.c.email == email, links.c.account_id.is_(None)))


def drop_of(connection: Connection, account_id: str) -> None:
    connection.execute(delete(links).where(links.c.account_id == account_id))


def forget(connection: Connection, now: int) -> None:
    """Those that are over."""
    connection.execute(delete(links).where(links.c.expires <= now))


def _is(token: str, purpose: Purpose) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return links.c.digest == digest_of(token), links.c.purpose == purpose


def _link(row: RowMapping | None, now: int) -> Link:
    if row is None or row["expires"] <= now:
        raise InvalidInput("token: the link was used, or is over: ask for another one", param="token", limit="once")
    return Link(cast(Purpose, row["purpose"]), row["email"], row["account_id"], row["password"])
