"""From a run to the figures that are reported: latencies, use, and what it costs. Arithmetic only; knows no prices."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gigarank.cluster.capacity.simulation import Run
from gigarank.cluster.capacity.traffic import Arrival
from gigarank.types import JsonObject

PERCENTS = (50.0, 90.0, 95.0, 99.0)
WARM_UP = 0.1
"""The share of a run's requests that are sent and not counted: the first find empty queues."""
_HOUR_S = 3_600.0
_MILLION = 1_000_000


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100.0) - 1)]


def warm_up(requests: int) -> int:
    return int(requests * WARM_UP)


@dataclass(frozen=True, slots=True)
class Amounts:
    """What the requests ask for a second, as the traffic has it over its whole length."""

    requests: float
    documents: float
    tokens: float

    @classmethod
    def of(cls, asked: Sequence[Arrival], rate: float) -> "Amounts":
        each = rate / len(asked)
        return cls(rate, each * sum(one.documents for one in asked), each * sum(one.tokens for one in asked))


def figures(run: Run) -> JsonObject:
    """Of a run that was not given up; latencies without the warm-up, refused requests as infinitely late."""
    counted = run.latencies_s[warm_up(len(run.latencies_s)) :]
    batches = sum(load.batches for load in run.loads)
    fill = sum(load.batches * load.batch_fill for load in run.loads) / batches if batches else 0.0
    return {
        "replicas": len(run.loads),
        "latency_ms": {f"p{percent:g}": _ms(percentile(counted, percent)) for percent in PERCENTS} | {"max": _ms(max(counted))},
        "refused": run.refused,
        "utilisation": run.utilisation,
        "batch_fill": fill,
        "interruptions": sum(load.interruptions for load in run.loads),
        "seconds": run.seconds,
    }


def cost(amounts: Amounts, replicas: int, price_per_hour: float) -> JsonObject:
    """In the price's currency: replicas that run whether they compute or not, over what is asked of them."""
    hour = replicas * price_per_hour
    return {
        "price_per_replica_hour": price_per_hour,
        "per_hour": hour,
        "per_million_tokens": hour / _HOUR_S / amounts.tokens * _MILLION,
        "per_million_documents": hour / _HOUR_S / amounts.documents * _MILLION,
        "per_million_requests": hour / _HOUR_S / amounts.requests * _MILLION,
    }


def _ms(seconds: float) -> float | None:
    return None if math.isinf(seconds) else seconds * 1e3
