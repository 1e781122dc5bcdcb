"""One model's life in a host: asleep, on its way into memory, ready, or failed; and how long its way will take.

Knows its worker and the clock, no other model. Used from one event loop only, but for `fetching`, which a loading thread
sets. Invariant: `worker` is set exactly while the model can be asked, and `held_bytes` covers what it takes meanwhile.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gigarank.engine.worker import Worker
from gigarank.errors import CheckpointError, GigarankError, ModelLoading, ModelUnavailable
from gigarank.service.backend import ModelState, State
from gigarank.service.hosting.loader import Facts
from gigarank.service.hosting.specs import ModelSpec

_SHORTEST_WAIT_S = 0.1
_UNKNOWN_READ_BYTES_PER_S = 200e6  # until something was read
_UNKNOWN_FETCH_BYTES_PER_S = 10e6  # until the first bytes came over the network


@dataclass(slots=True)
class Loads:
    """What loading has cost so far. `last_s` None: it was never loaded."""

    count: int = 0
    seconds: float = 0.0
    last_s: float | None = None

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds
        self.last_s = seconds


class Slot:
    """One offered model."""

    def __init__(self, spec: ModelSpec, facts: Facts, clock: Callable[[], float]) -> None:
        self.spec = spec
        self.facts = facts
        self.clock = clock
        self.worker: Worker | None = None
        self.loading: asyncio.Task[None] | None = None
        self.closing: asyncio.Task[None] | None = None
        self.failure: GigarankError | None = None
        self.failed_at = 0.0
        self.in_use = 0
        self.last_used = 0.0
        self.fresh_until = 0.0
        self.yielding = False
        self.held_bytes = 0
        self.memory_bytes = facts.memory_bytes  # measured once it was loaded
        self.loads = Loads()
        self.load_began: float | None = None
        self.fetching: tuple[int, int] | None = None  # bytes that came, bytes in all

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def state(self) -> State:
        if self.loading is not None:
            return "loading"
        if self.failure is not None:
            return "failed"
        return "ready" if self.worker is not None and not self.yielding else "sleeping"

    @property
    def busy(self) -> bool:
        """Whether someone waits for an answer, or for the model; what a client left behind counts until it is dropped."""
        return self.in_use > 0 or (self.worker is not None and self.worker.alive() and self.worker.queue().requests > 0)

    @property
    def may_sleep(self) -> bool:
        awake = self.worker is not None and self.closing is None
        return awake and not self.spec.pinned and not self.busy and self.clock() >= self.fresh_until

    @contextmanager
    def used(self, released: Callable[[], None]) -> Iterator[None]:
        """Keeps the model awake; `released` is called when the last one left."""
        self.in_use += 1
        try:
            yield
        finally:
            self.in_use -= 1
            self.last_used = self.clock()
            if self.in_use == 0:
                released()

    def snapshot(self, load_bytes_per_s: float | None = None) -> ModelState:
        return ModelState(
            name=self.name,
            aliases=self.spec.aliases,
            kind=self.facts.kind,
            state=self.state,
            max_pair_tokens=self.facts.max_pair_tokens,
            created=self.facts.created,
            description=self.facts.description,
            repository=self.facts.repository,
            dtype=self.facts.dtype,
            instruction=self.facts.instruction,
            pinned=self.spec.pinned,
            prompt=self.facts.prompt,
            failure=self.failure.message if self.failure is not None and self.loading is None else "",
            ready_in_s=self.remaining_s(load_bytes_per_s) if self.loading is not None else None,
        )

    def expected_load_s(self, load_bytes_per_s: float | None) -> float:
        """How long a load takes from its start: as long as the last one, else as the files' and other models' speed says.

        `load_bytes_per_s`: what the loads of this host's models came to, or None.
        """
        if self.loads.last_s is not None:
            return self.loads.last_s
        reading = self.memory_bytes / (self.facts.read_bytes_per_s or _UNKNOWN_READ_BYTES_PER_S)
        loading = self.memory_bytes / load_bytes_per_s if load_bytes_per_s else 0.0
        return max(reading, loading) + self.facts.fetch_bytes / _UNKNOWN_FETCH_BYTES_PER_S

    def remaining_s(self, load_bytes_per_s: float | None) -> float:
        """How long until the model is ready, from what has passed already. A load that takes longer than expected is
        expected to take a tenth longer than it did so far."""
        expected = self.expected_load_s(load_bytes_per_s)
        if self.load_began is None:
            return max(expected, _SHORTEST_WAIT_S)
        passed = self.clock() - self.load_began
        if self.fetching is None:
            return max(expected - passed, passed / 10, _SHORTEST_WAIT_S)
        came, total = self.fetching
        local = expected if self.loads.last_s is not None else expected - self.facts.fetch_bytes / _UNKNOWN_FETCH_BYTES_PER_S
        return max(passed * (total - came) / max(came, 1) + local, _SHORTEST_WAIT_S)

    def is_loading(self, load_bytes_per_s: float | None) -> ModelLoading:
        seconds = self.remaining_s(load_bytes_per_s)
        return ModelLoading(f"{self.name} is being loaded: ready in about {seconds:.1f} s", retry_after=seconds)

    def refusal(self, retry_s: float) -> GigarankError:
        """Why it is not served, for a request."""
        assert self.failure is not None
        again = max(self.failed_at + retry_s - self.clock(), 0.0)
        kind = CheckpointError if isinstance(self.failure, CheckpointError) else ModelUnavailable
        return kind(
            f"{self.name} is not served: {self.failure.message}; it is tried again at a request in {again:.0f} s or later",
            param="model",
            received=self.name,
        )
