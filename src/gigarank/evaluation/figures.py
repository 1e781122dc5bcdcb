"""From scores to figures: four orders of the same candidates, measured query by query and compared.

The orders are the reranker's, the first stage's own, the oracle's (the candidates by their judgments: what no reranker can
exceed) and, where asked for, the fused scores'. Knows no model and no file. Invariant: every query of the task counts, one
without candidates as 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gigarank.engine.fusion import fuse
from gigarank.evaluation.journal import QueryScores
from gigarank.evaluation.metrics import by_query
from gigarank.evaluation.sets import Run
from gigarank.evaluation.significance import bootstrap
from gigarank.evaluation.store import MetricSummary, PairScore, QueryMetrics
from gigarank.evaluation.task import Task

Orders = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Measured:
    """The figures of a task, and the reranked order as a run."""

    metrics: dict[str, MetricSummary]
    by_query: dict[str, QueryMetrics]
    reranked: Run


def measure(task: Task, scored: Mapping[str, QueryScores], fuse_weight: float | None = None) -> Measured:
    """`scored` holds every query of the task; `fuse_weight` None leaves fusion out."""
    sides = runs_of(task, scored, fuse_weight)
    qrels = {query: task.evaluation_set.qrels[query] for query in task.queries}
    values = {side: by_query(qrels, run, task.metrics) for side, run in sides.items()}
    found = {
        query: {side: {name: values[side].get(query, {}).get(name, 0.0) for name in task.metrics} for side in sides}
        for query in task.queries
    }
    return Measured({name: summary(name, list(found.values())) for name in task.metrics}, found, sides["reranked"])


def runs_of(task: Task, scored: Mapping[str, QueryScores], fuse_weight: float | None) -> dict[str, Orders]:
    """A run a side; its scores fall strictly, so that equal scores of ours keep the candidates' order whoever reads it."""
    names = ("reranked", "first_stage", "oracle", *(() if fuse_weight is None else ("fused",)))
    sides: dict[str, Orders] = {name: {} for name in names}
    for query in task.queries:
        pairs, grades = scored[query].pairs, task.evaluation_set.qrels[query]
        sides["reranked"][query] = strict(pairs, [pair.logit for pair in pairs])
        sides["first_stage"][query] = strict(pairs, [0.0] * len(pairs))
        sides["oracle"][query] = strict(pairs, [float(grades.get(pair.document, 0)) for pair in pairs])
        if fuse_weight is not None:
            sides["fused"][query] = strict(pairs, fused(pairs, fuse_weight))
    return sides


def strict(pairs: Sequence[PairScore], scores: Sequence[float | None]) -> dict[str, float]:
    """The documents best first, each with minus its rank; those without a score are last."""
    order = sorted(range(len(pairs)), key=lambda place: (scores[place] is None, -(scores[place] or 0.0)))
    return {pairs[place].document: -float(rank) for rank, place in enumerate(order, 1)}


def fused(pairs: Sequence[PairScore], weight: float) -> list[float | None]:
    """Pairs that failed take part in neither mean."""
    whole = [place for place, pair in enumerate(pairs) if pair.logit is not None]
    logits = [pair.logit for pair in pairs if pair.logit is not None]
    found: list[float | None] = [None] * len(pairs)
    for place, score in zip(whole, fuse(logits, [pairs[place].first_stage for place in whole], weight), strict=True):
        found[place] = score
    return found


def summary(name: str, queries: Sequence[QueryMetrics]) -> MetricSummary:
    """The means over the queries, and whether reranked differs from the first stage."""
    columns = {side: [query[side][name] for query in queries] for side in queries[0]}
    means = {side: sum(column) / len(column) for side, column in columns.items()}
    compared = bootstrap(columns["reranked"], columns["first_stage"])
    return MetricSummary(
        means["reranked"],
        means["first_stage"],
        means["oracle"],
        means.get("fused"),
        (compared.low, compared.high),
        compared.p_value,
        compared.significant,
    )
