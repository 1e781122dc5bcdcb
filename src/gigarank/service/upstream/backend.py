"""A scoring backend whose models other servers run. This server renders prompts, counts tokens, puts requests in order.

All methods belong to one event loop. Invariant: every call ends in a result or a GigarankError, and is admitted, and so paid
for, once, however often servers were asked for parts of it; a call that is cancelled takes back what it asked.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gigarank.engine.work import MOST_CHARACTERS_PER_TOKEN, Prompt, Result, Timing, Work
from gigarank.errors import (
    InvalidInput,
    ModelLoading,
    Overloaded,
    RequestTooLarge,
    ShuttingDown,
    UnknownModel,
    UnsupportedParameter,
    WorkerFailed,
)
from gigarank.service.backend import Answered, Embedded, ModelState, QueueState, State, Urgency
from gigarank.service.upstream.asking import Asking, check_work
from gigarank.service.upstream.balance import Balancer, Upstream
from gigarank.service.upstream.client import Fault, Question
from gigarank.service.upstream.models import Remote

_CHARACTERS_PER_TOKEN = 4  # of English prose: what is assumed of a text until it is encoded
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class WaitingLimits:
    """What is accepted and not answered, of each model."""

    requests: int = 512
    tokens: int = 4_000_000


@dataclass(slots=True)
class _Queue:
    """What is accepted and not answered of a model."""

    requests: int = 0
    pairs: int = 0
    tokens: int = 0


@dataclass(slots=True, eq=False)
class _Entry:
    """A request in its queue."""

    queue: _Queue
    pairs: int
    tokens: int

    def recount(self, tokens: int) -> None:
        self.queue.tokens += tokens - self.tokens
        self.tokens = tokens


class UpstreamBackend:
    """`remotes`: the models by every name they go by, in lower case."""

    def __init__(self, remotes: Sequence[Remote], balancer: Balancer, limits: WaitingLimits | None = None) -> None:
        self._remotes = {name.lower(): remote for remote in remotes for name in remote.spec.names}
        self._all = list(remotes)
        self._balancer = balancer
        self._limits = limits or WaitingLimits()
        self._queues = {remote.name: _Queue() for remote in remotes}
        self._open = False
        self._watching: list[asyncio.Task[None]] = []
        self._seen: set[Upstream] = set()  # those that were looked at

    async def start(self) -> None:
        """Reads the tokenizers, and begins to look at the servers: `ready` says when they have answered. Raises as `locate`
        does."""
        for remote in self._all:
            await asyncio.to_thread(remote.read)
        self._open = True
        self._watching = [asyncio.create_task(self._watch(one), name="watch upstream") for one in self._balancer.upstreams]

    def ready(self) -> bool:
        return self._open and all(self._balancer.serves(remote.name) for remote in self._all if remote.spec.pinned)

    def models(self) -> Sequence[ModelState]:
        return [self._state(remote) for remote in self._all] if self._watching else []

    def queues(self) -> Sequence[QueueState]:
        return [QueueState(name, queue.requests, queue.pairs, queue.tokens) for name, queue in self._queues.items()]

    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        remote = self._enter(model)
        check_work(work)
        with self._accepted(remote, work) as entry:
            await self._served(remote, wait_s)
            started = time.monotonic()
            longest = self._balancer.longest(remote.name)
            asking = await asyncio.to_thread(remote.asking, work, longest)
            entry.recount(self._counted(sum(question.tokens for question in asking.questions)))
            if asking.questions and work.admit is not None:
                await asyncio.to_thread(work.admit, asking.usage())
            encoded = time.monotonic()
            await self._answers(remote.name, asking, work)
            return asking.result(Timing(0.0, (encoded - started) * 1e3, (time.monotonic() - encoded) * 1e3))

    async def embed(
        self, model: str, texts: Sequence[str], *, task: str | None, dimensions: int | None, urgency: Urgency
    ) -> Embedded:
        name = self._enter(model).name
        raise InvalidInput(f"model: {name} is a model that ranks, and gives no vectors", param="model", received=model)

    async def answer(self, model: str, prompts: Sequence[Prompt], urgency: Urgency) -> list[Answered]:
        name = self._enter(model).name
        raise UnsupportedParameter(
            f"model: {name} runs on another server, which tells no probabilities of single words; ask it to rerank or decide",
            param="model",
            received=model,
        )

    async def drain(self, timeout_s: float) -> None:
        """Accepts nothing more; what was accepted has `timeout_s`."""
        self._open = False
        end = time.monotonic() + timeout_s
        while any(queue.requests for queue in self._queues.values()) and time.monotonic() < end:
            await asyncio.sleep(_LOOK_S)
        for task in self._watching:
            task.cancel()
        for upstream in self._balancer.upstreams:
            await upstream.client.close()

    def _enter(self, model: str) -> Remote:
        if not self._open:
            raise ShuttingDown("the server is shutting down, or has not started", retry_after=1.0)
        remote = self._remotes.get(model.lower())
        if remote is None:
            names = [one.name for one in self._all]
            message = f"model: {model!r} is not offered here; offered are {', '.join(names)}"
            raise UnknownModel(message, param="model", limit=names, received=model)
        return remote

    @contextmanager
    def _accepted(self, remote: Remote, work: Work) -> Iterator[_Entry]:
        """The request in its model's queue. Raises Overloaded, RequestTooLarge."""
        characters = sum(len(text) for search in work.searches for text in (search.query, *search.documents))
        most = MOST_CHARACTERS_PER_TOKEN * self._limits.tokens
        if characters > most:
            raise _too_large("characters", most, characters)
        queue, tokens = self._queues[remote.name], characters // _CHARACTERS_PER_TOKEN
        if queue.requests >= self._limits.requests:
            raise _full("requests", self._limits.requests, queue.requests + 1)
        if queue.requests and queue.tokens + tokens > self._limits.tokens:
            raise _full("tokens", self._limits.tokens, queue.tokens + tokens)
        entry = _Entry(queue, sum(len(search.documents) for search in work.searches), tokens)
        queue.requests, queue.pairs, queue.tokens = queue.requests + 1, queue.pairs + entry.pairs, queue.tokens + tokens
        try:
            yield entry
        finally:
            queue.requests, queue.pairs = queue.requests - 1, queue.pairs - entry.pairs
            queue.tokens -= entry.tokens

    def _counted(self, tokens: int) -> int:
        if tokens > self._limits.tokens:
            raise _too_large("tokens", self._limits.tokens, tokens)
        return tokens

    async def _served(self, remote: Remote, wait_s: float) -> None:
        """Returns when some server has the model. Raises ModelLoading before the first look, else UpstreamUnavailable."""
        end = time.monotonic() + wait_s
        while not self._balancer.serves(remote.name):
            if time.monotonic() >= end:
                if len(self._seen) < len(self._balancer.upstreams):
                    raise ModelLoading(f"model: the servers that run {remote.name} are being asked", retry_after=1.0)
                raise self._balancer.failure(remote.name)
            await asyncio.sleep(_LOOK_S)

    async def _answers(self, model: str, asking: Asking, work: Work) -> None:
        """Asks all questions at once; at the deadline, or where one cannot be answered, the rest is taken back."""
        turns = iter(_turns(self._balancer.start_of(model), asking.questions))
        asked = [
            asyncio.create_task(self._take(model, asking, place, (work.tier == "batch", work.priority, next(turns))))
            for place in range(len(asking.questions))
        ]
        if not asked:
            return
        left_s = None if work.deadline is None else max(0.0, work.deadline - time.monotonic())
        try:
            done, _ = await asyncio.wait(asked, timeout=left_s, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        for task in done:
            task.result()

    async def _take(self, model: str, asking: Asking, place: int, turn: tuple[bool, int, int]) -> None:
        asking.take(place, await self._balancer.ask(model, asking.questions[place], turn))

    def _state(self, remote: Remote) -> ModelState:
        served = self._balancer.serves(remote.name)
        looked = len(self._seen) == len(self._balancer.upstreams)
        failure = "" if served or not looked else self._balancer.failure(remote.name).message
        state: State = "ready" if served else "failed" if failure else "loading"
        return remote.state(state, failure, self._balancer.longest(remote.name))

    async def _watch(self, upstream: Upstream) -> None:
        while True:
            await self._look_at(upstream)
            self._seen.add(upstream)
            await asyncio.sleep(self._balancer.limits.probe_s)

    async def _look_at(self, upstream: Upstream) -> None:
        """One that works is asked whether it still does; one that does not, or is doubted, is tried out with every model."""
        try:
            listed = await upstream.client.look()
            alone = len(self._all) == 1
            models = {one.name: found for one in self._all if (found := one.among(listed, alone=alone)) is not None}
            if not models:
                raise Fault(f"it has {', '.join(listed)}, and none of {', '.join(one.name for one in self._all)}")
            if upstream.up and not upstream.doubted and models == upstream.models:
                return
            for remote in (one for one in self._all if one.name in models):
                await upstream.client.try_out(models[remote.name][0], remote.canary())
        except Fault as fault:
            self._balancer.failed(upstream, fault.reason)
        except WorkerFailed as error:
            self._balancer.failed(upstream, error.message)
        else:
            self._balancer.found(upstream, models)


def _turns(start: int, questions: Sequence[Question]) -> Iterator[int]:
    """The place of each in the fair order: behind the tokens of those before it."""
    for question in questions:
        yield start
        start += question.tokens


def _full(unit: str, limit: int, received: int) -> Overloaded:
    message = f"queue: full, at most {limit} {unit} may wait and this request makes it {received}"
    return Overloaded(message, limit=limit, received=received)


def _too_large(unit: str, limit: int, received: int) -> RequestTooLarge:
    message = f"documents: {received} {unit}, and a request may have {limit}"
    return RequestTooLarge(message, param="documents", limit=limit, received=received)
