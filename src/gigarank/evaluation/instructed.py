"""Metrics of instruction following: p-MRR (FollowIR), paired accuracy (NevIR) and robustness (InstructIR).

Sources: arXiv 2403.15246, 2305.07614, 2402.14334. Knows runs and values by query; no model, no file. Invariant: ranks are
the run's own order, from 1; a document that the run leaves out stands one place behind its last.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from gigarank.errors import InvalidInput
from gigarank.evaluation.metrics import best_first, mean
from gigarank.evaluation.sets import Run

V = TypeVar("V", bool, float)


def rank_of(scores: Mapping[str, float], document: str) -> int:
    """The document's place in the run's order of one query, from 1."""
    order = best_first(scores)
    return order.index(document) + 1 if document in scores else len(order) + 1


def rank_change(original: int, changed: int) -> float:
    """From -1 to 1, better when higher: how far a document fell that lost its relevance when the instruction changed."""
    return changed / original - 1 if original >= changed else 1 - original / changed


def p_mrr_by_query(original: Run, changed: Run, lost: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Each query's mean change of rank, x 100, over the documents that its changed instruction makes not relevant.

    The runs and `lost` have the same query ids; queries that lost no document are left out. Raises InvalidInput for a query
    that a run lacks.
    """
    found = {}
    for query, documents in lost.items():
        if query not in original or query not in changed:
            which = "original" if query not in original else "changed"
            raise InvalidInput(f"p-MRR: the {which} run lacks query {query}", param=which, received=query)
        changes = [rank_change(rank_of(original[query], one), rank_of(changed[query], one)) for one in documents]
        if changes:
            found[query] = 100 * mean(changes)
    return found


def p_mrr(original: Run, changed: Run, lost: Mapping[str, Sequence[str]]) -> float:
    """The mean over queries, from -100 to 100; 0 for a model that ignores instructions."""
    return mean(list(p_mrr_by_query(original, changed, lost).values()))


def paired_accuracy(right: Mapping[str, bool], pairs: Iterable[tuple[str, str]]) -> float:
    """The share of pairs of queries that are both right, from 0 to 1; a coin gets 0.25.

    `right`: query id -> whether its relevant document is the first (P_1 or success_1 = 1).
    """
    return mean([float(_known(right, one) and _known(right, other)) for one, other in pairs])


def robustness(values: Mapping[str, float], groups: Iterable[Sequence[str]]) -> float:
    """The mean over groups of the lowest value in a group: one question's, each time with another instruction.

    `values`: query id -> nDCG@10 for InstructIR's robustness@10.
    """
    return mean([min(_known(values, query) for query in group) for group in groups if group])


def groups_by_prefix(queries: Iterable[str], separator: str = "_") -> dict[str, list[str]]:
    """Query ids by what stands before their first separator, as mteb names NevIR's pairs and InstructIR's groups."""
    found: dict[str, list[str]] = {}
    for query in queries:
        found.setdefault(query.split(separator, 1)[0], []).append(query)
    return found


def _known(values: Mapping[str, V], query: str) -> V:
    if query not in values:
        raise InvalidInput(f"metrics: query {query} has no value", param="queries", received=query)
    return values[query]
