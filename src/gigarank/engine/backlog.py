"""The accepted requests of one worker, from any thread to the model's and back: admission, encoding, turns, endings.

Texts become tokens here, on threads beside the model's; large requests have one of their own, so that no small one waits
for them. Knows no model. Invariants: every accepted job ends once; futures are settled outside the lock, since whoever waits
for one may hold a lock too.
"""

import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from gigarank.engine.batch import Part
from gigarank.engine.jobs import Job, QueueLength, QueueLimits, Ticket, Urgency
from gigarank.engine.meter import Meter
from gigarank.engine.plan import Limits
from gigarank.engine.request import Encoded
from gigarank.engine.schedule import Schedule, Turn
from gigarank.engine.tasks import Task, estimated_tokens
from gigarank.engine.work import MOST_CHARACTERS_PER_TOKEN
from gigarank.errors import GigarankError, Overloaded, RequestTooLarge, WorkerFailed

_MANY_CHARACTERS = 100_000  # a request with more is large


@dataclass(slots=True)
class Running:
    """A batch with its jobs and their parts, in the order of `turn.takes`. `spent`: tokens that were computed in its pauses,
    in `paused_s` seconds; `seen`: the backlog's version at its last look."""

    turn: Turn
    jobs: list[Job]
    parts: list[Part]
    spent: int = 0
    paused_s: float = 0.0
    seen: int = -1


class Backlog:
    """`refuse` makes the error that ends what comes after `close`."""

    def __init__(self, limits: QueueLimits, kept_tokens: int, meter: Meter, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._meter = meter
        self._clock = clock
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._jobs: dict[int, Job] = {}
        self._schedule = Schedule(Limits(limits.max_batch_tokens, kept_tokens))
        self._endings: deque[tuple[Job, Callable[[], object]]] = deque()
        self._small = ThreadPoolExecutor(2, "gigarank-tokenize")
        self._large = ThreadPoolExecutor(1, "gigarank-tokenize-large")
        self._refuse: Callable[[], GigarankError] | None = None
        self._version = 0  # of what a pause may have to act upon
        self._earliest = math.inf  # no job's deadline is before it

    def submit(self, task: Task[Any], urgency: Urgency) -> Ticket[Any]:
        """Accepts a task. Raises Overloaded, RequestTooLarge, or what `close` was given."""
        encoding: Future[Encoded | None] | None = None
        with self._changed:
            job = Job(next(self._numbers), task, urgency, self._clock(), estimated_tokens(task))
            self._admit(job)
            self._jobs[job.number] = job
            if job.is_late(job.submitted):
                self._end(job, partial(task.result, job.timing(job.submitted)))
            else:
                lane = self._large if task.characters > _MANY_CHARACTERS else self._small
                encoding = lane.submit(self._encode, job)
                self._earliest = min(self._earliest, _deadline(job))
            self._changed.notify_all()
        job.future.add_done_callback(partial(self._left, job.number))
        if encoding is not None:
            encoding.add_done_callback(partial(self._encoded, job))
        self.settle()
        return Ticket(job.future)

    def length(self) -> QueueLength:
        with self._changed:
            jobs = list(self._jobs.values())
        return QueueLength(len(jobs), sum(job.task.pairs_left() for job in jobs), sum(job.tokens for job in jobs))

    def next(self) -> Running | None:
        """Waits for the next batch; None once all is closed and answered."""
        while True:
            with self._changed:
                self._expire()
                if (turn := self._schedule.next()) is not None:
                    return self._start(turn)
                if not self._endings:
                    if self._refuse is not None and not self._jobs:
                        return None
                    self._changed.wait(self._patience())
            self.settle()

    def interruption(self, running: Running) -> Running | None:
        """What shall run in the pause of `running`, if anything; asked again only when something has changed."""
        if running.seen == self._version:
            return None
        with self._changed:
            running.seen = self._version
            turn = self._schedule.interruption(running.turn, running.spent)
            if turn is None:
                return None
            running.seen = -1
            running.spent += turn.tokens
            return self._start(turn)

    def is_awaited(self, running: Running) -> bool:
        """Answers what is late; says whether anyone still waits for the batch."""
        if self._clock() >= self._earliest:
            with self._changed:
                self._expire()
            self.settle()
        return any(job.number in self._jobs for job in running.jobs)

    def is_open(self, job: Job) -> bool:
        return job.number in self._jobs

    def computed(self, running: Running) -> None:
        """Ends the jobs that have nothing left."""
        with self._changed:
            now = self._clock()
            for job, take in zip(running.jobs, running.turn.takes, strict=True):
                job.ended = now
                job.tokens = max(0, job.tokens - take.tokens)
                if job.number not in self._schedule:
                    self._end(job, partial(job.task.result, job.timing(now)))
        self.settle()

    def fail(self, jobs: Sequence[Job], message: str) -> None:
        with self._changed:
            for job in jobs:
                self._end(job, partial(_raise, WorkerFailed(message)))
        self.settle()

    def close(self, refuse: Callable[[], GigarankError]) -> None:
        """Accepts nothing more."""
        with self._changed:
            self._refuse = refuse
            self._changed.notify_all()

    def end_all(self, refuse: Callable[[], GigarankError]) -> None:
        """Closes, unless that is done, and ends whatever is not answered."""
        with self._changed:
            self._refuse = self._refuse or refuse
            for job in list(self._jobs.values()):
                self._end(job, partial(_raise, refuse()))
            for lane in (self._small, self._large):
                lane.shutdown(wait=False, cancel_futures=True)
        self.settle()

    def settle(self) -> None:
        """Tells the callers of ended jobs. Not to be called with the lock held."""
        while self._endings:
            try:
                job, conclude = self._endings.popleft()
            except IndexError:  # another thread was faster
                return
            job.settle(conclude)

    def _admit(self, job: Job) -> None:
        if self._refuse is not None:
            raise self._refuse()
        waiting = sum(other.tokens for other in self._jobs.values())
        limits, found = self._limits, None
        most = MOST_CHARACTERS_PER_TOKEN * limits.max_waiting_tokens
        if job.task.characters > most:
            raise _too_large("characters", most, job.task.characters)
        if len(self._jobs) >= limits.max_waiting_requests:
            found = ("requests", limits.max_waiting_requests, len(self._jobs) + 1)
        elif self._jobs and waiting + job.tokens > limits.max_waiting_tokens:
            found = ("tokens", limits.max_waiting_tokens, waiting + job.tokens)
        if found is not None:
            raise self._full(*found, waiting)

    def _full(self, unit: str, limit: int, received: int, waiting: int) -> Overloaded:
        message = f"queue: full, at most {limit} {unit} may wait and this request makes it {received}"
        return Overloaded(message, retry_after=self._meter.seconds_for(waiting), limit=limit, received=received)

    def _excess(self, job: Job, encoded: Encoded) -> GigarankError | None:
        """Why there is no room after all, now that the tokens are counted: windows, and scripts with many tokens."""
        tokens, most = sum(piece.length for piece in encoded.pieces), self._limits.max_waiting_tokens
        if tokens > most:
            return _too_large("tokens", most, tokens)
        waiting = sum(other.tokens for other in self._jobs.values()) - job.tokens
        if tokens > job.tokens and waiting + tokens > most:
            return self._full("tokens", most, waiting + tokens, waiting)
        return None

    def _encode(self, job: Job) -> Encoded | None:
        if not self.is_open(job):
            return None
        started = self._clock()
        encoded: Encoded = job.task.encode()
        job.tokenize_s = self._clock() - started
        return encoded

    def _encoded(self, job: Job, encoding: Future[Encoded | None]) -> None:
        """The job joins the schedule, or ends: with its error, or with its result where nothing is to be computed."""
        if encoding.cancelled():
            return
        error = encoding.exception()
        with self._changed:
            encoded = None if error is not None else encoding.result()
            if error is not None:
                known = (
                    error
                    if isinstance(error, GigarankError)
                    else WorkerFailed(f"the texts could not be encoded: {type(error).__name__}")
                )
                self._end(job, partial(_raise, known))
            elif encoded is not None and self.is_open(job):
                if (excess := self._excess(job, encoded)) is not None:
                    self._end(job, partial(_raise, excess))
                else:
                    self._join(job, encoded)
            self._version += 1
            self._changed.notify_all()
        self.settle()

    def _join(self, job: Job, encoded: Encoded) -> None:
        job.encoded = encoded
        self._schedule.add(job.number, encoded.pieces, job.urgency.tier, job.urgency.priority)
        job.tokens = self._schedule.left_tokens(job.number)
        if job.number not in self._schedule:
            self._end(job, partial(job.task.result, job.timing(self._clock())))

    def _start(self, turn: Turn) -> Running:
        now = self._clock()
        running = Running(turn, [], [])
        for take in turn.takes:
            job = self._jobs[take.number]
            job.started = now if job.started is None else job.started
            running.jobs.append(job)
            running.parts.append(Part(take.batch, job.encoded.pieces, job.encoded.ids, job.kept))
        return running

    def _expire(self) -> None:
        now = self._clock()
        if now < self._earliest:
            return
        for job in [job for job in self._jobs.values() if job.is_late(now)]:
            self._end(job, partial(job.task.result, job.timing(now)))
        self._earliest = min((_deadline(job) for job in self._jobs.values()), default=math.inf)

    def _patience(self) -> float | None:
        """Seconds to the first deadline."""
        return None if self._earliest == math.inf else max(0.0, self._earliest - self._clock())

    def _left(self, number: int, future: Future[Any]) -> None:
        """Whoever asked has cancelled."""
        if future.cancelled():
            with self._changed:
                self._forget(number)

    def _end(self, job: Job, conclude: Callable[[], object]) -> None:
        if self._forget(job.number):
            self._endings.append((job, conclude))

    def _forget(self, number: int) -> bool:
        self._schedule.remove(number)
        self._version += 1
        self._changed.notify_all()
        return self._jobs.pop(number, None) is not None


def _deadline(job: Job) -> float:
    return math.inf if job.urgency.deadline is None else job.urgency.deadline


def _too_large(unit: str, limit: int, received: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"request: {received} {unit}, with each document counted once a query; one request may hold {limit}",
        limit=limit,
        received=received,
    )


def _raise(error: GigarankError) -> NoReturn:
    raise error
