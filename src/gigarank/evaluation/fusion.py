"""What the first stage's score is worth beside the reranker's: the weight of a fusion, fitted on sets and judged on others.

Reads what runs left behind; runs no model. Invariant: a set's figure is of the weight that the other sets chose, so that no set
is judged by a weight that was fitted on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from gigarank.errors import BadFile, InvalidInput
from gigarank.evaluation.compare import MIN_SETS
from gigarank.evaluation.figures import fused, strict
from gigarank.evaluation.metrics import by_query
from gigarank.evaluation.report_data import Measured
from gigarank.evaluation.sets import Qrels
from gigarank.evaluation.significance import Interval, bootstrap
from gigarank.evaluation.store import PairScore
from gigarank.evaluation.trec import escaped, read_qrels

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""What is tried: 0 is the reranker alone; both scores are standardised, so that 1 counts them alike."""


@dataclass(frozen=True, slots=True)
class SetFusion:
    """Means over the set's queries. `weight` was fitted on the other sets, and `fused` is the mean with it; `difference` is
    fused minus the better of reranked and first stage, query by query."""

    name: str
    metric: str
    queries: int
    first_stage: float
    reranked: float
    weight: float
    fused: float
    difference: Interval


@dataclass(frozen=True, slots=True)
class Fusion:
    """`weight` is fitted on all sets, for those to come; `curve` has the mean over sets by weight. The intervals are of the
    sets' `fused` minus reranked and first stage, None where there are fewer than MIN_SETS."""

    model: str
    prompt: str
    weight: float
    curve: tuple[tuple[float, float], ...]
    sets: tuple[SetFusion, ...]
    over_reranked: Interval | None
    over_first_stage: Interval | None


@dataclass(frozen=True, slots=True)
class _Grid:
    """One set: the values of its queries, in one order, by weight and of the first stage alone."""

    name: str
    metric: str
    by_weight: dict[float, list[float]]
    first_stage: list[float]

    def mean(self, weight: float) -> float:
        return fmean(self.by_weight[weight])


def fit(measured: Sequence[Measured], weights: Sequence[float] = WEIGHTS) -> Fusion:
    """Raises InvalidInput for less than two sets, a set twice or several models, BadFile for results without their files."""
    model, prompt = _check(measured)
    tried = (0.0, *(weight for weight in weights if weight != 0.0))
    grids = [_grid(one, tried) for one in measured]
    found = tuple(_judged(grid, _best([other for other in grids if other is not grid], tried)) for grid in grids)
    curve = tuple((weight, fmean(grid.mean(weight) for grid in grids)) for weight in tried)
    ours, enough = [one.fused for one in found], len(found) >= MIN_SETS
    return Fusion(
        model,
        prompt,
        _best(grids, tried),
        curve,
        found,
        bootstrap(ours, [one.reranked for one in found]) if enough else None,
        bootstrap(ours, [one.first_stage for one in found]) if enough else None,
    )


def _check(measured: Sequence[Measured]) -> tuple[str, str]:
    """The one model and prompt."""
    names = [one.result.set.name for one in measured]
    if len(set(names)) < 2:
        message = f"results: a weight that is fitted on one set is judged on another; received {', '.join(names) or 'none'}"
        raise InvalidInput(message, param="results", limit=2, received=len(set(names)))
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidInput(f"results: more than one of {', '.join(twice)}", param="results", limit=1, received=twice)
    made = {(one.result.model.name, one.result.model.fingerprint, one.result.model.prompt) for one in measured}
    if len(made) > 1:
        several = sorted(f"{name} ({prompt})" for name, _, prompt in made)
        message = f"results: one model and prompt are needed, not {', '.join(several)}"
        raise InvalidInput(message, param="results", limit=1, received=several)
    return measured[0].result.model.name, measured[0].result.model.prompt


def _grid(one: Measured, weights: Sequence[float]) -> _Grid:
    result, scores, qrels = one.result, one.scores(), _qrels(one)
    if not scores:
        raise BadFile(f"{one.path}: the pairs' scores are not beside it", param="scores", received=result.set.name)
    asked = {escaped(query): scores.get(query, []) for query in result.by_query}
    by_weight = {weight: _values(asked, qrels, result.main_metric, weight) for weight in weights}
    first_stage = [sides["first_stage"][result.main_metric] for sides in result.by_query.values()]
    return _Grid(result.set.name, result.main_metric, by_weight, first_stage)


def _qrels(one: Measured) -> Qrels:
    path = one.path.with_suffix(".qrels")
    if not path.is_file():
        raise BadFile(f"{one.path}: {path.name} is not beside it", param="qrels", received=one.result.set.name)
    return read_qrels(path)


def _values(asked: dict[str, list[PairScore]], qrels: Qrels, metric: str, weight: float) -> list[float]:
    """Of each query; one without candidates has 0."""
    run = {query: _escaped(strict(pairs, fused(pairs, weight))) for query, pairs in asked.items()}
    found = by_query(qrels, run, (metric,))
    return [found.get(query, {}).get(metric, 0.0) for query in asked]


def _escaped(order: dict[str, float]) -> dict[str, float]:
    return {escaped(document): score for document, score in order.items()}


def _best(grids: Sequence[_Grid], weights: Sequence[float]) -> float:
    """The weight of the greatest mean over sets, the smallest of several."""
    return max(sorted(weights), key=lambda weight: fmean(grid.mean(weight) for grid in grids))


def _judged(grid: _Grid, weight: float) -> SetFusion:
    alone, both = grid.by_weight[0.0], grid.by_weight[weight]
    better = max((alone, grid.first_stage), key=fmean)
    return SetFusion(
        grid.name,
        grid.metric,
        len(both),
        fmean(grid.first_stage),
        fmean(alone),
        weight,
        fmean(both),
        bootstrap(both, better),
    )
