"""One request on its way through a worker, and what its caller holds of it.

Values and a future: no threads of its own. Invariant: a job's future ends once: with its result, an error or cancelled.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from gigarank.engine.request import Encoded
from gigarank.engine.tasks import Task
from gigarank.engine.work import Tier, Timing
from gigarank.errors import GigarankError, WorkerFailed
from gigarank.model.packed import Kept

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What a worker accepts and computes together. Tokens of requests that are not encoded yet are estimated.

    Both waiting limits count everything that is not answered. A request that is larger than `max_waiting_tokens` by itself
    is refused for good, as soon as that is known; one that merely looks so is accepted by an empty queue, and encoded.
    """

    max_waiting_requests: int = 512
    max_waiting_tokens: int = 4_000_000
    max_batch_tokens: int = 1_024


class QueueLength(NamedTuple):
    """What is accepted and not answered yet."""

    requests: int
    pairs: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Urgency:
    """How long a request may wait: see work.Work."""

    tier: Tier = "default"
    priority: int = 0
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Ticket(Generic[T]):
    """What the caller holds. Cancelling `future` itself does the same as `cancel`."""

    future: Future[T]

    def cancel(self) -> None:
        """Drops at once what has not run. No effect on a request that is answered."""
        self.future.cancel()


@dataclass(eq=False, slots=True)
class Job:
    """A request. Times are the worker's clock, in seconds; `tokens` are left to compute."""

    number: int
    task: Task[Any]
    urgency: Urgency
    submitted: float
    tokens: int
    future: Future[Any] = field(default_factory=Future)
    encoded: Encoded = field(default_factory=Encoded)
    kept: Kept = field(default_factory=dict)  # shared prefixes, from one of its batches to the next
    tokenize_s: float = 0.0
    started: float | None = None
    ended: float | None = None

    def is_late(self, now: float) -> bool:
        return self.urgency.deadline is not None and self.urgency.deadline <= now

    def timing(self, now: float) -> Timing:
        """As far as it has come by `now`."""
        started = now if self.started is None else self.started
        ended = started if self.ended is None else self.ended
        queued = max(0.0, started - self.submitted - self.tokenize_s)
        return Timing(queued * 1e3, self.tokenize_s * 1e3, (ended - started) * 1e3)

    def settle(self, conclude: Callable[[], object]) -> None:
        """Ends the future with what `conclude` gives or raises, unless it is cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(conclude())
        except GigarankError as error:
            self.future.set_exception(error)
        finally:
            if not self.future.done():  # whoever waits must not wait for ever
                self.future.set_exception(WorkerFailed("the result could not be made"))
