"""How many replicas there should be: as many as bring what waits for each down to a number of tokens.

Pure numbers; Ray Serve calls it in its controller, keeps the bounds, and waits its delays before it acts. Invariant: more
tokens never give fewer replicas.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

QUEUED = "queued_tokens"
"""The metric that every replica tells."""


class Context(Protocol):
    """What is read of Ray Serve's AutoscalingContext."""

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None: ...

    @property
    def target_num_replicas(self) -> int: ...

    @property
    def total_queued_requests(self) -> float | None: ...


class TokensPolicy:
    """`tokens`: what may wait for a replica on the mean."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def __call__(self, context: Context) -> tuple[float, dict[str, Any]]:
        told = (context.aggregated_metrics or {}).get(QUEUED, {})
        if not told:  # no replica has told anything: those that start are left alone
            waiting = 1 if context.total_queued_requests else 0
            return max(context.target_num_replicas, waiting), {}
        return wanted(sum(told.values()), self.tokens), {}


def wanted(queued: float, tokens: int) -> int:
    """At least one, so that what comes finds a model in memory."""
    return max(1, math.ceil(queued / tokens))
