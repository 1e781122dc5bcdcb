"""Our own engine on the machines of a cluster, as one more upstream: each model is one, with as many copies as replicas run.

Knows no Ray: whoever reaches the cluster is passed in. Invariant: of a model that fails, only its own requests fail.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from gigarank.engine.portion import Portion
from gigarank.engine.work import Tier, Work
from gigarank.errors import GigarankError, InvalidInput, TryLater, WorkerFailed
from gigarank.service.hosting.specs import ModelSpec
from gigarank.service.upstream.asking import Asking, PortionAsking
from gigarank.service.upstream.backend import UpstreamBackend, WaitingLimits
from gigarank.service.upstream.balance import BalanceLimits, Balancer, Upstream
from gigarank.service.upstream.client import Fault, Question
from gigarank.service.upstream.models import TokenRemote, refuse_embedder

TRIES, PAUSE_S = 6, 0.25
"""Eight seconds in all: a router learns of a replica's death only after a while, and has no other to ask where it was the only
one."""


class Cluster(Protocol):
    """`running` and `ask` raise GigarankError; a TryLater says nothing of the model."""

    async def running(self) -> int:
        """How many replicas take work."""
        ...

    async def ask(self, model: str, asked: Portion, tier: Tier, priority: int) -> list[float]:
        """A logit for each wanted piece."""
        ...

    async def close(self) -> None:
        """Once or more often."""
        ...


class ClusterClient:
    """One model of a cluster."""

    def __init__(self, cluster: Cluster, model: str) -> None:
        self.name = "the cluster"
        self.copies = 1
        self._cluster = cluster
        self._model = model

    async def look(self) -> Mapping[str, int]:
        try:
            self.copies = max(1, await self._cluster.running())
        except GigarankError as error:
            raise Fault(error.message) from error
        return {self._model: 0}

    async def try_out(self, model: str, question: Question) -> None:
        if not all(map(math.isfinite, await self.ask(model, question))):
            raise Fault(f"{model} gives scores that are no numbers")

    async def ask(self, model: str, question: Question) -> list[float]:
        body = question.body
        try:
            told = await self._cluster.ask(model, body["portion"], body["tier"], body["priority"])
        except InvalidInput as error:
            raise WorkerFailed(f"model: {model}: the cluster refused what it was sent: {error.message}") from error
        except TryLater as error:
            raise Fault(error.message, busy=True) from error
        except GigarankError as error:
            raise Fault(error.message) from error
        if len(told) != question.count:
            raise Fault(f"{len(told)} scores for {question.count} texts")
        return told

    async def close(self) -> None:
        await self._cluster.close()


class ClusterRemote(TokenRemote):
    """A model whose prompts are made here, and computed in pieces by the replicas behind `client`."""

    def __init__(self, spec: ModelSpec, client: ClusterClient) -> None:
        super().__init__(spec)
        self.client = client

    def asking(self, work: Work, longest: int) -> Asking:
        return PortionAsking(work, self.words(longest), self.client.copies)


def backend_on(
    specs: Sequence[ModelSpec], cluster: Cluster, balance: BalanceLimits, waiting: WaitingLimits | None = None
) -> UpstreamBackend:
    """Raises InvalidInput for an embedder."""
    for spec in specs:
        refuse_embedder(spec)
    remotes = [ClusterRemote(spec, ClusterClient(cluster, spec.name)) for spec in specs]
    return UpstreamBackend(remotes, Balancer([Upstream(remote.client) for remote in remotes], balance), waiting)
