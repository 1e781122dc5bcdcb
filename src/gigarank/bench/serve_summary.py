"""From what the load generator saw to the figures that are reported. Arithmetic only: no clock, no network.

Invariant: a latency counts from the moment a request was meant to be sent, so that a server that stalls cannot hide it by
keeping the generator from sending; a ratio above 1 means more pairs a second than the first load, within one round.
"""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gigarank.types import JsonObject

FLAT = 0.02
"""Memory is called flat where it grew by less than this share between the run's second quarter and its last."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request; moments in seconds of one clock. `pairs`: documents scored, 0 on an error. `outcome`: the status, or in
    words what happened instead. `backend_ms`: the backend's own time by the timing headers, queue included."""

    intended: float
    sent: float
    done: float
    outcome: str
    pairs: int
    backend_ms: float

    @property
    def latency_ms(self) -> float:
        return (self.done - self.intended) * 1e3


@dataclass(frozen=True, slots=True)
class Usage:
    """The server's process and its children at one moment: `at` of the samples' clock, seconds of CPU, bytes resident."""

    at: float
    cpu_s: float
    resident: int


@dataclass(frozen=True, slots=True)
class Round:
    """One load, once. `usages` is empty for a server that is not ours; `generator_cpu_s` is this process's own."""

    samples: Sequence[Sample]
    usages: Sequence[Usage]
    generator_cpu_s: float

    @property
    def seconds(self) -> float:
        return max(one.done for one in self.samples) - min(one.intended for one in self.samples)

    @property
    def pairs_per_second(self) -> float:
        return sum(one.pairs for one in self.samples) / self.seconds


def summarise(load: JsonObject, rounds: Sequence[Round]) -> JsonObject:
    """One load's figures. Rates are medians over the rounds; latencies and the overhead are of all answered requests."""
    samples = [one for each in rounds for one in each.samples]
    answered = [one for one in samples if one.pairs] or samples
    return {
        "load": load,
        "requests": len(samples),
        "requests_per_second": rounded(statistics.median(_answered(each) / each.seconds for each in rounds)),
        "pairs_per_second": rounded(statistics.median(each.pairs_per_second for each in rounds)),
        "latency_ms": quantiles([one.latency_ms for one in answered]),
        "overhead_ms": quantiles([one.latency_ms - one.backend_ms for one in answered]),
        "errors": dict(sorted(Counter(one.outcome for one in samples if not one.pairs).items())),
        "generator_late_p99_ms": quantiles([(one.sent - one.intended) * 1e3 for one in samples])["p99"],
        "generator_cpu_share": rounded(statistics.median(each.generator_cpu_s / each.seconds for each in rounds)),
        "server_cpu_ms_per_request": _cpu(rounds),
        "seconds": [rounded(each.seconds) for each in rounds],
    }


def _answered(one: Round) -> int:
    return sum(bool(sample.pairs) for sample in one.samples)


def _cpu(rounds: Sequence[Round]) -> float | None:
    seen = [each for each in rounds if each.usages]
    spent = sum(each.usages[-1].cpu_s - each.usages[0].cpu_s for each in seen)
    return rounded(spent * 1e3 / sum(len(each.samples) for each in seen)) if seen else None


def quantiles(values: Sequence[float]) -> JsonObject:
    """p50, p90 and p99: the smallest value that so many percent do not exceed."""
    ranked = sorted(values)
    return {f"p{percent}": rounded(ranked[-(-len(ranked) * percent // 100) - 1]) for percent in (50, 90, 99)}


def ratios(rounds: Mapping[str, Sequence[Round]]) -> JsonObject:
    """Pairs a second over those of the first load, round by round."""
    (first, *others) = rounds
    return {name: _ratio(rounds[name], rounds[first]) for name in others}


def _ratio(these: Sequence[Round], first: Sequence[Round]) -> JsonObject:
    each = [one.pairs_per_second / other.pairs_per_second for one, other in zip(these, first, strict=True)]
    return {"median": rounded(statistics.median(each)), "min": rounded(min(each)), "max": rounded(max(each))}


def memory(usages: Sequence[Usage]) -> JsonObject | None:
    """Resident memory over the whole run; None with fewer than eight samples. The first quarter is warming up."""
    if len(usages) < 8:
        return None
    sizes = [one.resident for one in usages]
    quarter = len(sizes) // 4
    early, late = statistics.median(sizes[quarter : 2 * quarter]), statistics.median(sizes[-quarter:])
    return {
        "first_bytes": sizes[0],
        "second_quarter_bytes": int(early),
        "last_quarter_bytes": int(late),
        "peak_bytes": max(sizes),
        "growth": rounded(late / early - 1.0),
        "flat": late / early - 1.0 < FLAT,
        "samples": len(sizes),
    }


def rounded(value: float) -> float:
    return float(f"{value:.4g}")
