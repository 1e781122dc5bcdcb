"""What is to be given back, and could not be while the database did not answer: holds, and claims of requests sent again.

Knows no row. Invariant: what `give_back` was given is done once the database answers, in this process or, where that ends
before, by the sweep of any server, for a process that has ended renews nothing.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from gigarank.errors import DatabaseUnavailable
from gigarank.service.db import Database, Work
from gigarank.service.lasting import attempt

_PAUSE_S = 1.0


@dataclass(slots=True)
class Owed:
    database: Database
    _works: deque[Work[object]] = field(default_factory=deque)
    _some: asyncio.Event = field(default_factory=asyncio.Event)

    def __len__(self) -> int:
        return len(self._works)

    async def give_back(self, work: Work[object]) -> None:
        """Now, or later where the database does not answer now. `work` may be done twice: a commit whose word was lost."""
        try:
            await self.database.run(work)
        except DatabaseUnavailable:
            self._works.append(work)
            self._some.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._some.wait()
            if not await attempt("giving back", self._first()):
                await asyncio.sleep(_PAUSE_S)

    async def _first(self) -> None:
        """What fails for another reason than a silent database would fail again: it is logged, and left to the sweep."""
        silent = False
        try:
            await self.database.run(self._works[0])
        except DatabaseUnavailable:
            silent = True
            raise
        finally:
            if not silent:
                self._drop()

    def _drop(self) -> None:
        self._works.popleft()
        if not self._works:
            self._some.clear()
