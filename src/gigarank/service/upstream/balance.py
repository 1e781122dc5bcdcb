"""Whose question goes next, and to which server: the one with the fewest tokens on their way.

A server that fails several questions in a row is asked nothing more until it has been tried out. Knows no requests and no
prompts; one event loop. Invariant: a question has one answer, however many servers were asked for it, or ends in one error;
what is not on its way can be taken back at no cost.
"""

import asyncio
import heapq
import itertools
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from gigarank.errors import UpstreamUnavailable
from gigarank.service.upstream.client import Client, Fault, Question

_log = logging.getLogger(__name__)
Turn = tuple[bool, int, int]
"""What goes earlier is less: the batch tier last, then the priority, then the place in a fair order."""


@dataclass(frozen=True, slots=True)
class BalanceLimits:
    """`tokens`: on their way to one server, for each copy behind it; what is more waits here, where it can be put in order.
    `failures`: in a row until a server gets nothing more. `tries` of a question. `grace_s`: how long what was accepted waits
    where no server works."""

    tokens: int = 65_536
    failures: int = 3
    tries: int = 3
    grace_s: float = 10.0
    pause_s: float = 0.1  # before the same server is asked again, doubled each time
    probe_s: float = 2.0


@dataclass(slots=True, eq=False)
class Upstream:
    """One server. `models`: what it has, by our names: its own name, and its longest prompt. `up`: it was tried out, and has
    not failed since; `why` it is not. `tokens`: on their way to it. `failures`: in a row. `doubted`: it gave what is no number,
    which is the text's fault or its own: it is to be tried out again."""

    client: Client
    models: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    up: bool = False
    why: str = "it was not asked yet"
    tokens: int = 0
    failures: int = 0
    doubted: bool = False

    def serves(self, model: str) -> bool:
        return self.up and model in self.models


@dataclass(slots=True)
class _Waiting:
    question: Question
    avoided: Collection[Upstream]
    place: asyncio.Future[Upstream]


class Balancer:
    """The waiting questions of every model, and the servers."""

    def __init__(self, upstreams: Sequence[Upstream], limits: BalanceLimits) -> None:
        self.upstreams = upstreams
        self.limits = limits
        self._numbers = itertools.count()
        self._waiting: dict[str, list[tuple[Turn, int, _Waiting]]] = {}
        self._reached: dict[str, int] = {}

    def serves(self, model: str) -> bool:
        """Whether some server that works has it."""
        return any(upstream.serves(model) for upstream in self.upstreams)

    def longest(self, model: str) -> int:
        """The longest prompt in tokens that every working server with the model takes; 0 where none tells."""
        told = [one.models[model][1] for one in self.upstreams if one.serves(model)]
        return min((longest for longest in told if longest), default=0)

    def failure(self, model: str) -> UpstreamUnavailable:
        """Why nobody answers for the model."""
        reasons = [f"{one.client.name}: {one.why}" for one in self.upstreams if not one.up]
        said = "; ".join(reasons) or "no server has a model of this name"
        return UpstreamUnavailable(f"model: {model} runs on other servers, and none answers: {said}", retry_after=2.0)

    def start_of(self, model: str) -> int:
        """The place in the fair order where a request that comes now begins; its later questions add their tokens to it."""
        return self._reached.get(model, 0)

    async def ask(self, model: str, question: Question, turn: Turn) -> list[float]:
        """The numbers that some server answers. Where they are not finite others are asked too, and the last one's word counts.
        Raises UpstreamUnavailable, WorkerFailed."""
        avoided: list[Upstream] = []
        attempt = 1
        while True:
            upstream = await self._place(model, question, turn, avoided)
            try:
                return await self._asked(upstream, model, question, last=attempt >= self.limits.tries)
            except Fault as fault:
                if attempt >= self.limits.tries:
                    message = f"model: {model} runs on other servers, of which {attempt} were asked in turn; {fault.reason}"
                    raise UpstreamUnavailable(message, retry_after=2.0) from fault
            avoided.append(upstream)
            if not any(other.serves(model) for other in self.upstreams if other not in avoided):
                avoided.clear()
                await asyncio.sleep(self.limits.pause_s * 2 ** (attempt - 1))
            attempt += 1

    def found(self, upstream: Upstream, models: Mapping[str, tuple[str, int]]) -> None:
        """The server was tried out, and has these models."""
        if not upstream.up:
            _log.info("upstream %s is up: %s", upstream.client.name, ", ".join(models))
        upstream.models, upstream.up, upstream.why, upstream.failures, upstream.doubted = models, True, "", 0, False
        self._distribute()

    def failed(self, upstream: Upstream, reason: str) -> None:
        """The server gets nothing until `found` is called."""
        if upstream.up:
            _log.warning("upstream %s is down: %s", upstream.client.name, reason)
        upstream.up, upstream.why = False, reason
        self._distribute()

    async def _asked(self, upstream: Upstream, model: str, question: Question, *, last: bool) -> list[float]:
        """Asks where the question's tokens were counted already, and counts them off."""
        try:
            theirs, _ = upstream.models.get(model, ("", 0))
            if not theirs:
                raise Fault(f"{upstream.client.name} has no longer the model {model}", busy=True)
            numbers = await upstream.client.ask(theirs, question)
            upstream.failures = 0
        except Fault as fault:
            self._blame(upstream, fault)
            raise
        finally:
            upstream.tokens -= question.tokens
            self._distribute()
        if not all(map(math.isfinite, numbers)):
            upstream.doubted = True
            if not last:
                raise Fault(f"{upstream.client.name} gives scores that are no numbers")
        return numbers

    def _blame(self, upstream: Upstream, fault: Fault) -> None:
        if fault.busy:
            return
        upstream.failures += 1
        if upstream.failures >= self.limits.failures:
            self.failed(upstream, fault.reason)

    async def _place(self, model: str, question: Question, turn: Turn, avoided: Collection[Upstream]) -> Upstream:
        """A server with room, whose tokens are counted from now on."""
        waiting = _Waiting(question, tuple(avoided), asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiting.setdefault(model, []), (turn, next(self._numbers), waiting))
        self._distribute()
        placed = False
        try:
            while not waiting.place.done():
                await asyncio.wait({waiting.place}, timeout=self.limits.grace_s)
                if not waiting.place.done() and not self.serves(model):
                    raise self.failure(model)
            placed = True
            return waiting.place.result()
        finally:
            if not placed:
                self._leave(waiting)

    def _leave(self, waiting: _Waiting) -> None:
        if waiting.place.done() and not waiting.place.cancelled():  # placed in the moment of leaving
            waiting.place.result().tokens -= waiting.question.tokens
        waiting.place.cancel()
        self._distribute()

    def _distribute(self) -> None:
        """Places what can be placed, in order: the first of a model that cannot keeps those behind it waiting."""
        for model, queue in self._waiting.items():
            while queue:
                turn, _, waiting = queue[0]
                if not waiting.place.done():
                    upstream = self._choose(model, waiting)
                    if upstream is None:
                        break
                    upstream.tokens += waiting.question.tokens
                    self._reached[model] = max(self._reached.get(model, 0), turn[2])
                    waiting.place.set_result(upstream)
                heapq.heappop(queue)

    def _choose(self, model: str, waiting: _Waiting) -> Upstream | None:
        able = [one for one in self.upstreams if one.serves(model)]
        fresh = [one for one in able if one not in waiting.avoided] or able
        least = min(fresh, key=lambda one: one.tokens, default=None)
        if least is None:
            return None
        most = self.limits.tokens * least.client.copies
        return None if least.tokens and least.tokens + waiting.question.tokens > most else least
