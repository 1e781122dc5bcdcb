"""Which replica a portion goes to: the one with the fewest tokens on their way there from this server.

Ray Serve calls the router in the server's process. Its own one takes a replica whose queue it remembers before one whose queue
it would have to ask for, so that portions that take longer than it remembers all go to the same replica. Tokens that other
servers send are not seen. Knows no texts. Invariant: what has been answered, or could not be sent, weighs nothing.
"""

from collections.abc import Hashable, Sequence
from itertools import count
from typing import Any, TypeVar

from ray.serve.request_router import FIFOMixin, MultiplexMixin, PendingRequest, ReplicaID, RequestRouter, RunningReplica

from gigarank.engine.portion import Portion

T = TypeVar("T", bound=Hashable)
MOST_EARLY = 10_000
"""Ends that are kept until it is told that their requests were sent: of those that no replica took it never is."""


class OnTheWay:
    """Tokens by replica, and whose turn it is where they are equal."""

    def __init__(self) -> None:
        self._tokens: dict[Hashable, int] = {}
        self._sent: dict[str, tuple[Hashable, int]] = {}
        self._early: dict[tuple[str, Hashable], None] = {}  # ended, and that they were sent was not told yet
        self._turns: dict[Hashable, int] = {}
        self._clock = count(1)

    def order(self, replicas: Sequence[T]) -> list[T]:
        """The fewest tokens first, of equal ones the one that was first the longest ago: two that are asked for before either
        is sent do not meet."""
        found = sorted(replicas, key=lambda replica: (self._tokens.get(replica, 0), self._turns.get(replica, 0)))
        if found:
            self._turns[found[0]] = next(self._clock)
        return found

    def send(self, request: str, replica: Hashable, tokens: int) -> None:
        self._take(request)
        if (request, replica) in self._early:
            del self._early[request, replica]
            return
        self._sent[request] = (replica, tokens)
        self._tokens[replica] = self._tokens.get(replica, 0) + tokens

    def end(self, request: str, replica: Hashable) -> None:
        """Ray Serve tells of a short request's end before it tells that the replica took it, and of one not taken."""
        if self._sent.get(request, (None, 0))[0] == replica:
            self._take(request)
            return
        self._early[request, replica] = None
        if len(self._early) > MOST_EARLY:
            del self._early[next(iter(self._early))]

    def _take(self, request: str) -> None:
        if request in self._sent:
            replica, tokens = self._sent.pop(request)
            self._tokens[replica] -= tokens

    def forget(self, replicas: Sequence[Hashable]) -> None:
        """All but these are gone."""
        gone = (self._tokens.keys() | self._turns.keys()) - set(replicas)
        for replica in gone:
            self._turns.pop(replica, None)
            if not self._tokens.get(replica):
                self._tokens.pop(replica, None)


class TokensRouter(FIFOMixin, MultiplexMixin, RequestRouter):  # type: ignore[misc]
    """Ray Serve's way to have a router of one's own."""

    def initialize_state(self, **_: Any) -> None:
        self._way = OnTheWay()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        if pending_request is not None and pending_request.metadata.multiplexed_model_id:
            allowed = list(self.apply_multiplex_routing(pending_request=pending_request))
        else:
            allowed = [replica.replica_id for replica in candidate_replicas]
        self._way.forget(list(self._replicas))
        return [[self._replicas[one]] for one in self._way.order(allowed) if one in self._replicas]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:  # noqa: ARG002
        self._way.send(pending_request.metadata.internal_request_id, replica_id, tokens_of(pending_request.args))

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        self._way.end(internal_request_id, replica_id)


def tokens_of(arguments: Sequence[object]) -> int:
    """Of a call of a replica; one for a call that computes nothing."""
    return sum(one.tokens for one in arguments if isinstance(one, Portion)) or 1
