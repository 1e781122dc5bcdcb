"""A request's scores as its logits come in: of a document's windows the best, and of equal pairs all when the first is known.

Knows readings and numbers; no tensors, no queue, and not where a logit was computed. Invariant: a pair has a score once every
window of it was taken, whatever the order they came in.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gigarank.engine.request import Encoded, Reading
from gigarank.engine.work import Failure, Outcome, Search, Unscored
from gigarank.errors import NonFiniteScore
from gigarank.types import Score


class Tally:
    """The scores of one request's pairs, as far as they are known, those of copies too. `broken`: pairs for which the model
    gave no number."""

    def __init__(self, encoded: Encoded) -> None:
        self._readings, self._copies = encoded.readings, encoded.copies
        self._best: dict[int, Score] = {}
        self._unread = Counter(pair for reading in self._readings.values() for pair in self._pairs(reading))
        self.broken: dict[int, float] = {}

    def take(self, piece: int, logit: float) -> None:
        """The logit of a wanted piece."""
        reading = self._readings[piece]
        for pair in self._pairs(reading):
            self._unread[pair] -= 1
            if math.isfinite(logit):
                self._keep_best(_as_score(reading, pair, logit))
            else:
                self.broken.setdefault(pair, logit)

    def score(self, pair: int) -> Score | None:
        """None while a window of it is not computed, and where one is broken."""
        return None if self._unread[pair] or pair in self.broken else self._best.get(pair)

    @property
    def pairs_left(self) -> int:
        return sum(1 for windows in self._unread.values() if windows)

    def _pairs(self, reading: Reading) -> tuple[int, ...]:
        return (reading.pair, *self._copies.get(reading.pair, ()))

    def _keep_best(self, score: Score) -> None:
        """Of a document's windows the best counts; of equal ones the first."""
        held = self._best.get(score.index)
        if held is None or (score.logit, -_place(score)) > (held.logit, -_place(held)):
            self._best[score.index] = score


def outcomes(searches: Sequence[Search], encoded: Encoded, tally: Tally) -> tuple[tuple[Outcome, ...], ...]:
    """One for every document of every search, whose pairs stand one after the other."""
    pairs: Iterator[int] = iter(range(sum(len(search.documents) for search in searches)))
    return tuple(
        tuple(_outcome(encoded, tally, next(pairs), number) for number in range(len(search.documents))) for search in searches
    )


def _outcome(encoded: Encoded, tally: Tally, pair: int, number: int) -> Outcome:
    if pair in encoded.failures:
        return Failure(number, encoded.failures[pair])
    if pair in tally.broken:
        return Failure(number, not_finite(f"documents[{number}]", tally.broken[pair]))
    score = tally.score(pair)
    return Unscored(number) if score is None else replace(score, index=number)


def not_finite(name: str, logit: float) -> NonFiniteScore:
    """The error of a document called `name`."""
    return NonFiniteScore(
        f"{name}: the model's score is {logit}; its weights or this precision are broken", param=name, received=str(logit)
    )


def sigmoid(logit: float) -> float:
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    small = math.exp(logit)
    return small / (1.0 + small)


def _as_score(reading: Reading, pair: int, logit: float) -> Score:
    tokens = reading.part.stop - reading.part.start
    return Score(pair, sigmoid(logit), logit, tokens, reading.truncated, reading.window)


def _place(score: Score) -> int:
    return 0 if score.window is None else score.window.index
