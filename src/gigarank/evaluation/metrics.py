"""Retrieval metrics, by trec_eval's own code (pytrec-eval-terrier): linear gain, a judgment above 0 is relevant.

Knows qrels and runs; no model, no file. Invariant: the order that is measured is the run's own (score, then the mapping's
order); trec_eval would part equal scores, and scores that are equal in its 32 bits, by document id.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

from gigarank.errors import InvalidInput
from gigarank.evaluation.sets import Qrels, Run

try:
    import pytrec_eval
except ImportError as error:
    raise InvalidInput("metrics need the package pytrec-eval-terrier: pip install 'gigarank[eval]'", param="metric") from error

METRICS = ("ndcg_cut_10", "recip_rank", "map", "recall_100", "P_10")
"""What is reported where nothing else is asked for."""

FORMS = ("ndcg", "ndcg_cut_K", "map", "map_cut_K", "recip_rank", "recall_K", "P_K", "success_K", "Rprec")
_KNOWN = re.compile("|".join(form.replace("K", "[1-9][0-9]{0,5}") for form in FORMS))

ByQuery = dict[str, dict[str, float]]


def check_metric(name: str) -> str:
    """The name, if it is one of trec_eval's in FORMS; raises InvalidInput that lists them."""
    if not _KNOWN.fullmatch(name):
        known = ", ".join(FORMS)
        raise InvalidInput(f"metric: unknown {name!r}; known: {known}", param="metric", limit=known, received=name)
    return name


def best_first(scores: Mapping[str, float]) -> list[str]:
    """The documents of one query in the run's order."""
    return sorted(scores, key=lambda document: -scores[document])


def by_query(qrels: Qrels, run: Run, metrics: Collection[str] = METRICS) -> ByQuery:
    """query id -> metric -> value, for the run's queries that have judgments; a query without a document gets 0."""
    names = [check_metric(metric) for metric in metrics]
    judged = {query: dict(qrels[query]) for query in run if query in qrels}
    strict = {query: _strict(run[query]) for query in judged if run[query]}
    found = pytrec_eval.RelevanceEvaluator(judged, set(names)).evaluate(strict) if strict and names else {}
    return {query: {name: float(found[query][name]) if query in found else 0.0 for name in names} for query in judged}


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean; raises InvalidInput where there is nothing to average."""
    if not values:
        raise InvalidInput("metrics: no query to average over", param="queries", limit=1, received=0)
    return fmean(values)


def _strict(scores: Mapping[str, float]) -> dict[str, float]:
    return {document: float(-rank) for rank, document in enumerate(best_first(scores), 1)}
