"""Rows of the outbox. Knows SQL and no rule."""

from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from gigarank.service.tables import outbox


def add(connection: Connection, **values: Any) -> None:
    connection.execute(insert(outbox).values(attempts=0, held_until=0, **values))


def claim(connection: Connection, owner: str, now: int, until: int) -> RowMapping | None:
    """The letter that is due longest and that nobody is sending, now the owner's `until` then."""
    due = select(outbox.c.id).where(outbox.c.next_try <= now, outbox.c.held_until <= now).order_by(outbox.c.next_try)
    one = due.limit(1).with_for_update(skip_locked=True).scalar_subquery()
    taken = update(outbox).where(outbox.c.id == one).values(owner=owner, held_until=until).returning(*outbox.c)
    return connection.execute(taken).mappings().first()


def remove(connection: Connection, letter_id: str, owner: str) -> None:
    connection.execute(delete(outbox).where(outbox.c.id == letter_id, outbox.c.owner == owner))


def put_off(connection: Connection, letter_id: str, owner: str, attempts: int, next_try: int) -> None:
    mine = update(outbox).where(outbox.c.id == letter_id, outbox.c.owner == owner)
    connection.execute(mine.values(owner=None, held_until=0, attempts=attempts, next_try=next_try))


def remove_of(connection: Connection, recipient: str) -> None:
    connection.execute(delete(outbox).where(outbox.c.recipient == recipient))
