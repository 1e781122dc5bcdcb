"""The engine in one replica: models loaded on demand, each with its worker, and a health that computes.

Ray Serve makes it, calls it from one event loop, and tells it which models to drop. Knows no HTTP and no other replica.
Invariant: a model that answers has passed its self-test, and gave the logits that it gave then when it was last asked; what
cannot be answered is told as an error's value, so that an exception means a broken replica.
"""

import asyncio
import logging
import math
import os
import time
from typing import Any

import torch
from ray import serve

from gigarank.cluster.options import ClusterOptions, ModelSource
from gigarank.cluster.scaling import QUEUED
from gigarank.engine.jobs import Urgency
from gigarank.engine.portion import Portion
from gigarank.engine.reranker import Reranker
from gigarank.engine.selftest import QWEN3_0_6B
from gigarank.engine.trial import require_sound
from gigarank.engine.work import Search, Tier, Work
from gigarank.engine.worker import QueueLimits, Worker
from gigarank.errors import CheckpointError, GigarankError, ShuttingDown, UnknownModel, WorkerFailed
from gigarank.types import EngineOptions, Score

_CANARY = Work((Search(QWEN3_0_6B.query, (QWEN3_0_6B.documents[0],)),), priority=-(2**30))
_CLOSE_S = 30.0
_log = logging.getLogger(__name__)


class Held:
    """A loaded model and its worker. `expected`: the logit of the canary when it was loaded."""

    def __init__(self, name: str, model: Reranker, limits: QueueLimits) -> None:
        self.name = name
        self.tolerance = 0.0 if model.numerics.deterministic else model.numerics.tolerance
        self.worker = Worker(model, limits)
        self.expected = _logit(self.worker.score(_CANARY).future.result())

    async def check(self) -> None:
        """Raises WorkerFailed; a model that is being dropped has nothing to show."""
        try:
            found = _logit(await asyncio.wrap_future(self.worker.score(_CANARY).future))
        except ShuttingDown:
            return
        if not abs(found - self.expected) <= self.tolerance:
            raise WorkerFailed(f"{self.name}: gives {found} where it gave {self.expected} when it was loaded")

    def __del__(self) -> None:
        """Ray Serve's way of saying that the model must go, on a thread; what it computes is answered first."""
        self.worker.close(timeout_s=_CLOSE_S)


class Scorer:
    """A replica: what it is to hold at the start it loads in its first health check, before it is given work."""

    def __init__(self, options: ClusterOptions) -> None:
        torch.set_num_threads(options.replicas.cpus)
        self.options = options
        self._sources = {model.name: model for model in options.models}
        self._held: dict[str, Held] = {}  # those that Ray Serve has dropped are closed
        self._failed: dict[str, tuple[float, GigarankError]] = {}
        self._started = False

        @serve.multiplexed(max_num_models_per_replica=options.models_per_replica)  # type: ignore[untyped-decorator]
        async def held(name: str) -> Held:
            return await self._load(name)

        self._model = held

    async def ask(self, name: str, asked: Portion, tier: Tier = "default", priority: int = 0) -> list[float] | GigarankError:
        """The logits of a portion. Cancelling takes it out of the queue."""
        try:
            self._known(name)  # before Ray Serve makes room for it
            model: Held = await self._model(name)
            return await asyncio.wrap_future(model.worker.logits(asked, Urgency(tier, priority)).future)
        except GigarankError as error:
            return error

    async def described(self) -> dict[str, Any]:
        held = sorted(name for name, held in self._held.items() if held.worker.alive())
        return {"fingerprint": self.options.fingerprint(), "loaded": held, "process": os.getpid(), "tokens": self._tokens()}

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """For the policy that says how many replicas there should be."""
        return {QUEUED: float(self._tokens())}

    def _tokens(self) -> int:
        """What waits and what is computed."""
        return sum(held.worker.queue().tokens for held in self._held.values())

    async def check_health(self) -> None:
        """Every model in memory must still give the canary's logit. What is raised at the start has Ray Serve not start the
        replica."""
        if not self._started:
            await self._preload()
        try:
            for held in list(self._held.values()):
                await held.check()
        except GigarankError as error:
            _end(error)

    async def _preload(self) -> None:
        for model in self.options.preloaded():
            try:
                await self._model(model.name)
            except GigarankError:
                if model.pinned:
                    raise  # of any other its requests are told
        self._started = True

    def _known(self, name: str) -> ModelSource:
        """Raises UnknownModel, and why it could not be loaded a moment ago."""
        source = self._sources.get(name)
        if source is None:
            raise UnknownModel(f"model: {name!r} is not deployed", param="model", limit=list(self._sources), received=name)
        since, failure = self._failed.get(name, (-math.inf, None))
        if failure is not None and time.monotonic() - since < self.options.retry_failed_s:
            raise failure
        return source

    async def _load(self, name: str) -> Held:
        """Called by Ray Serve, for one model at a time, when there is room for it."""
        source = self._known(name)
        self._held = {key: held for key, held in self._held.items() if held.worker.alive()}
        try:
            self._held[name] = await asyncio.to_thread(self._made, source)
        except GigarankError as error:
            self._failed[name] = (time.monotonic(), error)
            raise
        return self._held[name]

    def _made(self, model: ModelSource) -> Held:
        options = EngineOptions(keep_quantized=self.options.keep_quantized)
        loaded = Reranker.load(model.source, dtype=self.options.dtype, options=options)
        require_sound(loaded)
        return Held(model.name, loaded, QueueLimits(max_batch_tokens=self.options.max_batch_tokens))


def _end(error: GigarankError) -> None:
    """Ends the process. Ray Serve waits for a third failed check in a row before it replaces a replica, half a minute of wrong
    scores; one that died it replaces at once, and what was asked of it is asked of another."""
    _log.critical("this replica ends: %s", error.message)
    os._exit(1)


def _logit(result: Any) -> float:
    (outcome,) = result.outcomes[0]
    if not isinstance(outcome, Score):
        raise CheckpointError(f"model: the canary gave {outcome}", param="model")
    return outcome.logit
