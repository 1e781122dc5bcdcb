"""The smallest number of replicas that keeps a promise about latency, by simulating more and fewer of them.

All numbers get the same requests. Knows no hardware. Invariant: what is found keeps the promise, and one replica less was
tried and does not, or could not even compute what is asked in the time in which it comes.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gigarank.cluster.capacity.simulation import Fleet, Patience, Run, simulate
from gigarank.cluster.capacity.summary import percentile, warm_up
from gigarank.cluster.capacity.traffic import Arrival
from gigarank.errors import InvalidInput

MOST_REPLICAS = 10_000
_SLO = re.compile(r"p(?P<percent>\d{1,2}(?:\.\d+)?)=(?P<value>\d+(?:\.\d+)?)(?P<unit>ms|s)")


@dataclass(frozen=True, slots=True)
class Slo:
    """`percent` of all requests are answered within `limit_s`."""

    percent: float
    limit_s: float

    def most_late(self, requests: int) -> int:
        return requests - math.ceil(requests * self.percent / 100.0)

    def __str__(self) -> str:
        return f"p{self.percent:g}={self.limit_s * 1e3:g}ms"


def parse_slo(text: str) -> Slo:
    """Such as p99=500ms or p50=1.5s. Raises InvalidInput."""
    found = _SLO.fullmatch(text.strip())
    if found is None or not float(found["value"]) or not float(found["percent"]):
        raise InvalidInput(f"slo: such as p99=500ms or p50=1.5s, not {text!r}", param="slo", received=text)
    return Slo(float(found["percent"]), float(found["value"]) * (1e-3 if found["unit"] == "ms" else 1.0))


@dataclass(frozen=True, slots=True)
class Tried:
    """A number of replicas, and its run: given up as soon as the promise was broken."""

    replicas: int
    met: bool
    run: Run


def least_replicas(asked: Sequence[Arrival], fleet: Fleet, rate: float) -> int:
    """So many are needed whatever the latency: what is asked in a second takes so many seconds, however it is batched."""
    needed = sum(fleet.costs.unshared_s(group) for one in asked for group in fleet.groups(one.pieces)) / len(asked)
    return max(1, math.ceil(needed * rate / max(fleet.costs.speeds)))


def smallest(asked: Sequence[Arrival], fleet: Fleet, rate: float, slo: Slo, say: Callable[[str], None]) -> list[Tried]:
    """What was tried, in order; the smallest number that was met is what is looked for. `fleet.replicas` is not read.

    Raises InvalidInput where one request alone already takes too long, or MOST_REPLICAS are not enough.
    """
    refuse_unreachable(asked, fleet, slo)
    tried: dict[int, Tried] = {}

    def met(replicas: int) -> bool:
        if replicas not in tried:
            tried[replicas] = _try(asked, replace(fleet, replicas=replicas), slo)
            say(f"{replicas} replica{'s' * (replicas != 1)}: {slo} {'kept' if tried[replicas].met else 'broken'}")
        return tried[replicas].met

    high, step = least_replicas(asked, fleet, rate), 1
    low = high - 1  # does not, or could not, keep up
    while not met(high):
        low, high, step = high, high + step, 2 * step
        if high > MOST_REPLICAS:
            raise InvalidInput(f"slo: {slo} is not kept by {MOST_REPLICAS:,} replicas", param="slo", limit=MOST_REPLICAS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if met(middle) else (middle, high)
    return list(tried.values())


def refuse_unreachable(asked: Sequence[Arrival], fleet: Fleet, slo: Slo) -> None:
    """Raises InvalidInput where the promise is broken by requests that each have the fleet to themselves."""
    alone = percentile([fleet.alone(one) for one in asked[warm_up(len(asked)) :]], slo.percent)
    if alone > slo.limit_s:
        whole = "fewer documents or tokens, faster hardware, or --split-tokens so that several replicas share a request"
        message = f"slo: {slo} is out of reach: one request alone takes {alone * 1e3:.0f} ms at p{slo.percent:g}; {whole}"
        raise InvalidInput(message, param="slo", limit=alone, received=slo.limit_s)


def _try(asked: Sequence[Arrival], fleet: Fleet, slo: Slo) -> Tried:
    skip = warm_up(len(asked))
    most = slo.most_late(len(asked) - skip)
    run = simulate(asked, fleet, Patience(slo.limit_s, most, skip))
    return Tried(fleet.replicas, not run.given_up, run)
