"""Whoever works on batches: takes the next one, does a step of it, lets it go, so that several get on side by side.

Knows no HTTP. Invariants: a segment's charges, its rows of usage and how far the batch has come are one transaction, which only
the batch's owner commits, and only from where it began: a line is answered and billed once, however often a process is killed;
a batch whose owner was killed is taken over when its time is up, or when the one server of an embedded database starts.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping

from gigarank.errors import InsufficientCredit, MissingFile, TryLater
from gigarank.service.batches import files, repository
from gigarank.service.batches.ending import End, end
from gigarank.service.batches.lines import Line, check, lines
from gigarank.service.batches.schemas import OPEN, Ending
from gigarank.service.batches.segment import Bench, Order, Segment, ask, taken
from gigarank.service.batches.storage import Depot, reader
from gigarank.service.credits.repository import lock_account
from gigarank.service.credits.service import HOLD_S, settle
from gigarank.service.lasting import attempt, whole
from gigarank.service.tenant import Limits, Tenant

_IDLE_S = 2.0  # until a server looks for what another one was asked
_PAUSE_S = 1.0  # after a step that could not be done
_TIDY_S = 60


class LostError(Exception):
    """Another process has gone on with the batch."""


@dataclass(slots=True)
class BatchRunner:
    """`clock`: Unix seconds."""

    bench: Bench
    depot: Depot
    clock: Callable[[], float]
    _tidied: int = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        if self.bench.house.database.embedded:
            await self._free_all(None)  # whoever had one has ended
        try:
            while True:
                if not await attempt("a step of a batch", self._turn(), (TryLater, LostError, InsufficientCredit)):
                    await self._free_all(self.bench.house.owner, int(self.clock() * 1_000))
                    await asyncio.sleep(_PAUSE_S)
        finally:
            await self._let_go(self.bench.house.owner)

    async def _free_all(self, owner: str | None, turn: int | None = None) -> None:
        """Until it is done: what its owner holds without working on it is renewed, and so nobody's ever."""
        while not await self._let_go(owner, turn):
            await asyncio.sleep(_PAUSE_S)

    async def _let_go(self, owner: str | None, turn: int | None = None) -> bool:
        """False where it failed."""
        run = self.bench.house.database.run
        return await attempt("letting go of a batch", run(lambda one: repository.let_go(one, owner, turn)))

    async def _turn(self) -> None:
        """A step of the next batch, or a wait for one."""
        house, now = self.bench.house, int(self.clock())
        self.depot.work.clear()
        batch = await self._claimed(now)
        if batch is not None:
            try:
                await self._step(batch, now)
            except MissingFile:
                await self._end(batch, "failed", now)
            return
        if now >= self._tidied + _TIDY_S:
            self._tidied = now
            await asyncio.to_thread(files.tidy, house.database, self.depot.store, now)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_S):  # wait_for would forget a cancellation that comes with the event
                await self.depot.work.wait()

    async def _claimed(self, now: int) -> RowMapping | None:
        """Whoever ends this waits for it: a claim that comes after its owner let go would be held by nobody."""
        house = self.bench.house
        return await whole(house.database.run(lambda one: repository.claim(one, house.owner, now, now + HOLD_S)))

    async def _step(self, batch: RowMapping, now: int) -> None:
        if batch["state"] == "cancelling":
            await self._end(batch, "cancelled", now)
        elif batch["state"] == "finalizing":
            await self._end(batch, "completed", now)
        elif batch["expires_at"] <= now:
            await self._end(batch, "expired", now)
        elif batch["state"] == "validating":
            await self._validate(batch, now)
        else:
            await self._segment(batch, now)

    async def _validate(self, batch: RowMapping, now: int) -> None:
        read, settings = reader(self.depot.store, batch["input_file_id"]), self.bench.settings
        checked = await asyncio.to_thread(check, read, batch["endpoint"], settings)
        values: dict[str, Any] = {"state": "in_progress", "in_progress_at": now, "total": checked.total}
        if checked.errors:
            values = {"state": "failed", "failed_at": now, "errors": json.dumps(checked.errors)}
        await self._advance(batch, ("validating",), **values)

    async def _segment(self, batch: RowMapping, now: int) -> None:
        read, most = reader(self.depot.store, batch["input_file_id"]), self.bench.settings.max_body_bytes
        rest = lines(read, batch["bytes_done"], batch["lines_done"], most)
        found = await asyncio.to_thread(taken, rest)
        if not found:
            await self._advance(batch, ("in_progress",), state="finalizing", finalizing_at=now)
            return
        segment = Segment(self.depot.spool)
        try:
            await self._asked(found, batch, segment, now)
            kept = await asyncio.to_thread(self._keep, segment, f"{batch['id']}-{found[-1].end}")
            await self.bench.house.database.run(lambda one: self._settle(one, batch, segment, found[-1], kept))
            for meter in segment.meters:
                meter.settled()
        finally:
            await segment.close()

    async def _asked(self, found: list[Line], batch: RowMapping, segment: Segment, now: int) -> None:
        models = None if batch["models"] is None else tuple(json.loads(batch["models"]))
        tenant = Tenant(batch["account_id"], batch["key_id"], ("inference",), models, Limits(), Limits())
        try:
            await ask(self.bench, Order(batch["id"], batch["endpoint"], tenant, now), found, segment)
        except* TryLater as several:
            raise several.exceptions[0] from several

    def _keep(self, segment: Segment, name: str) -> dict[str, str]:
        """Blocks. The answers' names in the store; asked again after a crash, they have the same ones."""
        finished = segment.finished()
        for kind, source in finished.items():
            self.depot.store.put(f"{name}-{kind}", source)
        return {kind: f"{name}-{kind}" for kind in finished}

    def _settle(self, one: Connection, batch: RowMapping, segment: Segment, last: Line, kept: dict[str, str]) -> None:
        now = int(self.clock())
        lock_account(one, batch["account_id"])  # before its batch, as whoever deletes it does
        values = {
            "lines_done": last.number,
            "bytes_done": last.end,
            "completed": batch["completed"] + segment.completed,
            "failed": batch["failed"] + segment.failed,
            "tokens": batch["tokens"] + segment.tokens,
            "model": batch["model"] or segment.model or None,
        }
        self._must(repository.advance(one, batch, self.bench.house.owner, OPEN, **values, **self._free()))
        for use in segment.uses:
            settle(one, use, now)
        names = {"output": kept.get("output"), "errors": kept.get("errors")}
        repository.add_segment(one, batch_id=batch["id"], bytes_done=last.end, **names)

    async def _advance(self, batch: RowMapping, states: tuple[str, ...], **values: Any) -> None:
        """To another state, unless the batch was cancelled meanwhile."""
        owner, free = self.bench.house.owner, self._free()
        await self.bench.house.database.run(
            lambda one: self._must(
                repository.advance(one, batch, owner, states, **values, **free)
                or repository.advance(one, batch, owner, OPEN, **free)
            )
        )

    async def _end(self, batch: RowMapping, ending: Ending, now: int) -> None:
        house = self.bench.house
        self._must(await asyncio.to_thread(end, house, self.depot, End(batch, ending, now), self.bench.settings))
        await asyncio.to_thread(files.tidy, house.database, self.depot.store, now)

    def _free(self) -> dict[str, Any]:
        """The next turn is another batch's."""
        return {"owner": None, "held_until": 0, "turn": int(self.clock() * 1_000)}

    def _must(self, mine: bool) -> None:
        if not mine:
            raise LostError("another process works on this batch")
