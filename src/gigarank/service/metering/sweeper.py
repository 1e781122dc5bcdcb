"""What a server does a few times a minute: holds are renewed or ended, what is over is forgotten, people are told.

Knows no HTTP. Invariant: nothing of it that fails keeps the rest from being done.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from gigarank.service.accounts import identities, links, sessions
from gigarank.service.accounts.deletion import erase_more
from gigarank.service.accounts.door import Door
from gigarank.service.accounts.low_balance import tell
from gigarank.service.batches import repository as batches
from gigarank.service.bodies import repository as bodies
from gigarank.service.catalogue.service import retirements
from gigarank.service.credits import repository as credit
from gigarank.service.credits.service import HOLD_S, sweep
from gigarank.service.db import Database
from gigarank.service.lasting import attempt
from gigarank.service.metering import repeats
from gigarank.service.metering.meter import House

SWEEP_S = HOLD_S / 3
_PIECES = 200  # of accounts that were deleted, in a sweep
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sweeper:
    """`clock`: Unix seconds."""

    house: House
    door: Door
    clock: Callable[[], float]

    async def run(self) -> None:
        """Until it is cancelled. Holds are renewed a few times before any is due."""
        database = self.house.database
        while True:
            await asyncio.sleep(SWEEP_S)
            await attempt("the sweep", tend(database, self.house.owner, int(self.clock())))
            await attempt("telling of low credit", self._tell(int(self.clock())))
            await attempt("looking up what retires", self._look_up_retirements())
            await attempt("erasing accounts", self._erase())
            await attempt("scrubbing", asyncio.to_thread(database.scrub))

    async def _tell(self, now: int) -> None:
        await self.house.database.run(lambda one: tell(one, self.door.post, self.door.low_micros, now))

    async def _erase(self) -> None:
        """For a while: holds are to be renewed."""
        for _ in range(_PIECES):
            if not await self.house.database.run(erase_more):
                return

    async def _look_up_retirements(self) -> None:
        self.house.retirements = await self.house.database.run(retirements)


async def tend(database: Database, owner: str, now: int) -> int:
    """Gives how many holds were stale. In two transactions: one that had renewed holds and then waits for an account would be
    waited for by whoever has that account and settles one of those holds."""
    await database.run(lambda connection: _renew(connection, owner, now + HOLD_S))
    released = await database.run(lambda connection: _tidy(connection, now))
    if released:
        _LOG.warning("released %d holds of requests whose process had ended", released)
    return released


def _renew(connection: Connection, owner: str, until: int) -> None:
    """Batches first, as whoever settles a part of one locks them."""
    batches.keep(connection, owner, until)
    credit.renew(connection, owner, until)
    repeats.renew(connection, owner, until)


def _tidy(connection: Connection, now: int) -> int:
    bodies.forget(connection, now)
    repeats.forget(connection, now)
    sessions.forget(connection, now)
    links.forget(connection, now)
    identities.forget(connection, now)
    return sweep(connection, now)
