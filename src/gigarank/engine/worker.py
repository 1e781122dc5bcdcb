"""A worker: one thread that owns a model and computes the pieces of all waiting requests together.

Between two layers of a batch it looks up: it answers what is late, drops a batch that nobody waits for any more, and first
runs a more urgent or much smaller request's batch. Whose turn it is says engine/schedule.py. Knows no HTTP and no asyncio.
Invariants: every accepted request ends; a pair's logit is bitwise what Reranker.score gives, whatever runs beside it.

An exception out of a batch fails the requests in it with WorkerFailed. A second batch in a row that fails ends the worker:
all requests end with WorkerFailed, `alive` is False, and whoever owns the worker makes another.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from gigarank.engine.answers import Answer
from gigarank.engine.backlog import Backlog, Running
from gigarank.engine.embedder import Embedder
from gigarank.engine.jobs import QueueLength, QueueLimits, Ticket, Urgency
from gigarank.engine.meter import Counters, Meter
from gigarank.engine.portion import Portion, PortionTask
from gigarank.engine.reranker import Reranker
from gigarank.engine.tasks import AnswerTask, Embedding, EmbedTask, ScoreTask
from gigarank.engine.work import Admit, Prompt, Result, Work
from gigarank.errors import GigarankError, InvalidInput, ShuttingDown, WorkerFailed

_FAILURES_THAT_END = 2
_ENDING_S = 30.0  # for the batch that runs when all is ended: the thread looks up between two layers
_log = logging.getLogger(__name__)


class _Abandoned(Exception):  # noqa: N818 - not an error: the way out of a batch that nobody waits for
    pass


class Worker:
    """Thread-safe. `clock` is time.monotonic but in tests; deadlines are its seconds."""

    def __init__(
        self, model: Reranker | Embedder, limits: QueueLimits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._model = model
        self._clock = clock
        chosen = limits or QueueLimits()
        self._meter = Meter(chosen.max_batch_tokens)
        self._backlog = Backlog(chosen, model.runner.limits.kept_tokens, self._meter, clock)
        self._failures = 0  # batches in a row
        self._ended = False
        self._thread = threading.Thread(target=self._main, name=f"gigarank-{model.name}", daemon=True)
        self._thread.start()

    def score(self, work: Work) -> Ticket[Result]:
        """Scores what can be scored by the deadline. Raises, or ends the ticket with: InvalidInput, QueryTooLong,
        Overloaded, RequestTooLarge, ShuttingDown, WorkerFailed."""
        task = ScoreTask(self._reranker(), work)
        return self._backlog.submit(task, Urgency(work.tier, work.priority, work.deadline))

    def embed(
        self,
        texts: Sequence[str],
        task: str | None = None,
        dimensions: int | None = None,
        urgency: Urgency | None = None,
        admit: Admit | None = None,
    ) -> Ticket[Embedding]:
        """Vectors of documents (`task` None) or of queries of a task; "" is the default task. All or nothing: DeadlineExceeded
        where the deadline passes first. Errors as `score`, and NonFiniteScore."""
        if not isinstance(self._model, Embedder):
            raise _wrong_kind(self._model.name, "a reranker, not an embedder")
        return self._backlog.submit(EmbedTask(self._model, texts, task, dimensions, admit), urgency or Urgency())

    def answer(
        self, prompts: Sequence[Prompt], urgency: Urgency | None = None, admit: Admit | None = None
    ) -> Ticket[list[Answer]]:
        """The exact log-probabilities of the answer words after whole prompts, as text in which special tokens count as
        such, as token ids, or as Turns. All or nothing, as `embed`."""
        return self._backlog.submit(AnswerTask(self._reranker(), prompts, admit), urgency or Urgency())

    def logits(self, asked: Portion, urgency: Urgency | None = None) -> Ticket[list[float]]:
        """Of pieces that are tokens already, all or nothing; one may be no number. Errors as `score`."""
        return self._backlog.submit(PortionTask(self._reranker(), asked), urgency or Urgency())

    def queue(self) -> QueueLength:
        """What is accepted and not answered."""
        return self._backlog.length()

    def counters(self) -> Counters:
        kept = self._model.kept_scores if isinstance(self._model, Reranker) else None
        counted = self._meter.counters
        return counted if kept is None else replace(counted, score_hits=kept.hits, score_misses=kept.misses)

    def tokens_per_second(self) -> float:
        """Of the last batches; 0 before the first."""
        return self._meter.tokens_per_second()

    def alive(self) -> bool:
        """Whether the thread runs. False also from the moment when a worker that failed accepts nothing more."""
        return self._thread.is_alive() and not self._ended

    def close(self, drain: bool = True, timeout_s: float | None = None, ending_s: float = _ENDING_S) -> None:
        """Accepts nothing more; answers what was accepted, unless `drain` is False or `timeout_s` has passed: then the rest
        ends with ShuttingDown. Returns when the thread has ended, or hangs for `ending_s` seconds more: then `alive` is True,
        and the thread is left to itself."""
        self._backlog.close(self._closed)
        if drain:
            self._thread.join(timeout_s)
        self._backlog.end_all(self._closed)
        self._thread.join(ending_s)

    def _closed(self) -> GigarankError:
        """Why nothing more is answered; a worker that failed says so also when it is closed before its thread has."""
        if self._failures >= _FAILURES_THAT_END:
            return _has_ended(self._model.name)
        return ShuttingDown("the model is being closed", retry_after=1.0)

    def _reranker(self) -> Reranker:
        if not isinstance(self._model, Reranker):
            raise _wrong_kind(self._model.name, "an embedder, not a reranker")
        return self._model

    def _main(self) -> None:
        try:
            while not self._ended and (running := self._backlog.next()) is not None:
                self._backlog.settle()
                self._compute(running, inside=False)
        finally:
            self._ended = True
            self._backlog.end_all(partial(_has_ended, self._model.name))

    def _compute(self, running: Running, *, inside: bool) -> None:
        """One batch; `inside` another's pause it is not interrupted again."""
        started = self._clock()
        try:
            hidden = self._model.runner.compute(running.parts, partial(self._pause, running, inside=inside))
            for job, part, states in zip(running.jobs, running.parts, hidden, strict=True):
                if self._backlog.is_open(job):
                    job.task.absorb(part, states)
        except _Abandoned:
            return
        except Exception as error:  # noqa: BLE001 - whatever a kernel, a driver or the memory raises
            _log.exception("%s: a batch of %d tokens failed", self._model.name, running.turn.tokens)
            self._failures += 1
            self._ended = self._ended or self._failures >= _FAILURES_THAT_END  # before a caller learns of it, and asks again
            self._meter.failed()
            self._backlog.fail(running.jobs, f"{self._model.name}: the batch with this request failed: {type(error).__name__}")
            return
        self._failures = 0
        self._meter.batch(running.turn.tokens, self._clock() - started - running.paused_s, interrupting=inside)
        self._backlog.computed(running)

    def _pause(self, running: Running, *, inside: bool) -> None:
        """Between two layers."""
        if not self._backlog.is_awaited(running):
            raise _Abandoned
        while not inside and (urgent := self._backlog.interruption(running)) is not None:
            started = self._clock()
            self._compute(urgent, inside=True)
            running.paused_s += self._clock() - started
            if not self._backlog.is_awaited(running):
                raise _Abandoned


def _has_ended(name: str) -> WorkerFailed:
    return WorkerFailed(f"{name}: the worker has ended")


def _wrong_kind(name: str, what: str) -> InvalidInput:
    return InvalidInput(f"model: {name} is {what}", param="model", received=name)


__all__ = ["Answer", "Counters", "Embedding", "QueueLength", "QueueLimits", "Ticket", "Urgency", "Worker"]
