"""The server's own scoring backend: names to models, models to workers, tickets to answers.

All methods belong to one event loop, and none blocks it. Knows no HTTP. Invariant: every call ends in a result or a
GigarankError; a call that is cancelled takes its work out of the worker at once.
"""

import asyncio
import difflib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from gigarank.engine.work import Prompt, Result, Work
from gigarank.engine.worker import Counters, QueueLimits, Ticket, Worker
from gigarank.engine.worker import Urgency as WorkerUrgency
from gigarank.errors import GigarankError, InvalidInput, ShuttingDown, UnknownModel, WorkerFailed
from gigarank.service.backend import Answered, Embedded, Kind, ModelState, QueueState, Urgency
from gigarank.service.hosting.aside import aside
from gigarank.service.hosting.loader import EngineLoader, Loader
from gigarank.service.hosting.options import HostOptions
from gigarank.service.hosting.pool import Pool
from gigarank.service.hosting.room import Demand, require_room
from gigarank.service.hosting.slot import Slot
from gigarank.service.hosting.specs import ModelSpec, require_unique

_MEMORY_SHARE = 0.8
_LOOK_S = 0.05  # how often a drain looks whether all is answered
_TICK_S = 0.5
_CLOSING_S = 5.0  # what a drain adds for workers to end what they compute
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelCounters:
    """For metrics. `worker` None: the model sleeps. `load_seconds`: of all loads together; `memory_bytes`: taken now."""

    worker: Counters | None
    loads: int
    load_seconds: float
    memory_bytes: int


class Host:
    """Rerankers and embedders of this machine. Nothing is read before `start`."""

    def __init__(
        self,
        options: HostOptions,
        loader: Loader | None = None,
        limits: QueueLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limits`: of each model's queue. `clock`: seconds, for idleness, estimates and repeated tries."""
        require_unique(options.models)
        self.options = options
        self._loader = loader or EngineLoader()
        self._limits = limits or QueueLimits()
        self._clock = clock
        self._pool: Pool | None = None
        self._slots: dict[str, Slot] = {}
        self._watching: asyncio.Task[None] | None = None
        self._open = False
        self._running = 0

    @property
    def memory_bytes(self) -> int:
        """The budget; 0 before the start."""
        return self._pool.budget_bytes if self._pool is not None else 0

    async def start(self) -> None:
        """Knows all models, and begins to load the pinned ones: `ready` says when they are.

        Raises what is wrong with a name or a checkpoint, and InvalidInput where a model could never fit the budget.
        """
        slots = [await aside(partial(self._survey, spec)) for spec in self.options.models]
        budget = self.options.memory_bytes or int(await aside(self._loader.memory_bytes) * _MEMORY_SHARE)
        require_room([Demand(slot.name, slot.memory_bytes, slot.spec.pinned) for slot in slots], budget)
        self._pool = Pool(slots, budget, self.options, self._loader, self._limits)
        self._slots = {name.lower(): slot for slot in slots for name in slot.spec.names}
        self._open = True
        self._watching = asyncio.create_task(self._watch(self._pool), name="watch models")
        for slot in slots:
            if slot.spec.pinned:
                self._pool.load(slot)

    def ready(self) -> bool:
        pinned = [slot for slot in self._all() if slot.spec.pinned]
        return self._open and all(slot.state == "ready" for slot in pinned)

    def models(self) -> Sequence[ModelState]:
        speed = self._pool.load_bytes_per_s() if self._pool is not None else None
        return [slot.snapshot(speed) for slot in self._all()]

    def queues(self) -> Sequence[QueueState]:
        return [_queue(slot) for slot in self._all()]

    def counters(self) -> Mapping[str, ModelCounters]:
        """By model. A worker's counters begin anew when its model was loaded anew."""
        return {
            slot.name: ModelCounters(
                slot.worker.counters() if slot.worker is not None else None,
                slot.loads.count,
                slot.loads.seconds,
                slot.held_bytes,
            )
            for slot in self._all()
        }

    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        return await self._ask(model, "reranker", _within(wait_s, work.deadline), lambda worker: worker.score(work))

    async def embed(
        self, model: str, texts: Sequence[str], *, task: str | None, dimensions: int | None, urgency: Urgency
    ) -> Embedded:
        own = _own(urgency)
        wait_s = _within(urgency.wait_s, urgency.deadline)
        found = await self._ask(
            model,
            "embedder",
            wait_s,
            lambda worker: worker.embed(texts, task=task, dimensions=dimensions, urgency=own, admit=urgency.admit),
        )
        return Embedded(found.vectors, found.usage, found.timing)

    async def answer(self, model: str, prompts: Sequence[Prompt], urgency: Urgency) -> list[Answered]:
        own = _own(urgency)
        wait_s = _within(urgency.wait_s, urgency.deadline)
        found = await self._ask(model, "reranker", wait_s, lambda worker: worker.answer(prompts, own, urgency.admit))
        return [Answered(one.yes, one.no, one.yes_logprob, one.no_logprob, one.prompt_tokens, one.timing) for one in found]

    async def drain(self, timeout_s: float) -> None:
        """Accepts nothing more; what was accepted has `timeout_s` to be answered, and then ends with an error."""
        self._open = False
        end = time.monotonic() + timeout_s
        while self._running and time.monotonic() < end:
            await asyncio.sleep(min(_LOOK_S, max(end - time.monotonic(), 0.0)))
        if self._watching is not None:
            self._watching.cancel()
        if self._pool is not None:
            await self._pool.close(max(end - time.monotonic(), 0.0) + _CLOSING_S)

    def tick(self) -> None:
        """What happens with time, now: it is called twice a second anyway."""
        if self._pool is not None:
            self._pool.tick()

    async def _watch(self, pool: Pool) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            pool.tick()

    async def _ask(self, model: str, kind: Kind, wait_s: float, submit: Callable[[Worker], Ticket[T]]) -> T:
        if not self._open or self._pool is None:
            raise ShuttingDown("the server is shutting down, or has not started", retry_after=1.0)
        slot = self._find(model, kind)
        self._running += 1
        try:
            with slot.used(self._pool.released):
                worker = await self._pool.awake(slot, wait_s)
                return await self._answered(slot, submit(worker), self._pool)
        finally:
            self._running -= 1

    async def _answered(self, slot: Slot, ticket: Ticket[T], pool: Pool) -> T:
        """The ticket's result. A future that the worker itself cancelled is not taken for a client that left."""
        future = asyncio.wrap_future(ticket.future)
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError:
            ticket.cancel()
            future.cancel()
            raise
        if future.cancelled():
            raise WorkerFailed(f"the worker of {slot.name} ended with this request in it", received=slot.name)
        if isinstance(future.exception(), WorkerFailed):
            pool.look_after(slot)
        return future.result()

    def _survey(self, spec: ModelSpec) -> Slot:
        return Slot(spec, self._loader.survey(spec), self._clock)

    def _all(self) -> Sequence[Slot]:
        return list(self._pool.slots.values()) if self._pool is not None else []

    def _find(self, model: str, kind: Kind) -> Slot:
        slot = self._slots.get(model.lower())
        if slot is None:
            raise self._unknown(model)
        if slot.facts.kind != kind:
            does = "gives vectors, and cannot rank" if kind == "reranker" else "ranks, and gives no vectors"
            raise InvalidInput(f"model: {slot.name} is a model that {does}", param="model", limit=kind, received=model)
        return slot

    def _unknown(self, model: str) -> GigarankError:
        names = [slot.name for slot in self._all()]
        nearest = difflib.get_close_matches(model.lower(), list(self._slots), n=3, cutoff=0.4)
        shown = list(dict.fromkeys(self._slots[name].name for name in nearest)) or names
        return UnknownModel(
            f"model: {model!r} is not offered here; nearest: {', '.join(shown)}", param="model", limit=shown, received=model
        )


def _within(wait_s: float, deadline: float | None) -> float:
    """How long to wait for a sleeping model: not beyond the deadline, `time.monotonic()` seconds."""
    return wait_s if deadline is None else max(0.0, min(wait_s, deadline - time.monotonic()))


def _own(urgency: Urgency) -> WorkerUrgency:
    return WorkerUrgency(urgency.tier, urgency.priority, urgency.deadline)


def _queue(slot: Slot) -> QueueState:
    if slot.worker is None:
        return QueueState(slot.name, 0, 0, 0)
    waiting = slot.worker.queue()
    return QueueState(slot.name, waiting.requests, waiting.pairs, waiting.tokens)
