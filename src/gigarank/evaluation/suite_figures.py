"""The figures of a suite's task, from the run that mteb measured: by trec_eval's code, or p-MRR by ours.

Knows mteb's tasks as data. Invariant: beside each figure stand the first stage's, that of the best order which the same
candidates allow, and the interval of the difference.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gigarank.errors import InvalidInput
from gigarank.evaluation.instructed import p_mrr_by_query
from gigarank.evaluation.metrics import by_query, mean
from gigarank.evaluation.sets import Run
from gigarank.evaluation.significance import bootstrap
from gigarank.evaluation.suites import SuiteTask

NAMES = {
    "ndcg_at_": "ndcg_cut_",
    "recall_at_": "recall_",
    "map_at_": "map_cut_",
    "precision_at_": "P_",
    "hit_rate_at_": "success_",
}
"""mteb's metrics and trec_eval's, as far as they are the same."""
ORIGINAL, CHANGED = "-og", "-changed"
P_MRR = "p-MRR"

Lost = Mapping[str, Sequence[str]]


def stem(query: str) -> str:
    """The query's id without the ending that tells FollowIR's two instructions of one query apart."""
    return query.removesuffix(ORIGINAL).removesuffix(CHANGED)


def figures_of(task: Any, described: SuiteTask, runs: Any, lost: Lost, part: tuple[str, str]) -> dict[str, Any]:
    """Our figures of one split and language, of the run that mteb measured."""
    split, subset = part
    data = task.dataset[subset][split]
    qrels = {query: dict(judged) for query, judged in data["relevant_docs"].items()}
    reranked: Run = {query: runs[subset][split].get(query, {}) for query in qrels}
    first: Run = {query: {one: -float(rank) for rank, one in enumerate(data["top_ranked"].get(query, ()))} for query in qrels}
    if task.ignore_identical_ids:
        reranked, first = _without_itself(reranked), _without_itself(first)
    pairs = sum(len(scores) for scores in reranked.values())
    if described.metric == P_MRR:
        values = [_p_mrr(run, lost) for run in (reranked, first, _farthest(first, lost))]
    else:
        oracle = {query: {one: float(qrels[query].get(one, 0)) for one in scores} for query, scores in reranked.items()}
        values = [_by_query(trec_name(described.metric), qrels, run) for run in (reranked, first, oracle)]
    return {"queries": len(qrels), "pairs": pairs, **_compared(*values), "run": reranked}


def _compared(reranked: Sequence[float], first_stage: Sequence[float], oracle: Sequence[float]) -> dict[str, Any]:
    """Means, and the interval of reranked minus first stage; each column has the queries in one order."""
    interval = bootstrap(reranked, first_stage)
    return {
        "reranked": mean(reranked),
        "first_stage": mean(first_stage),
        "oracle": mean(oracle),
        "interval": [interval.low, interval.high],
        "p_value": interval.p_value,
        "significant": interval.significant,
    }


def _by_query(metric: str, qrels: Mapping[str, Mapping[str, int]], run: Run) -> list[float]:
    return [scores[metric] for scores in by_query(qrels, run, [metric]).values()]


def trec_name(metric: str) -> str:
    """trec_eval's name of mteb's metric; raises InvalidInput."""
    for theirs, ours in NAMES.items():
        if metric.startswith(theirs):
            return ours + metric.removeprefix(theirs)
    raise InvalidInput(f"metric: mteb's {metric!r} has no counterpart in trec_eval", param="metric", received=metric)


def _p_mrr(run: Run, lost: Lost) -> list[float]:
    """By query, the same queries for every run over them."""
    original = {stem(query): scores for query, scores in run.items() if query.endswith(ORIGINAL)}
    changed = {stem(query): scores for query, scores in run.items() if query.endswith(CHANGED)}
    asked = {query: ids for query, ids in lost.items() if query in original and query in changed}
    return list(p_mrr_by_query(original, changed, asked).values())


def _farthest(run: Run, lost: Lost) -> Run:
    """The candidates in the two orders that no p-MRR exceeds: what the changed instruction excludes stands first, then last."""
    found = {}
    for query, scores in run.items():
        excluded = set(lost.get(stem(query), ()))
        last = query.endswith(CHANGED)
        order = sorted(scores, key=lambda one, excluded=excluded, last=last: (one in excluded) == last)  # type: ignore[misc]
        found[query] = {one: -float(rank) for rank, one in enumerate(order)}
    return found


def _without_itself(run: Run) -> Run:
    return {query: {one: score for one, score in scores.items() if one != query} for query, scores in run.items()}
