"""How a server stands at this moment: batches that are open, credit that is held, how full its work is.

Knows SQL and counters, and no page. Each function of a connection is a part of one transaction. Reads alone.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from gigarank.service.batches.schemas import OPEN
from gigarank.service.http.metrics import WorkerCounts
from gigarank.service.tables import batches, outbox, reservations


@dataclass(frozen=True, slots=True)
class Held:
    """`stale`: of processes that have ended, for the sweeper. `letters`: that wait to be sent."""

    holds: int
    micros: int
    stale: int
    letters: int


@dataclass(frozen=True, slots=True)
class OpenBatches:
    """Batches of one state, and their requests."""

    state: str
    batches: int
    total: int
    done: int


def held(connection: Connection, now: int) -> Held:
    amounts = select(func.count(), func.coalesce(func.sum(reservations.c.amount_micros), 0))
    holds, micros = connection.execute(amounts).one()
    stale = connection.execute(select(func.count()).where(reservations.c.expires <= now)).scalar_one()
    letters = connection.execute(select(func.count()).select_from(outbox)).scalar_one()
    return Held(holds, int(micros), stale, letters)


def open_batches(connection: Connection) -> list[OpenBatches]:
    done = func.sum(batches.c.completed + batches.c.failed)
    wanted = select(batches.c.state, func.count(), func.sum(batches.c.total), done).where(batches.c.state.in_(OPEN))
    rows = connection.execute(wanted.group_by(batches.c.state).order_by(batches.c.state))
    return [OpenBatches(state, count, int(total), int(ended)) for state, count, total, ended in rows]


def at_once(connection: Connection, account_id: str) -> dict[str, int]:
    """Requests of an account that run, by key; those of batches count in no limit."""
    mine = (reservations.c.account_id == account_id, reservations.c.batch_id.is_(None))
    rows = connection.execute(select(reservations.c.key_id, func.count()).where(*mine).group_by(reservations.c.key_id))
    return {key_id: int(count) for key_id, count in rows}


def filled(worker: WorkerCounts | None) -> float | None:
    """How full a worker's batches were so far, from 0 to 1. None: it had none."""
    return None if worker is None or not worker.room_tokens else worker.tokens / worker.room_tokens
