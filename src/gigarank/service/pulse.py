"""How the server was: each hour's minutes up and ready, requests, errors and how long answers took; kept in a file of its own.

Knows exchanges and SQLite's module, no database of accounts. Invariants: what is shown was counted; a minute in which no server
ran is one in which it was down. No request is kept, only counts.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gigarank.service.http.exchange import Exchange

_LOG = logging.getLogger(__name__)
FILE = "status.db"
KEPT_HOURS = 90 * 24
BOUNDS_MS = (10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)
"""Each bucket's upper bound; one more has the rest."""
_HOUR_S, _BEAT_S = 3_600, 60.0
_BUCKETS = len(BOUNDS_MS) + 1
_COLUMNS = ("up", "ready", "requests", "errors", *(f"b{place}" for place in range(_BUCKETS)))


@dataclass(frozen=True, slots=True)
class Hour:
    """`hour`: since 1970. `up`, `ready`: minutes. `buckets`: answers by their milliseconds."""

    hour: int
    up: int
    ready: int
    requests: int
    errors: int
    buckets: tuple[int, ...]

    def quantile(self, part: float) -> int | None:
        """Milliseconds that so many of the answers did not exceed; None without answers, or beyond the last bound."""
        wanted, seen = part * sum(self.buckets), 0
        for bound, count in zip(BOUNDS_MS, self.buckets, strict=False):
            seen += count
            if count and seen >= wanted:
                return bound
        return None


def total(hours: Sequence[Hour]) -> Hour:
    sums = [sum(values) for values in zip(*(one.buckets for one in hours), strict=True)] or [0] * _BUCKETS
    named = {name: sum(getattr(one, name) for one in hours) for name in ("up", "ready", "requests", "errors")}
    return Hour(hours[0].hour if hours else 0, **named, buckets=tuple(sums))


class Pulse:
    """`file` None keeps it in memory. `clock`: Unix seconds."""

    def __init__(self, file: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self.clock = clock
        self._memory: dict[int, list[int]] = {}
        self._counts = [0] * len(_COLUMNS)

    def note(self, exchange: Exchange) -> None:
        """An answer that a model gave counts, and an error that is the server's."""
        if exchange.status >= 500:
            self._counts[3] += 1
        if not exchange.tokens:
            return
        self._counts[2] += 1
        place = next((place for place, bound in enumerate(BOUNDS_MS) if exchange.total_ms <= bound), len(BOUNDS_MS))
        self._counts[4 + place] += 1

    async def run(self, ready: Callable[[], bool]) -> None:
        while True:
            counts = self._taken(ready())
            try:
                await asyncio.to_thread(self._keep, counts)
            except (OSError, sqlite3.Error) as error:
                _LOG.warning("the status is kept in memory from now on: %s: %s", self._file, error)
                self._file = None
            await asyncio.sleep(_BEAT_S)

    def beat(self, ready: bool) -> None:
        """What was counted since the last one, and a minute more."""
        self._keep(self._taken(ready))

    def hours(self) -> list[Hour]:
        """The oldest first; those in which no server ran are not there."""
        if self._file is None:
            rows = [(hour, *counts) for hour, counts in sorted(self._memory.items())]
        elif not self._file.exists():
            rows = []
        else:
            with closing(self._open(self._file)) as opened:
                rows = opened.execute("SELECT * FROM hours ORDER BY hour").fetchall()
        return [Hour(row[0], row[1], row[2], row[3], row[4], tuple(row[5:])) for row in rows]

    def _taken(self, ready: bool) -> list[int]:
        counts, self._counts = self._counts, [0] * len(_COLUMNS)
        return [1, int(ready), *counts[2:]]

    def _keep(self, counts: list[int]) -> None:
        hour = int(self.clock()) // _HOUR_S
        if self._file is None:
            kept = self._memory.setdefault(hour, [0] * len(_COLUMNS))
            self._memory[hour] = [old + new for old, new in zip(kept, counts, strict=True)]
            self._memory.pop(hour - KEPT_HOURS, None)
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        marks, sums = ", ".join("?" * (len(_COLUMNS) + 1)), ", ".join(f"{name} = {name} + excluded.{name}" for name in _COLUMNS)
        with closing(self._open(self._file)) as opened:
            opened.execute(f"INSERT INTO hours VALUES ({marks}) ON CONFLICT (hour) DO UPDATE SET {sums}", (hour, *counts))
            opened.execute("DELETE FROM hours WHERE hour <= ?", (hour - KEPT_HOURS,))

    @staticmethod
    def _open(file: Path) -> sqlite3.Connection:
        """Each statement is kept by itself."""
        opened = sqlite3.connect(file, timeout=10.0, isolation_level=None)
        columns = ", ".join(f"{name} INTEGER NOT NULL" for name in _COLUMNS)
        opened.execute(f"CREATE TABLE IF NOT EXISTS hours (hour INTEGER PRIMARY KEY, {columns})")
        return opened
