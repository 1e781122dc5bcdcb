"""From hidden states to scores: one logit a reading, and of a document's windows the best.

Knows the yes/no answer and a request's readings; no texts, no queue. Invariant: a logit is computed row by row, so that it
does not depend on how many stand beside it.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gigarank.engine.request import Reading
from gigarank.errors import NonFiniteScore
from gigarank.types import Score


@torch.inference_mode()
def answer_logits(hidden: Tensor, answer: Tensor) -> list[float]:
    """logit(yes) - logit(no) for each row of hidden (n, hidden_size); answer (hidden_size,) is w_yes - w_no, fp32 or wider."""
    return [float(torch.dot(row, answer)) for row in hidden.to(answer.dtype)]


class Scores:
    """The scores of one request's pairs, as far as they are computed. `broken`: pairs for which the model gave no number."""

    def __init__(self, readings: Mapping[int, Reading], answer: Tensor) -> None:
        self._readings = readings
        self._answer = answer
        self._best: dict[int, Score] = {}
        self._unread = Counter(reading.pair for reading in readings.values())
        self.broken: dict[int, float] = {}

    def absorb(self, pieces: Sequence[int], hidden: Tensor) -> None:
        """Takes the hidden states (n, hidden_size) of n wanted pieces."""
        for piece, logit in zip(pieces, answer_logits(hidden, self._answer), strict=True):
            reading = self._readings[piece]
            self._unread[reading.pair] -= 1
            if math.isfinite(logit):
                self._keep_best(_as_score(reading, logit))
            else:
                self.broken.setdefault(reading.pair, logit)

    def score(self, pair: int) -> Score | None:
        """None while a window of it is not computed, and where one is broken."""
        return None if self._unread[pair] or pair in self.broken else self._best.get(pair)

    @property
    def pairs_left(self) -> int:
        return sum(1 for windows in self._unread.values() if windows)

    def _keep_best(self, score: Score) -> None:
        """Of a document's windows the best counts; of equal ones the first."""
        held = self._best.get(score.index)
        if held is None or (score.logit, -_place(score)) > (held.logit, -_place(held)):
            self._best[score.index] = score


def not_finite(name: str, logit: float) -> NonFiniteScore:
    """The error of a document called `name`."""
    return NonFiniteScore(
        f"{name}: the model's score is {logit}; its weights or this precision are broken", param=name, received=str(logit)
    )


def _as_score(reading: Reading, logit: float) -> Score:
    tokens = reading.part.stop - reading.part.start
    return Score(reading.pair, _sigmoid(logit), logit, tokens, reading.truncated, reading.window)


def _place(score: Score) -> int:
    return 0 if score.window is None else score.window.index


def _sigmoid(logit: float) -> float:
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    small = math.exp(logit)
    return small / (1.0 + small)
