"""From hidden states to scores: one logit a reading, some of them kept from before.

Knows the yes/no answer, a request's tally, and which of its logits are kept; no texts, no queue. Invariant: a logit is
computed row by row, so that it does not depend on how many stand beside it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gigarank.engine.plan import ancestors
from gigarank.engine.request import Encoded
from gigarank.engine.score_cache import KeptScores
from gigarank.engine.tally import Tally


@torch.inference_mode()
def answer_logits(hidden: Tensor, answer: Tensor) -> list[float]:
    """logit(yes) - logit(no) for each row of hidden (n, hidden_size); answer (hidden_size,) is w_yes - w_no, fp32 or wider."""
    return [float(torch.dot(row, answer)) for row in hidden.to(answer.dtype)]


class Scores(Tally):
    """A tally that takes hidden states. `recalled`: pieces that need not be computed, since what they lead to was kept;
    contexts among them."""

    def __init__(self, encoded: Encoded, answer: Tensor, kept: KeptScores | None = None) -> None:
        """Takes from `kept` what is there, and then nobody wants these pieces of `encoded` any more."""
        super().__init__(encoded)
        self._answer = answer
        self.recalled: frozenset[int] = frozenset()
        self._kept = kept
        self._keys: dict[int, bytes] = {}  # of the readings whose logits are to be kept
        if kept is not None:
            self._recall(kept, encoded)

    def absorb(self, pieces: Sequence[int], hidden: Tensor) -> None:
        """Takes the hidden states (n, hidden_size) of n wanted pieces."""
        logits = dict(zip(pieces, answer_logits(hidden, self._answer), strict=True))
        for piece, logit in logits.items():
            self.take(piece, logit)
        if self._kept is not None:
            self._kept.keep((self._keys[piece], logit) for piece, logit in logits.items() if math.isfinite(logit))

    def _recall(self, kept: KeptScores, encoded: Encoded) -> None:
        keys = kept.keys(encoded.pieces, encoded.ids)
        known = set()
        for piece, logit in zip(self._readings, kept.find([keys[piece] for piece in self._readings]), strict=True):
            if logit is None:
                self._keys[piece] = keys[piece]
            else:
                self.take(piece, logit)
                known.add(piece)
        self.recalled = frozenset(known.union(*(ancestors(encoded.pieces, piece) for piece in known)))
        encoded.leave_out(known)
