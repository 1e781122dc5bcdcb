"""Rows of files, batches and their segments. Knows SQL and no rule.

Whoever works on a batch is its owner, and every change of its work asks that it still is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, Table, delete, func, insert, or_, select, text, update

from gigarank.service.batches.schemas import OPEN
from gigarank.service.tables import batch_segments, batch_turns, batches, files

_LOCK = 6_174_272  # PostgreSQL's advisory lock; any number of ours


def add_file(connection: Connection, **values: Any) -> None:
    connection.execute(insert(files).values(**values))


def file_of(connection: Connection, account_id: str, file_id: str, now: int) -> RowMapping | None:
    """Unless its time is over."""
    mine = select(files).where(files.c.id == file_id, files.c.account_id == account_id, files.c.state == "ready")
    return connection.execute(mine.where(files.c.expires > now)).mappings().first()


def lock_file(connection: Connection, file_id: str) -> None:
    """Before it is asked whether a batch reads it, or may begin to."""
    connection.execute(select(files.c.id).where(files.c.id == file_id).with_for_update())


def set_file(connection: Connection, file_id: str, **values: Any) -> None:
    connection.execute(update(files).where(files.c.id == file_id).values(**values))


def give_up_pending(connection: Connection, account_id: str, filename: str) -> None:
    """What an earlier try began to keep under that name."""
    mine = update(files).where(files.c.account_id == account_id, files.c.filename == filename, files.c.state == "pending")
    connection.execute(mine.values(state="gone"))


def remove_pending(connection: Connection, file_id: str) -> None:
    connection.execute(delete(files).where(files.c.id == file_id, files.c.state == "pending"))


def remove_file(connection: Connection, file_id: str) -> None:
    connection.execute(delete(files).where(files.c.id == file_id))


def stored_bytes(connection: Connection, account_id: str) -> int:
    found = select(func.coalesce(func.sum(files.c.bytes), 0)).where(files.c.account_id == account_id, files.c.state != "gone")
    return int(connection.execute(found).scalar_one())


def files_to_go(connection: Connection, now: int, pending_before: int) -> Sequence[str]:
    """Those that nobody can ask for any more, but for what an open batch reads."""
    read = select(batches.c.input_file_id).where(batches.c.state.in_(OPEN))
    left = (files.c.state == "pending") & (files.c.created <= pending_before)
    over = (files.c.expires <= now) & (files.c.state == "ready") & files.c.id.not_in(read)
    return list(connection.execute(select(files.c.id).where(or_(files.c.state == "gone", left, over))).scalars())


def is_read(connection: Connection, file_id: str) -> str | None:
    """The open batch whose input it is."""
    found = select(batches.c.id).where(batches.c.input_file_id == file_id, batches.c.state.in_(OPEN))
    return connection.execute(found).scalars().first()


def page(connection: Connection, table: Table, which: Mapping[str, Any], after: str | None, most: int) -> Sequence[RowMapping]:
    """Rows whose columns have these values, the newest first; `after`: behind that one."""
    return connection.execute(_page(table, which, after).limit(most)).mappings().all()


def page_of_files(
    connection: Connection, which: Mapping[str, Any], now: int, after: str | None, most: int
) -> Sequence[RowMapping]:
    """As `page`, without those whose time is over, which `file_of` does not find either."""
    return connection.execute(_page(files, which, after).where(files.c.expires > now).limit(most)).mappings().all()


def _page(table: Table, which: Mapping[str, Any], after: str | None) -> Select[Any]:
    wanted = select(table).where(*(table.c[name] == value for name, value in which.items()))
    if after is not None:
        same = (table.c.id == after, table.c.account_id == which["account_id"])
        last = select(table.c.created).where(*same).scalar_subquery()
        wanted = wanted.where((table.c.created < last) | ((table.c.created == last) & (table.c.id < after)))
    return wanted.order_by(table.c.created.desc(), table.c.id.desc())


def add_batch(connection: Connection, **values: Any) -> None:
    zeros = dict.fromkeys(("total", "completed", "failed", "tokens", "lines_done", "bytes_done", "held_until"), 0)
    connection.execute(insert(batches).values(**zeros, **values))


def batch_of(connection: Connection, account_id: str, batch_id: str) -> RowMapping | None:
    mine = select(batches).where(batches.c.id == batch_id, batches.c.account_id == account_id)
    return connection.execute(mine).mappings().first()


def change(connection: Connection, batch_id: str, states: Sequence[str], **values: Any) -> bool:
    """False where it is in none of the states."""
    changed = update(batches).where(batches.c.id == batch_id, batches.c.state.in_(states)).values(**values)
    return connection.execute(changed).rowcount == 1


def open_batches(connection: Connection, account_id: str) -> int:
    mine = select(func.count()).where(batches.c.account_id == account_id, batches.c.state.in_(OPEN))
    return int(connection.execute(mine).scalar_one())


def claim(connection: Connection, owner: str, now: int, until: int) -> RowMapping | None:
    """The next batch that has something to do and that nobody works on: of the account whose last turn is longest ago, so that
    each that waits has one before another has its second. One claim at a time, for that each sees the turns before it."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    free = or_(batches.c.owner.is_(None), batches.c.held_until <= now)
    turns = batches.outerjoin(batch_turns, batch_turns.c.account_id == batches.c.account_id)
    order = (func.coalesce(batch_turns.c.turn, 0), batches.c.turn, batches.c.id)
    wanted = select(batches.c.id).select_from(turns).where(batches.c.state.in_(OPEN), free).order_by(*order).limit(1)
    batch_id = connection.execute(wanted.with_for_update(skip_locked=True, of=batches)).scalar()
    if batch_id is None:
        return None
    connection.execute(update(batches).where(batches.c.id == batch_id).values(owner=owner, held_until=until))
    batch = connection.execute(select(batches).where(batches.c.id == batch_id)).mappings().one()
    _take_turn(connection, batch["account_id"])
    return batch


def _take_turn(connection: Connection, account_id: str) -> None:
    """The account is behind all others now."""
    turn = connection.execute(select(func.coalesce(func.max(batch_turns.c.turn), 0) + 1)).scalar_one()
    mine = update(batch_turns).where(batch_turns.c.account_id == account_id).values(turn=turn)
    if not connection.execute(mine).rowcount:
        connection.execute(insert(batch_turns).values(account_id=account_id, turn=turn))


def keep(connection: Connection, owner: str, until: int) -> None:
    connection.execute(update(batches).where(batches.c.owner == owner).values(held_until=until))


def let_go(connection: Connection, owner: str | None, turn: int | None = None) -> None:
    """None: of all owners. `turn`: behind whose turn is earlier, in milliseconds."""
    held = update(batches).where(batches.c.owner.is_not(None))
    values = {"owner": None, "held_until": 0} | ({} if turn is None else {"turn": turn})
    connection.execute((held if owner is None else held.where(batches.c.owner == owner)).values(**values))


def advance(connection: Connection, batch: RowMapping, by: str, states: Sequence[str], **values: Any) -> bool:
    """Changes the owner's batch as long as nobody else has got further with it; False where somebody has."""
    mine = update(batches).where(batches.c.id == batch["id"], batches.c.owner == by, batches.c.state.in_(states))
    return connection.execute(mine.where(batches.c.bytes_done == batch["bytes_done"]).values(**values)).rowcount == 1


def add_segment(connection: Connection, **values: Any) -> None:
    connection.execute(insert(batch_segments).values(**values))


def segments_of(connection: Connection, batch_id: str) -> Sequence[RowMapping]:
    mine = select(batch_segments).where(batch_segments.c.batch_id == batch_id).order_by(batch_segments.c.bytes_done)
    return connection.execute(mine).mappings().all()


def segments_to_go(connection: Connection) -> Sequence[RowMapping]:
    """Of batches that have ended: what they held is in their files."""
    ended = select(batches.c.id).where(batches.c.state.not_in(OPEN))
    return connection.execute(select(batch_segments).where(batch_segments.c.batch_id.in_(ended))).mappings().all()


def remove_segments(connection: Connection, batch_id: str) -> None:
    connection.execute(delete(batch_segments).where(batch_segments.c.batch_id == batch_id))
