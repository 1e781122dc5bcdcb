"""Where runs over many sets stand, a row a run, with the first stage's own order beside them.

Knows results and judgments; which sets count as solved by the first stage, and which tell whether an instruction is followed,
is the caller's. Invariant: the rows of one table rest on the same queries of the same data.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from gigarank.errors import InvalidInput
from gigarank.evaluation.contrast import Contrast, contrast
from gigarank.evaluation.figures import fused
from gigarank.evaluation.metrics import mean
from gigarank.evaluation.report_data import Measured
from gigarank.evaluation.sets import Run
from gigarank.evaluation.store import PairScore

SIDES = ("first_stage", "reranked", "fused")


@dataclass(frozen=True, slots=True)
class Standing:
    """Means of each set's main metric, every set counting once: over all sets, over those that the first stage leaves
    `unsolved`, and of the scores `fused` with the first stage's. `contrasts`: by set, of those at hand. None: not measured."""

    name: str
    mean: float
    unsolved: float | None
    fused: float | None
    contrasts: Mapping[str, Contrast]


def standings(
    runs: Mapping[str, Sequence[Measured]], *, solved: Collection[str], told: Collection[str], first_stage: str
) -> list[Standing]:
    """The first stage's own order, by the first run's results, then each run in its order. Raises InvalidInput."""
    check_alike(runs)
    first = next(iter(runs.values()))
    return [
        replace(_standing(first_stage, first, "first_stage", (solved, told)), fused=None),
        *(_standing(name, measured, "reranked", (solved, told)) for name, measured in runs.items()),
    ]


def check_alike(runs: Mapping[str, Sequence[Measured]]) -> None:
    """Raises InvalidInput unless all runs answered the same queries of the same sets; the message names what differs."""
    asked = {
        name: {one.result.set.name: (one.result.set.fingerprint, one.result.by_query.keys()) for one in measured}
        for name, measured in runs.items()
    }
    names = list(asked)
    for name in names[1:]:
        a, b = asked[names[0]], asked[name]
        if unlike := sorted(one for one in a.keys() | b.keys() if a.get(one) != b.get(one)):
            message = f"runs: {names[0]} and {name} did not answer the same queries of {', '.join(unlike)}"
            raise InvalidInput(message, param="runs", received=unlike)


def _standing(name: str, measured: Sequence[Measured], side: str, sets: tuple[Collection[str], Collection[str]]) -> Standing:
    solved, told = sets
    figures = {one.result.set.name: one.result.metrics[one.result.main_metric] for one in measured}
    values = {found: float(getattr(figure, side)) for found, figure in figures.items()}
    together = [figure.fused for figure in figures.values() if figure.fused is not None]
    left = [value for found, value in values.items() if found not in solved]
    contrasts = {one.result.set.name: contrast_of(one, side) for one in measured if one.result.set.name in told}
    return Standing(
        name=name,
        mean=mean(list(values.values())),
        unsolved=mean(left) if left else None,
        fused=mean(together) if len(together) == len(figures) else None,
        contrasts={found: one for found, one in contrasts.items() if one is not None},
    )


def contrast_of(one: Measured, side: str = "reranked") -> Contrast | None:
    """The paired accuracy of one result; None where its judgments or scores are not at hand."""
    if one.data is None:
        return None
    weight = 1.0 if one.result.fuse_weight is None else one.result.fuse_weight
    run: Run = {query: scores_of(pairs, side, weight) for query, pairs in one.scores().items()}
    return contrast(one.data.qrels, run, {query: one.data.queries[query].text for query in run})


def scores_of(pairs: Sequence[PairScore], side: str, weight: float = 1.0) -> dict[str, float]:
    """Each document's score on one side; one that failed stands behind every other."""
    if side not in SIDES:
        raise InvalidInput(f"side: must be one of {', '.join(SIDES)}, not {side!r}", param="side", limit=SIDES, received=side)
    if side == "first_stage":
        return {pair.document: pair.first_stage for pair in pairs}
    scores = [pair.logit for pair in pairs] if side == "reranked" else fused(pairs, weight)
    return {pair.document: float("-inf") if score is None else score for pair, score in zip(pairs, scores, strict=True)}
