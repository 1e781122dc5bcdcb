"""Requests that may be sent again: the Idempotency-Key, bound to the body, and the answer that is kept for it.

Each function is a part of one transaction. Invariants: of several requests with one key of one account, one at a time runs;
once one was answered, the others get that answer, and nothing is charged for them.
"""

import hashlib
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgres
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from gigarank.errors import InvalidInput, KeyReused, StillRunning
from gigarank.service.tables import repeats

KEPT_S = 24 * 3_600
HELD_S = 60
"""A claim that nobody renewed for so long is of a process that has ended, and the next request with its key runs."""
HEADER = "idempotency-key"
_MOST_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class Repeat:
    """`holder`: the request that works on it, OWNER/ID, where the owner is its process."""

    account_id: str
    name: str
    digest: str
    holder: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it was sent."""

    status: int
    content_type: str
    body: bytes


def read_name(text: str) -> str:
    """Of the header; raises InvalidInput."""
    name = text.strip()
    if not name or len(name) > _MOST_CHARACTERS:
        message = f"{HEADER}: from 1 to {_MOST_CHARACTERS} characters, not {len(name)}"
        raise InvalidInput(message, param=HEADER, limit=_MOST_CHARACTERS, received=len(name))
    return name


def digest_of(path: str, content: bytes) -> str:
    return hashlib.sha256(path.encode() + b"\0" + content).hexdigest()


def claim(connection: Connection, repeat: Repeat, now: int) -> Kept | None:
    """The kept answer, or None where this request is the one to run. Raises KeyReused, StillRunning."""
    values = {"account_id": repeat.account_id, "name": repeat.name, "digest": repeat.digest, "holder": repeat.holder}
    until = {"held_until": now + HELD_S, "expires": now + KEPT_S}
    connection.execute(delete(repeats).where(_is(repeat), repeats.c.expires <= now))
    new = insert_postgres if connection.dialect.name == "postgresql" else insert_sqlite
    added = new(repeats).values(**values, **until).on_conflict_do_nothing().returning(repeats.c.name)
    if connection.execute(added).first() is not None:
        return None
    row = connection.execute(select(repeats).where(_is(repeat)).with_for_update()).mappings().one()
    return _known(connection, repeat, row, now)


def finish(connection: Connection, repeat: Repeat, kept: Kept, now: int) -> None:
    """Keeps the answer. To be done in the transaction that charges for it: raises StillRunning where another request has the
    claim by now, and will be answered and charged for."""
    mine = update(repeats).where(_is(repeat), repeats.c.holder == repeat.holder)
    values = {"status": kept.status, "content_type": kept.content_type, "body": kept.body, "expires": now + KEPT_S}
    if not connection.execute(mine.values(**values)).rowcount:
        raise _running(repeat)


def give_up(connection: Connection, repeat: Repeat) -> None:
    """Whoever asks next with this key runs: this one was not answered."""
    mine = delete(repeats).where(_is(repeat), repeats.c.holder == repeat.holder, repeats.c.status.is_(None))
    connection.execute(mine)


def renew(connection: Connection, owner: str, until: int) -> None:
    """What the requests of a process have claimed."""
    mine = repeats.c.holder.startswith(f"{owner}/", autoescape=True)
    connection.execute(update(repeats).where(mine, repeats.c.status.is_(None)).values(held_until=until))


def forget(connection: Connection, now: int) -> None:
    """What is kept no longer."""
    connection.execute(delete(repeats).where(repeats.c.expires <= now))


def _known(connection: Connection, repeat: Repeat, row: RowMapping, now: int) -> Kept | None:
    if row["digest"] != repeat.digest:
        message = f"{HEADER}: another request, with another body or path, had this key"
        raise KeyReused(message, param=HEADER, received=repeat.name)
    if row["status"] is not None:
        return Kept(row["status"], row["content_type"], row["body"])
    if row["held_until"] > now:
        raise _running(repeat)
    taken_over = update(repeats).where(_is(repeat))
    connection.execute(taken_over.values(holder=repeat.holder, held_until=now + HELD_S))
    return None


def _running(repeat: Repeat) -> StillRunning:
    message = f"{HEADER}: another request with this key is not answered yet"
    return StillRunning(message, retry_after=1.0, param=HEADER, received=repeat.name)


def _is(repeat: Repeat) -> ColumnElement[bool]:
    return (repeats.c.account_id == repeat.account_id) & (repeats.c.name == repeat.name)
