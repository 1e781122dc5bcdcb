"""Sessions: who has signed in, from where, until when. Each function is a part of one transaction.

Invariants: a session's token is kept as its digest alone; what is not in the table, or is over, lets nobody in.
"""

from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from gigarank.errors import AccessDenied, NotSignedIn, ObjectNotFound
from gigarank.service.accounts.links import digest_of, new_token
from gigarank.service.accounts.schemas import Role
from gigarank.service.ids import new_id
from gigarank.service.tables import accounts, people, sessions
from gigarank.types import JsonObject

LIFE_S = 14 * 24 * 3_600
_TOUCH_S = 60  # `last_seen` is this exact


@dataclass(frozen=True, slots=True)
class Person:
    """Who has signed in. `password` is a hash; None: the account has none. `signed_in`: Unix seconds."""

    account_id: str
    email: str
    role: Role
    session_id: str
    password: str | None
    signed_in: int


@dataclass(frozen=True, slots=True)
class Device:
    """What is told of where a session is from."""

    agent: str
    address: str


def start(connection: Connection, account_id: str, device: Device, now: int, old_token: str = "") -> str:
    """A new session's token; the one that the same browser had is over. Raises AccessDenied for a suspended account."""
    state = connection.execute(select(accounts.c.state).where(accounts.c.id == account_id).with_for_update()).scalar()
    if state != "active":
        raise AccessDenied("the account is suspended", param="account", received=state)
    connection.execute(delete(sessions).where(sessions.c.digest == digest_of(old_token)))
    token = new_token()
    values = {"id": new_id("session"), "digest": digest_of(token), "account_id": account_id, "created": now}
    values |= {"agent": device.agent[:200], "address": device.address[:64], "last_seen": now, "expires": now + LIFE_S}
    connection.execute(insert(sessions).values(**values))
    return token


def find(connection: Connection, token: str, now: int) -> Person:
    """Raises NotSignedIn, and AccessDenied for a suspended account."""
    columns = (accounts.c.email, accounts.c.role, accounts.c.state, people.c.password)
    joined = select(sessions, *columns).join(accounts, accounts.c.id == sessions.c.account_id)
    joined = joined.join(people, people.c.account_id == accounts.c.id)
    row = connection.execute(joined.where(sessions.c.digest == digest_of(token))).mappings().first()
    if row is None or row["expires"] <= now:
        raise NotSignedIn("the session is over: sign in again", param="cookie")
    if row["state"] != "active":
        raise AccessDenied("the account is suspended", param="account", received=row["state"])
    if now - row["last_seen"] >= _TOUCH_S:
        connection.execute(update(sessions).where(sessions.c.id == row["id"]).values(last_seen=now))
    role = cast(Role, row["role"])
    return Person(row["account_id"], row["email"], role, row["id"], row["password"], row["created"])


def confirm(connection: Connection, person: Person) -> None:
    """What let the person in still does; the account is locked. Raises NotSignedIn where the session or the account has ended
    since, or the password is another one: whoever changed it did so against whoever waits here."""
    joined = select(people.c.password, accounts.c.state).join(accounts, accounts.c.id == people.c.account_id)
    joined = joined.join(sessions, sessions.c.account_id == accounts.c.id).where(sessions.c.id == person.session_id)
    row = connection.execute(joined.where(accounts.c.id == person.account_id)).first()
    if row is None or tuple(row) != (person.password, "active"):
        raise NotSignedIn("the session or the password has changed meanwhile: sign in again", param="cookie")


def of_account(connection: Connection, account_id: str, now: int) -> list[RowMapping]:
    """The newest first."""
    mine = select(sessions).where(sessions.c.account_id == account_id, sessions.c.expires > now)
    return list(connection.execute(mine.order_by(sessions.c.created.desc(), sessions.c.id)).mappings())


def end(connection: Connection, account_id: str, session_id: str) -> None:
    """Raises ObjectNotFound for one that is not the account's."""
    mine = delete(sessions).where(sessions.c.account_id == account_id, sessions.c.id == session_id)
    if connection.execute(mine).rowcount != 1:
        raise ObjectNotFound(f"session_id: no session {session_id[:60]!r}", param="session_id", received=session_id[:60])


def end_all(connection: Connection, account_id: str, but: str = "") -> int:
    """Gives how many there were. `but`: the id of one that stays."""
    mine = delete(sessions).where(sessions.c.account_id == account_id, sessions.c.id != but)
    return int(connection.execute(mine).rowcount)


def forget(connection: Connection, now: int) -> None:
    """Those that are over."""
    connection.execute(delete(sessions).where(sessions.c.expires <= now))


def shown(row: RowMapping, current: str) -> JsonObject:
    """`current`: the id of the session that asks."""
    named = {name: row[name] for name in ("agent", "address", "created", "last_seen", "expires")}
    return {"object": "session", "session_id": row["id"], **named, "current": row["id"] == current}
