"""All models of a host within one memory budget: loads what is asked for, and puts to sleep what is not.

Lives on one event loop, which it never blocks: models are loaded and closed in threads, each model in one of its own, so
that a long load delays no other model. Knows workers, no requests. Invariant: the models in memory, those on their way into
it and out of it included, fit the budget; a model that is pinned, or that someone waits for, is never put to sleep.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gigarank.engine.jobs import QueueLimits
from gigarank.engine.worker import Worker
from gigarank.errors import GigarankError, ModelUnavailable, ShuttingDown
from gigarank.service.hosting.loader import Loader, measured_bytes
from gigarank.service.hosting.options import HostOptions
from gigarank.service.hosting.room import Resident, to_sleep
from gigarank.service.hosting.slot import Slot

_LOOK_S = 0.25  # how often a model that waits for room looks again, whatever it was told
_STOPPING = "the server is shutting down"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    worker: Worker
    memory_bytes: int


class Pool:
    """`slots` by name."""

    def __init__(
        self, slots: Sequence[Slot], budget_bytes: int, options: HostOptions, loader: Loader, limits: QueueLimits
    ) -> None:
        self.slots = {slot.name: slot for slot in slots}
        self.budget_bytes = budget_bytes
        self.options = options
        self._limits = limits
        self._loader = loader
        self._threads = ThreadPoolExecutor(max_workers=2 * len(self.slots), thread_name_prefix="gigarank-load")
        self._room = asyncio.Event()
        self._stopping = False

    @property
    def held_bytes(self) -> int:
        return sum(slot.held_bytes for slot in self.slots.values())

    async def awake(self, slot: Slot, wait_s: float) -> Worker:
        """The model's worker, at once or within `wait_s` seconds. The caller holds `slot.used`.

        Raises ModelLoading with an estimate, or the reason why the model is not served.
        """
        self.look_after(slot)
        worker = self._ready(slot, refused=not self._due(slot))
        if worker is None:
            loading = self.load(slot)
            if wait_s > 0.0:
                await asyncio.wait({loading}, timeout=wait_s)
                worker = self._ready(slot, refused=True)
        if worker is None:
            raise self._loading(slot)
        return worker

    def load(self, slot: Slot) -> asyncio.Task[None]:
        """Starts loading, if it is not under way."""
        if slot.loading is None:
            slot.loading = asyncio.create_task(self._load(slot), name=f"load {slot.name}")
        return slot.loading

    def look_after(self, slot: Slot) -> None:
        """Notices a worker that died, and loads the model anew."""
        if slot.worker is not None and slot.closing is None and not slot.worker.alive():
            _log.error("the worker of %s died; the model is loaded anew", slot.name)
            self._close(slot)
            self.load(slot)

    def tick(self) -> None:
        """What happens with time: dead workers are noticed, unused models sleep, pinned ones that failed are tried again."""
        for slot in self.slots.values():
            self.look_after(slot)
            unused = slot.clock() - slot.last_used
            if self.options.idle_s and slot.may_sleep and unused >= self.options.idle_s:
                _log.info("%s sleeps, unused for %.0f s", slot.name, unused)
                self._close(slot)
            if slot.spec.pinned and slot.failure is not None and slot.loading is None and self._due(slot):
                self.load(slot)

    def released(self) -> None:
        """Somebody is done with a model: one that waits for room looks again."""
        self._room.set()

    async def close(self, timeout_s: float) -> None:
        """Ends loads and workers; what they still hold ends with an error."""
        self._stopping = True
        for slot in self.slots.values():
            if slot.worker is not None:
                self._close(slot)
        tasks = {task for slot in self.slots.values() for task in (slot.loading, slot.closing) if task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=max(timeout_s, 0.0))
        self._threads.shutdown(wait=False, cancel_futures=True)

    def load_bytes_per_s(self) -> float | None:
        """Of the models' last loads together, from the start to the passed self-test."""
        loaded = [slot for slot in self.slots.values() if slot.loads.last_s]
        seconds = sum(slot.loads.last_s or 0.0 for slot in loaded)
        return sum(slot.memory_bytes for slot in loaded) / seconds if seconds else None

    def _ready(self, slot: Slot, refused: bool) -> Worker | None:
        """The worker, or None where there is none yet. Raises the reason of a model that failed, if it is `refused`."""
        if slot.yielding:
            raise self._loading(slot)
        if refused and slot.failure is not None and slot.loading is None:
            raise slot.refusal(self.options.retry_failed_s)
        return slot.worker

    def _loading(self, slot: Slot) -> GigarankError:
        if self._stopping:
            return ShuttingDown(_STOPPING, retry_after=1.0)
        return slot.is_loading(self.load_bytes_per_s())

    def _due(self, slot: Slot) -> bool:
        return slot.clock() >= slot.failed_at + self.options.retry_failed_s

    async def _load(self, slot: Slot) -> None:
        try:
            if slot.closing is not None:
                await asyncio.wait({slot.closing})
            if not await self._make_room(slot):
                return
            slot.load_began = slot.clock()
            thread = asyncio.get_running_loop().run_in_executor(self._threads, self._load_here, slot)
            await asyncio.wait({thread})
            self._settle(slot, thread, slot.clock() - slot.load_began)
        finally:
            slot.loading, slot.load_began, slot.fetching = None, None, None
            self._room.set()

    def _settle(self, slot: Slot, thread: asyncio.Future[_Loaded], seconds: float) -> None:
        """Takes what the thread brought: a worker, or an error of whatever kind."""
        error = thread.exception()
        if error is None:
            loaded = thread.result()
            slot.worker, slot.failure, slot.memory_bytes = loaded.worker, None, loaded.memory_bytes
            slot.held_bytes = loaded.memory_bytes
            slot.loads.add(seconds)
            slot.last_used = slot.clock()
            slot.fresh_until = slot.last_used + (0.0 if slot.in_use else self.options.fresh_s)
            if self._stopping:
                self._close(slot)
            _log.info("%s is ready after %.1f s, %d bytes", slot.name, seconds, loaded.memory_bytes)
            return
        slot.held_bytes = 0
        slot.failure, slot.failed_at = _reason(slot, error), slot.clock()
        _log.error("%s is not served: %s", slot.name, slot.failure.message, exc_info=_unexpected(error))

    def _load_here(self, slot: Slot) -> _Loaded:
        """In a thread."""

        def progress(_what: str, done: int, total: int) -> None:
            self._require_open()
            slot.fetching = (done, total)

        model = self._loader.load(slot.spec, progress)
        self._require_open()
        taken = measured_bytes(model)
        return _Loaded(Worker(model, self._limits), taken)

    def _require_open(self) -> None:
        if self._stopping:
            raise ShuttingDown(_STOPPING, retry_after=1.0)

    async def _make_room(self, slot: Slot) -> bool:
        """Whether the memory is reserved, and the others sleep that have to; not where the pool closes meanwhile."""
        began = slot.clock()
        while (names := to_sleep(self._residents(), slot.memory_bytes, self.budget_bytes)) is None:
            if self._stopping:
                return False
            if slot.clock() - began >= self.options.patience_s:
                self._ask_to_yield(slot)
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._room.wait(), _LOOK_S)
        slot.held_bytes = slot.memory_bytes
        for other in self.slots.values():  # who was asked to yield, and did not have to
            other.yielding = False
        for name in names:
            _log.info("%s sleeps to make room for %s", name, slot.name)
            self._close(self.slots[name])
        closing = {task for name in names if (task := self.slots[name].closing) is not None}
        if closing:
            await asyncio.wait(closing)
        return True

    def _residents(self) -> list[Resident]:
        held = [slot for slot in self.slots.values() if slot.held_bytes]
        return [Resident(slot.name, slot.held_bytes, slot.last_used, slot.may_sleep) for slot in held]

    def _ask_to_yield(self, waiting: Slot) -> None:
        """Those that are awake and not pinned take nothing new, longest unused first, until there is room."""
        held = [slot for slot in self.slots.values() if slot.held_bytes]
        could = [
            Resident(slot.name, slot.held_bytes, slot.last_used, slot.worker is not None and not slot.spec.pinned)
            for slot in held
        ]
        for name in to_sleep(could, waiting.memory_bytes, self.budget_bytes) or ():
            self.slots[name].yielding = True

    def _close(self, slot: Slot) -> None:
        """Takes the worker out of use at once; its memory counts until its thread ended."""
        worker, slot.worker, slot.yielding, slot.fresh_until = slot.worker, None, False, 0.0
        if worker is not None:
            slot.closing = asyncio.create_task(self._end(slot, worker), name=f"close {slot.name}")

    async def _end(self, slot: Slot, worker: Worker) -> None:
        ended = asyncio.get_running_loop().run_in_executor(self._threads, lambda: worker.close(drain=False))
        await asyncio.wait({ended})
        slot.held_bytes, slot.closing = 0, None
        self._room.set()


def _reason(slot: Slot, error: BaseException) -> GigarankError:
    """What a thread ended with, as one of ours: memory, disk and kernels have errors of their own."""
    if isinstance(error, GigarankError):
        return error
    said = str(error).strip().partition("\n")[0]
    return ModelUnavailable(
        f"{slot.name} could not be loaded: {type(error).__name__}: {said}", param="model", received=slot.name
    )


def _unexpected(error: BaseException) -> BaseException | None:
    return None if isinstance(error, GigarankError) else error
