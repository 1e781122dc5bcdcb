"""From planned batches to tensors: ids, positions, segments. The one place that lays out rows.

Knows no text and runs no model. Invariant: rows are padded at the end, and only to the row multiple; what several requests
put into one batch keeps its own keys.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from gigarank.engine.plan import Batch, Piece, ancestors
from gigarank.model.linear import ROW_MULTIPLE
from gigarank.model.packed import Kept, PackedBatch, Segment


@dataclass(frozen=True, slots=True)
class Part:
    """What one request puts into a batch; `ids[i]` are the token ids of `pieces[i]`, `kept` its own from one batch to the
    next, by its own indices."""

    batch: Batch
    pieces: Sequence[Piece]
    ids: Sequence[Sequence[int]]
    kept: Kept

    @property
    def wanted(self) -> list[int]:
        """The pieces whose hidden states the batch gives, in the order of their outputs."""
        return wanted(self.batch, self.pieces)


def pack(parts: Sequence[Part], device: torch.device) -> PackedBatch:
    """The tensors of one batch. A segment's key is its piece's index plus its part's offset."""
    rows: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    outputs: list[int] = []
    for offset, part in offsets(parts):
        for index in part.batch.pieces:
            piece, context = part.pieces[index], ancestors(part.pieces, index)
            start, first = len(rows), sum(part.pieces[parent].length for parent in context)
            rows.extend(part.ids[index])
            positions.extend(range(first, first + piece.length))
            segments.append(Segment(offset + index, start, len(rows), tuple(offset + parent for parent in context)))
            if piece.wanted:
                outputs.append(len(rows) - 1)
    padding = [0] * (-len(rows) % ROW_MULTIPLE)
    return PackedBatch(
        ids=torch.tensor(rows + padding, device=device),
        positions=torch.tensor(positions + padding, device=device),
        segments=tuple(segments),
        outputs=torch.tensor(outputs, device=device),
        keep=frozenset(offset + index for offset, part in offsets(parts) for index in part.batch.keep),
    )


def offsets(parts: Sequence[Part]) -> Iterator[tuple[int, Part]]:
    """Every part with what is added to its pieces' indices, so that no two parts share a key."""
    offset = 0
    for part in parts:
        yield offset, part
        offset += len(part.pieces)


def wanted(batch: Batch, pieces: Sequence[Piece]) -> list[int]:
    """The batch's pieces whose hidden states are asked for, in row order."""
    return [index for index in batch.pieces if pieces[index].wanted]
