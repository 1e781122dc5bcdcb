"""From rounds of seconds to the figures that are reported. Arithmetic only: no clock, no model.

Invariant: a ratio above 1 means that we are faster; it is the median over the rounds of what was measured within one round.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gigarank.bench.gemm import BatchRows, flops
from gigarank.bench.workloads import Request, Workload
from gigarank.model.config import ModelConfig
from gigarank.types import JsonObject

OURS, LIMIT = "gigarank", "gemm_limit"
_HEADLINE = (
    "workload",
    "pairs_per_second",
    "tokens_per_second",
    "peak_memory_bytes",
    "ratio_to_gemm_limit",
    "ratio_to_peers",
)


@dataclass(frozen=True, slots=True)
class Round:
    """Everyone once. `seconds` by contestant, ours and the limit included; `differences` of each peer's raw logits from
    ours, the largest; `logit_spread` between our highest and our lowest."""

    seconds: Mapping[str, float]
    differences: Mapping[str, float]
    logit_spread: float


def summarise(
    workload: Workload, asked: Request, rounds: Sequence[Round], batches: Sequence[BatchRows], config: ModelConfig
) -> JsonObject:
    """One workload's figures. Tokens are counted twice: as computed, a shared prefix once, and as read, in every pair."""
    names = list(rounds[0].seconds)
    seconds = {name: [one.seconds[name] for one in rounds] for name in names}
    ours = statistics.median(seconds[OURS])
    limit = statistics.median(seconds[LIMIT])
    computed = sum(batch.tokens for batch in batches)
    return {
        "workload": _described(workload, asked),
        "pairs_per_second": _rounded(len(asked.documents) / ours),
        "tokens_per_second": _rounded(computed / ours),
        "tokens_per_second_counts": "computed tokens: what pairs share is counted once",
        "read_tokens_per_second": _rounded(asked.read_tokens / ours),
        "computed_tokens": computed,
        "read_tokens": asked.read_tokens,
        "ratio_to_gemm_limit": ratio(seconds[LIMIT], seconds[OURS]),
        "ratio_to_peers": {name: ratio(seconds[name], seconds[OURS]) for name in names if name not in (OURS, LIMIT)},
        "gemm_limit_gflops": _rounded(flops(config, batches) / limit / 1e9),
        "batch_rows": [batch.rows for batch in batches],
        "logit_spread": _rounded(rounds[-1].logit_spread),
        "seconds": {name: [_rounded(value) for value in values] for name, values in seconds.items()},
    }


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> JsonObject:
    """Their seconds over ours, round by round."""
    each = [their / our for their, our in zip(theirs, ours, strict=True)]
    return {"median": _rounded(statistics.median(each)), "min": _rounded(min(each)), "max": _rounded(max(each))}


def agreement(differences: Mapping[str, float], tolerance: float) -> JsonObject:
    """Whether the peers computed the same scores; a comparison with one that did not means nothing."""
    return {
        name: {
            "max_logit_difference": float(f"{difference:.3g}"),
            "tolerance": tolerance,
            "agrees": difference <= tolerance,
        }
        for name, difference in differences.items()
    }


def headline(result: JsonObject) -> JsonObject:
    """What stands at the top: the first workload's figures."""
    return {name: result[name] for name in _HEADLINE if name in result}


def disagreeing(result: JsonObject) -> list[str]:
    """Peers whose scores differ, with the workload, in words."""
    return [
        f"{one['workload']['name']}: {name} differs by {found['max_logit_difference']}, allowed {found['tolerance']}"
        for one in result["results"]
        for name, found in one["agreement"].items()
        if not found["agrees"]
    ]


def _described(workload: Workload, asked: Request) -> JsonObject:
    spread = "whole pair" if workload.whole_pair else f"each 1 +- {workload.spread} times that"
    return {
        "name": workload.name,
        "documents": len(asked.documents),
        "tokens": workload.tokens,
        "lengths": spread,
        "query_tokens": workload.query_words,
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
