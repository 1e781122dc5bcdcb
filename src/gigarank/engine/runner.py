"""Runs a plan: the only part of the engine that touches the device.

Knows no text and no scores. Invariant: one batch at a time, whichever thread asks; what a run keeps between its batches is
its own, and gone when it ends.
"""

import threading
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from gigarank.engine.batch import Part, offsets, pack, shared
from gigarank.engine.plan import Limits, Piece, make_plan
from gigarank.model.decoder import Decoder
from gigarank.model.packed import Kept


class Runner:
    """Owns a decoder and the lock around it, which a pause may take again for a batch of its own."""

    def __init__(self, decoder: Decoder, limits: Limits) -> None:
        self.decoder = decoder
        self.limits = limits
        self._lock = threading.RLock()

    def run(self, pieces: Sequence[Piece], ids: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], Tensor]]:
        """Yields, batch by batch, the wanted pieces and their last tokens' final hidden states (n, hidden_size)."""
        kept: Kept = {}
        for batch in make_plan(pieces, self.limits):
            part = Part(batch, pieces, ids, kept)
            (hidden,) = self.compute([part])
            yield part.wanted, hidden

    def compute(self, parts: Sequence[Part], pause: Callable[[], None] | None = None) -> list[Tensor]:
        """One batch: for each part its wanted pieces' final hidden states (n, hidden_size). Updates what the parts keep.

        `pause` is called between layers; what it raises ends the batch, and then nothing is kept of it.
        """
        kept = {offset + index: layers for offset, part in offsets(parts) for index, layers in part.kept.items()}
        with self._lock:
            hidden = self.decoder.forward(pack(parts, self.decoder.weights.device), kept, pause)
        owners = shared(parts)
        for offset, part in offsets(parts):
            part.kept.update((index, kept[owners.get(offset + index, offset + index)]) for index in part.batch.keep)
            for index in part.batch.release:
                del part.kept[index]
        return list(torch.split(hidden, [len(part.wanted) for part in parts]))
