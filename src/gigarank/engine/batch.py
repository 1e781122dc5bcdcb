"""From planned batches to tensors: ids, positions, segments. The one place that lays out rows.

What several requests begin with alike, as their prompts' first words, is laid out once for all of them. Knows no text and
runs no model. Invariants: rows are padded at the end, and only to the row multiple; a piece is shared only where its tokens
and all before them are the same and nobody asks for its hidden state.
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
    """The tensors of one batch. A segment's key is its piece's index plus its part's offset: the first part's, where it is
    several parts'."""
    rows: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    outputs: list[int] = []
    owners = shared(parts)
    for offset, part in offsets(parts):
        for index in part.batch.pieces:
            if offset + index in owners:
                continue
            piece, context = part.pieces[index], ancestors(part.pieces, index)
            start, first = len(rows), sum(part.pieces[parent].length for parent in context)
            rows.extend(part.ids[index])
            positions.extend(range(first, first + piece.length))
            keys = tuple(owners.get(offset + parent, offset + parent) for parent in context)
            segments.append(Segment(offset + index, start, len(rows), keys))
            if piece.wanted:
                outputs.append(len(rows) - 1)
    padding = [0] * (-len(rows) % ROW_MULTIPLE)
    return PackedBatch(
        ids=torch.tensor(rows + padding, device=device),
        positions=torch.tensor(positions + padding, device=device),
        segments=tuple(segments),
        outputs=torch.tensor(outputs, device=device),
        keep=frozenset(
            owners.get(offset + index, offset + index) for offset, part in offsets(parts) for index in part.batch.keep
        ),
    )


def shared(parts: Sequence[Part]) -> dict[int, int]:
    """The keys of pieces that an earlier part computes in the same batch, with that part's keys."""
    first: dict[tuple[int | None, tuple[int, ...]], int] = {}  # by the key of what stands before, and the tokens
    owners: dict[int, int] = {}
    for offset, part in offsets(parts):
        computed = set(part.batch.pieces)
        for index in part.batch.pieces:
            piece = part.pieces[index]
            if piece.wanted or (piece.parent is not None and piece.parent not in computed):
                continue
            parent = None if piece.parent is None else owners.get(offset + piece.parent, offset + piece.parent)
            key = first.setdefault((parent, tuple(part.ids[index])), offset + index)
            if key < offset:
                owners[offset + index] = key
    return owners


def offsets(parts: Sequence[Part]) -> Iterator[tuple[int, Part]]:
    """Every part with what is added to its pieces' indices, so that no two parts share a key."""
    offset = 0
    for part in parts:
        yield offset, part
        offset += len(part.pieces)


def wanted(batch: Batch, pieces: Sequence[Piece]) -> list[int]:
    """The batch's pieces whose hidden states are asked for, in row order."""
    return [index for index in batch.pieces if pieces[index].wanted]
