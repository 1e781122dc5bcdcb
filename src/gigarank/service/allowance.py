"""What all visitors may ask together without an account: of one server, or of all that count in one place.

Knows no route and no Redis. Invariant: in any minute no more than `most` were let in; whoever is not is told when to come back.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from gigarank.errors import RateLimited

_MINUTE_S = 60.0


class Shared(Protocol):
    async def share(self, what: str, most: int, count: int) -> float:
        """Counts `count` of `most` a minute, all or none: 0, or seconds until they would be let in."""
        ...


class Allowance:
    """`most` None: not limited. `clock`: seconds that never go back. `shared`: counts for several servers; else this process
    counts."""

    def __init__(self, most: int | None, clock: Callable[[], float] = time.monotonic, shared: Shared | None = None) -> None:
        self.most = most
        self._clock = clock
        self._shared = shared
        self._taken: deque[float] = deque()

    async def take(self, count: int = 1) -> None:
        """All or none. Raises RateLimited, DatabaseUnavailable."""
        if self.most is None:
            return
        if self.most == 0 or self._shared is None:
            wait_s = self._counted(self.most, count)
        else:
            wait_s = await self._shared.share("demo", self.most, count)
        if wait_s:
            message = f"demo_requests_per_minute: the {self.most} of all visitors together are taken; an account has its own"
            raise RateLimited(
                message, retry_after=max(1.0, wait_s), param="demo_requests_per_minute", limit=self.most, received=count
            )

    def _counted(self, most: int, count: int) -> float:
        """As `share`."""
        now = self._clock()
        while self._taken and self._taken[0] <= now - _MINUTE_S:
            self._taken.popleft()
        if len(self._taken) + count > most:
            first = self._taken[min(count, len(self._taken)) - 1] if self._taken else now
            return first + _MINUTE_S - now
        self._taken.extend([now] * count)
        return 0.0
