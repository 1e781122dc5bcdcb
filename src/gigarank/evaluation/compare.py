"""Two runs over the same sets, query by query: means, who wins how often, and whether the difference is chance.

Knows results, no models and no files. Invariant: figures are compared only where both sides answered the same queries of the
same data; everything else is refused with the sets' names, not averaged over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gigarank.errors import InvalidInput
from gigarank.evaluation.significance import Interval, bootstrap
from gigarank.evaluation.store import TaskResult

ALL = "all"
SIDES = ("reranked", "fused", "first_stage")
_EQUAL = 1e-9
MIN_SETS = 5
"""Fewer sets than these say nothing of sets that were not measured: no interval is drawn over them."""


@dataclass(frozen=True, slots=True)
class SetComparison:
    """One set and metric: the means of both sides, `difference` of b minus a, and how many queries b wins, loses or ties."""

    name: str
    metric: str
    queries: int
    a: float
    b: float
    difference: Interval
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True, slots=True)
class MetricMean:
    """The mean over sets. `difference` draws sets anew, not queries; None where there are
    fewer than MIN_SETS."""

    metric: str
    sets: int
    a: float
    b: float
    difference: Interval | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`only_a` and `only_b` name the sets that the other side lacks; `settings` what else differs, as (a, b)."""

    names: tuple[str, str]
    side: str
    sets: tuple[SetComparison, ...]
    means: tuple[MetricMean, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    settings: dict[str, tuple[Any, Any]]


def compare(
    a: Sequence[TaskResult], b: Sequence[TaskResult], *, metrics: Sequence[str] = (), side: str = "reranked"
) -> Comparison:
    """`metrics` empty: each set's main one; "all": all that both sides have. Raises InvalidInput that names the sets."""
    ours, theirs = _by_set(a, "a"), _by_set(b, "b")
    shared = [name for name in ours if name in theirs]
    if not shared:
        message = f"compare: no set in common: {', '.join(ours)} against {', '.join(theirs)}"
        raise InvalidInput(message, param="compare", limit=list(ours), received=list(theirs))
    pairs = [(ours[name], theirs[name]) for name in shared]
    _check_alike(pairs)
    compared = tuple(_compare_set(x, y, metric, side) for x, y in pairs for metric in _metrics(x, y, metrics))
    return Comparison(
        names=(_model(a), _model(b)),
        side=side,
        sets=compared,
        means=tuple(_mean(metric, compared) for metric in dict.fromkeys(one.metric for one in compared)),
        only_a=tuple(name for name in ours if name not in theirs),
        only_b=tuple(name for name in theirs if name not in ours),
        settings=_settings(pairs),
    )


def _by_set(results: Sequence[TaskResult], side: str) -> dict[str, TaskResult]:
    found: dict[str, TaskResult] = {}
    for result in results:
        name = result.set.name
        if name in found:
            models = f"{found[name].model.name} and {result.model.name}"
            raise InvalidInput(
                f"compare: {side} holds {name} twice, of {models}; name one model's folder", param=side, received=name
            )
        found[name] = result
    return found


def _check_alike(pairs: Sequence[tuple[TaskResult, TaskResult]]) -> None:
    unlike = [x.set.name for x, y in pairs if x.set.fingerprint != y.set.fingerprint]
    if unlike:
        raise InvalidInput(f"compare: other data under the same name: {', '.join(unlike)}", param="sets", received=unlike)
    asked = [x.set.name for x, y in pairs if x.by_query.keys() != y.by_query.keys()]
    if asked:
        raise InvalidInput(f"compare: other queries of the same set: {', '.join(asked)}", param="queries", received=asked)


def _metrics(a: TaskResult, b: TaskResult, asked: Sequence[str]) -> Sequence[str]:
    if not asked:
        return (a.main_metric,)
    shared = [metric for metric in a.metrics if metric in b.metrics]
    if ALL in asked:
        return shared
    if unknown := [metric for metric in asked if metric not in shared]:
        message = f"metric: {a.set.name} has no {unknown[0]} on both sides; it has {', '.join(shared)}"
        raise InvalidInput(message, param="metric", limit=shared, received=unknown[0])
    return asked


def _compare_set(a: TaskResult, b: TaskResult, metric: str, side: str) -> SetComparison:
    ours, theirs = _values(a, metric, side), _values(b, metric, side)
    x, y = list(ours.values()), [theirs[query] for query in ours]
    wins = sum(two - one > _EQUAL for one, two in zip(x, y, strict=True))
    losses = sum(one - two > _EQUAL for one, two in zip(x, y, strict=True))
    return SetComparison(
        name=a.set.name,
        metric=metric,
        queries=len(x),
        a=sum(x) / len(x),
        b=sum(y) / len(y),
        difference=bootstrap(y, x),
        wins=wins,
        losses=losses,
        ties=len(x) - wins - losses,
    )


def _values(result: TaskResult, metric: str, side: str) -> Mapping[str, float]:
    found = {query: sides[side][metric] for query, sides in result.by_query.items() if metric in sides.get(side, {})}
    if len(found) < len(result.by_query) or not found:
        message = f"side: {result.set.name} of {result.model.name} has no {metric} of {side} for every query"
        raise InvalidInput(message, param="side", limit=list(SIDES), received=side)
    return found


def _mean(metric: str, compared: Sequence[SetComparison]) -> MetricMean:
    chosen = [one for one in compared if one.metric == metric]
    a, b = [one.a for one in chosen], [one.b for one in chosen]
    difference = bootstrap(b, a) if len(chosen) >= MIN_SETS else None
    return MetricMean(metric, len(chosen), sum(a) / len(a), sum(b) / len(b), difference)


def _model(results: Sequence[TaskResult]) -> str:
    return ", ".join(dict.fromkeys(result.model.name for result in results))


def _settings(pairs: Sequence[tuple[TaskResult, TaskResult]]) -> dict[str, tuple[Any, Any]]:
    """What of the settings differs in any set, with the first set's values; a reader judges whether it matters."""
    found: dict[str, tuple[Any, Any]] = {}
    for pair in pairs:
        a, b = map(_setting, pair)
        found = {name: (a[name], b[name]) for name in a if a[name] != b[name]} | found
    return found


def _setting(result: TaskResult) -> dict[str, Any]:
    return {
        "model": result.model.name,
        "weights": result.model.fingerprint,
        "prompt": result.model.prompt,
        "instruction": result.instruction,
        "first stage": result.first_stage.name,
        "candidates a query": result.first_stage.top_k,
        "precision": result.numerics.get("dtype"),
        "fusion weight": result.fuse_weight,
    }
