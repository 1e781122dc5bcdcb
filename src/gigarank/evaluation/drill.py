"""The queries that reranking made worst: what rose, what fell, and what those documents say.

Knows results and texts, no model. Invariant: a rank here is a rank among the scored candidates, counted from 1, of the order
that was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gigarank.evaluation.figures import strict
from gigarank.evaluation.report_data import Measured
from gigarank.evaluation.store import PairScore

_SHOWN = 3
_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Moved:
    """One document's way; `grade` is its judgment, None where nobody judged it or the data are not at hand."""

    document: str
    before: int
    after: int
    grade: int | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Loss:
    """One query that lost: its metric before and after, the documents that rose furthest and fell furthest. `instruction` is
    what was asked of the model; None: the prompt's own."""

    set: str
    model: str
    query: str
    text: str | None
    metric: str
    before: float
    after: float
    rose: tuple[Moved, ...]
    fell: tuple[Moved, ...]
    instruction: str | None = None


def worst_losses(measured: Sequence[Measured], count: int) -> list[Loss]:
    """The `count` queries that lost most of their set's main metric, over all sets; fewer where fewer lost."""
    lost = sorted(
        ((change, place, query) for place, one in enumerate(measured) for query, change in _changes(one).items() if change < 0)
    )
    chosen = lost[:count]
    scores = {place: measured[place].scores() for _, place, _ in chosen}
    return [_loss(measured[place], query, scores[place].get(query, [])) for _, place, query in chosen]


def _changes(one: Measured) -> dict[str, float]:
    metric = one.result.main_metric
    return {q: sides["reranked"][metric] - sides["first_stage"][metric] for q, sides in one.result.by_query.items()}


def _loss(one: Measured, query: str, pairs: Sequence[PairScore]) -> Loss:
    moves = _moves(one, query, pairs)
    asked = None if one.data is None else one.data.queries.get(query)
    sides, metric = one.result.by_query[query], one.result.main_metric
    return Loss(
        set=one.result.set.name,
        model=one.result.model.name,
        query=query,
        text=None if asked is None else asked.text,
        instruction=one.result.instruction if asked is None or asked.instruction is None else asked.instruction,
        metric=metric,
        before=sides["first_stage"][metric],
        after=sides["reranked"][metric],
        rose=_furthest(moves, rising=True),
        fell=_furthest(moves, rising=False),
    )


def _furthest(moves: Sequence[Moved], *, rising: bool) -> tuple[Moved, ...]:
    """Of those that fell, the relevant ones come first: they are the loss."""
    if rising:
        return tuple(sorted((m for m in moves if m.after < m.before), key=lambda m: (m.after, m.before))[:_SHOWN])
    fallen = [move for move in moves if move.after > move.before]
    return tuple(sorted(fallen, key=lambda m: (-(m.grade or 0), m.before - m.after))[:_SHOWN])


def _moves(one: Measured, query: str, pairs: Sequence[PairScore]) -> list[Moved]:
    ranks = strict(pairs, [pair.logit for pair in pairs])
    return [
        Moved(pair.document, place, round(-ranks[pair.document]), *_known(one, query, pair.document))
        for place, pair in enumerate(pairs, 1)
    ]


def _known(one: Measured, query: str, document: str) -> tuple[int | None, str | None]:
    if one.data is None:
        return None, None
    found = one.data.corpus.get(document)
    return one.data.qrels.get(query, {}).get(document), None if found is None else shortened(found.passage)


def shortened(text: str, characters: int = _CHARACTERS) -> str:
    """The text on one line, cut where it is long."""
    whole = " ".join(text.split())
    return whole if len(whole) <= characters else whole[: characters - 1].rstrip() + "…"
