"""How much an account and a key may ask in a minute: counted in memory, or in Redis for several servers.

Knows the `limits` library and no database. Invariant: of the account and of the key, each with a limit has its own count; a key
that is refused takes nothing of its account's; what is refused says which, how much, and when to come back. Where nothing can
be counted nobody waits long, and what becomes of requests is a setting; of passwords nobody has a try that is not counted.
"""

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeVar

from limits import RateLimitItemPerMinute, WindowStats
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from gigarank.errors import DatabaseUnavailable, InvalidInput, RateLimited, RequestTooLarge
from gigarank.service.tenant import Tenant

Unit = Literal["requests", "tokens"]
T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_ANSWER_S = 1.0  # Redis has it, on the machine's own network
_REST_S = 1.0  # after it did not answer, nobody waits for it for so long
_LOOKS = 4  # each count is soon looked at again: one that is made looks at more than itself
_UNITS: tuple[Unit, ...] = ("requests", "tokens")


@dataclass(frozen=True, slots=True)
class _Limit:
    """One count. `item`: how many a minute."""

    whose: str
    unit: Unit
    most: int
    item: RateLimitItemPerMinute
    names: tuple[str, str]


class Memory(MemoryStorage):
    """The library's own drops what is over every 10 ms, in a thread that it starts anew each time, and looks at every count
    there is. This one looks at a few whenever something is counted."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.timer = _Running()
        self._unseen: list[str] = []

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        if not self._unseen:
            self._unseen = list(self.expirations)
        for one in self._unseen[-_LOOKS:]:
            self.get(one)  # which drops it if it is over
        del self._unseen[-_LOOKS:]
        return super().incr(key, expiry, amount)


class _Running(threading.Timer):
    """One that the library takes for running, so that it starts none."""

    def __init__(self) -> None:
        super().__init__(0.0, int)

    def is_alive(self) -> bool:
        return True


class RateLimiter:
    """`url`: memory://, or redis://HOST:PORT/NUMBER. `opens`: requests that cannot be counted are let in."""

    def __init__(self, url: str, *, opens: bool = False) -> None:
        self._opens = opens
        self._rests_until = 0.0
        try:
            storage = _storage(url)
        except (ConfigurationError, ValueError) as error:
            message = "rate_limit_url: memory:// or redis://HOST:PORT/NUMBER is expected, and redis needs gigarank[redis]"
            raise InvalidInput(message, param="rate_limit_url", limit="memory, redis") from error
        self._strategy = SlidingWindowCounterRateLimiter(storage)
        self.local = isinstance(storage, MemoryStorage)

    async def enter(self, tenant: Tenant) -> None:
        """Counts a request. Raises RateLimited, and DatabaseUnavailable unless it `opens`."""
        with self._outage():
            await self._off_loop(lambda: self._enter(tenant))

    async def attempt(self, what: str, whose: str, name: str, most: int, minutes: int) -> None:
        """Counts one of `most` in so many minutes. Raises RateLimited, DatabaseUnavailable."""
        item = RateLimitItemPerMinute(most, minutes)
        await self._off_loop(lambda: self._attempt(item, what, whose, name))

    async def share(self, what: str, most: int, count: int) -> float:
        """Counts `count` of `most` a minute, all or none: 0, or seconds until they would be let in. Raises
        DatabaseUnavailable."""
        return await self._off_loop(lambda: self._share(RateLimitItemPerMinute(most), what, count))

    def _share(self, item: RateLimitItemPerMinute, what: str, count: int) -> float:
        with self._asking():
            if self._strategy.hit(item, what, cost=count):
                return 0.0
            return max(0.05, self._strategy.get_window_stats(item, what).reset_time - time.time())

    def take_tokens(self, tenant: Tenant, tokens: int) -> None:
        """Counts them. Raises as `enter`. On any thread but the event loop's."""
        limits = list(_limits(tenant, "tokens"))
        for limit in limits:
            if tokens > limit.most:
                message = (
                    f"tokens_per_minute: this request has {tokens} tokens, the {limit.whose} may ask {limit.most} a minute"
                )
                raise RequestTooLarge(message, param="tokens_per_minute", limit=limit.most, received=tokens)
        with self._outage():
            self._count(limits, tokens)

    async def headers(self, tenant: Tenant) -> dict[str, str]:
        """OpenAI's x-ratelimit headers, of the limit that is nearest."""
        return await self._off_loop(lambda: self._headers(tenant))

    async def taken(self, tenant: Tenant) -> dict[Unit, int]:
        """Of this minute, by what is limited; of account and key the one that is nearer to its limit. Counts nothing."""
        return await self._off_loop(lambda: self._taken(tenant))

    def _taken(self, tenant: Tenant) -> dict[Unit, int]:
        nearest = {unit: self._nearest(tenant, unit) for unit in _UNITS}
        return {unit: found[1].most - max(0, found[0].remaining) for unit, found in nearest.items() if found is not None}

    def _nearest(self, tenant: Tenant, unit: Unit) -> tuple[WindowStats, _Limit] | None:
        with self._asking():
            found = [(self._strategy.get_window_stats(one.item, *one.names), one) for one in _limits(tenant, unit)]
        return min(found, key=lambda pair: pair[0].remaining, default=None)

    @contextlib.contextmanager
    def _outage(self) -> Iterator[None]:
        try:
            yield
        except DatabaseUnavailable:
            if not self._opens:
                raise

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """What asks the storage. Raises DatabaseUnavailable."""
        if time.monotonic() < self._rests_until:
            raise _unavailable()
        try:
            yield
        except StorageError as error:
            self._rests_until = time.monotonic() + _REST_S
            _LOG.warning("limits: rate_limit_url does not answer: %s", type(error.__cause__ or error).__name__)
            raise _unavailable() from error

    def _enter(self, tenant: Tenant) -> None:
        self._count(list(_limits(tenant, "requests")), 1)

    def _count(self, limits: Sequence[_Limit], cost: int) -> None:
        """In all of them or, as far as others ask nothing meanwhile, in none."""
        for limit in limits[:-1]:
            self._ask(self._strategy.test, limit, cost)
        # The account's count is everybody's, and comes last: a key that is refused takes nothing of it. Where others fill the
        # account between the look and the count, the one that asks too much loses a piece of its own minute, and nobody else.
        for limit in reversed(limits):
            self._ask(self._strategy.hit, limit, cost)

    def _ask(self, let_in: Callable[..., bool], limit: _Limit, cost: int) -> None:
        with self._asking():
            if let_in(limit.item, *limit.names, cost=cost):
                return
            stats = self._strategy.get_window_stats(limit.item, *limit.names)
        message = f"{limit.unit}_per_minute: {limit.most} for this {limit.whose}, of which {max(0, stats.remaining)} are left"
        wait_s = max(0.05, stats.reset_time - time.time())
        raise RateLimited(message, retry_after=wait_s, param=f"{limit.unit}_per_minute", limit=limit.most, received=cost)

    def _attempt(self, item: RateLimitItemPerMinute, what: str, whose: str, name: str) -> None:
        with self._asking():
            if self._strategy.hit(item, what, whose, name):
                return
            stats = self._strategy.get_window_stats(item, what, whose, name)
        message = f"too many attempts: {item.amount} in {item.multiples} minutes for one {whose}"
        wait_s = max(1.0, stats.reset_time - time.time())
        raise RateLimited(message, retry_after=wait_s, param=whose, limit=item.amount, received=item.amount + 1)

    def _headers(self, tenant: Tenant) -> dict[str, str]:
        told: dict[str, str] = {}
        for unit in _UNITS:
            found = self._nearest(tenant, unit)
            if found is not None:
                stats, limit = found
                told[f"x-ratelimit-limit-{unit}"] = str(limit.most)
                told[f"x-ratelimit-remaining-{unit}"] = str(max(0, stats.remaining))
                told[f"x-ratelimit-reset-{unit}"] = duration(stats.reset_time - time.time())
        return told

    async def _off_loop(self, work: Callable[[], T]) -> T:
        """Memory answers at once; Redis is waited for elsewhere."""
        return work() if self.local else await asyncio.to_thread(work)


def _limits(tenant: Tenant, unit: Unit) -> Iterator[_Limit]:
    of_account, of_key = (getattr(limits, f"{unit}_per_minute") for limits in (tenant.account_limits, tenant.key_limits))
    for whose, name, most in (("account", tenant.account_id, of_account), ("API key", tenant.key_id, of_key)):
        if most is not None:
            yield _limit(whose, unit, most, name)


@lru_cache(maxsize=4_096)
def _limit(whose: str, unit: Unit, most: int, name: str) -> _Limit:
    return _Limit(whose, unit, most, RateLimitItemPerMinute(most), (unit, name))


def duration(seconds: float) -> str:
    """As Go writes it and OpenAI sends it: 12ms, 1.5s, 6m0s."""
    milliseconds = max(0, math.ceil(seconds * 1e3))
    if milliseconds < 1_000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return (f"{minutes}m" if minutes else "") + f"{rest / 1e3:g}s"


def _storage(url: str) -> Any:
    if url.startswith("memory:"):
        return Memory(wrap_exceptions=True)
    return storage_from_string(url, wrap_exceptions=True, **_waits(url))


def _waits(url: str) -> dict[str, Any]:
    """Of Redis's client, which waits forever unless it is told not to, and tries again with long pauses."""
    if not url.startswith("redis"):
        return {}
    try:
        from redis.backoff import NoBackoff  # noqa: PLC0415  # a package that memory does not need
        from redis.retry import Retry  # noqa: PLC0415
    except ImportError:
        return {}  # which the storage will say
    return {"socket_timeout": _ANSWER_S, "socket_connect_timeout": _ANSWER_S, "retry": Retry(NoBackoff(), 1)}


def _unavailable() -> DatabaseUnavailable:
    return DatabaseUnavailable("requests cannot be counted: rate_limit_url does not answer", retry_after=1.0)
