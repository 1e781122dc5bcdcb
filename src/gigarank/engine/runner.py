"""Runs a plan: the only part of the engine that touches the device.

Knows no text and no scores. Invariant: one batch at a time, whichever thread asks; what a run keeps between its batches is
its own, and gone when it ends.
"""

import threading
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gigarank.engine.batch import pack, wanted
from gigarank.engine.plan import Limits, Piece, make_plan
from gigarank.model.decoder import Decoder
from gigarank.model.packed import Kept


class Runner:
    """Owns a decoder and the lock around it."""

    def __init__(self, decoder: Decoder, limits: Limits) -> None:
        self.decoder = decoder
        self.limits = limits
        self._lock = threading.Lock()

    def run(self, pieces: Sequence[Piece], ids: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], Tensor]]:
        """Yields, batch by batch, the wanted pieces and their last tokens' final hidden states (n, hidden_size)."""
        device = self.decoder.weights.device
        kept: Kept = {}
        for batch in make_plan(pieces, self.limits):
            with self._lock:
                hidden = self.decoder.forward(pack(batch, pieces, ids, device), kept)
            yield wanted(batch, pieces), hidden
            for key in batch.release:
                del kept[key]


@torch.inference_mode()
def answer_logits(hidden: Tensor, answer: Tensor) -> list[float]:
    """logit(yes) - logit(no) for each row of hidden (n, hidden_size); answer (hidden_size,) is w_yes - w_no, fp32 or wider.

    Row by row, so that a logit does not depend on how many stand beside it.
    """
    return [float(torch.dot(row, answer)) for row in hidden.to(answer.dtype)]
