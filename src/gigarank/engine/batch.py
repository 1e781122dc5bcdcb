"""From a planned batch to tensors: ids, positions, segments. The one place that lays out rows.

Knows no text and runs no model. Invariant: rows are padded at the end, and only to the row multiple.
"""

from collections.abc import Sequence

import torch

from gigarank.engine.plan import Batch, Piece, ancestors
from gigarank.model.linear import ROW_MULTIPLE
from gigarank.model.packed import PackedBatch, Segment


def pack(batch: Batch, pieces: Sequence[Piece], ids: Sequence[Sequence[int]], device: torch.device) -> PackedBatch:
    """The tensors of one batch; `ids[i]` are the token ids of `pieces[i]`."""
    rows: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    for index in batch.pieces:
        context = ancestors(pieces, index)
        start, offset = len(rows), sum(pieces[parent].length for parent in context)
        rows.extend(ids[index])
        positions.extend(range(offset, offset + pieces[index].length))
        segments.append(Segment(index, start, len(rows), context))
    outputs = [segment.stop - 1 for segment in segments if pieces[segment.key].wanted]
    padding = [0] * (-len(rows) % ROW_MULTIPLE)
    return PackedBatch(
        ids=torch.tensor(rows + padding, device=device),
        positions=torch.tensor(positions + padding, device=device),
        segments=tuple(segments),
        outputs=torch.tensor(outputs, device=device),
        keep=batch.keep,
    )


def wanted(batch: Batch, pieces: Sequence[Piece]) -> list[int]:
    """The pieces whose hidden states the batch gives, in the order of `PackedBatch.outputs`."""
    return [index for index in batch.pieces if pieces[index].wanted]
