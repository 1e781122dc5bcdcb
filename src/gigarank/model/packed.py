"""What a decoder is given: the rows of many segments behind one another, without padding between them.

Tensors and integers; knows no text, no scores and no plan. Invariant: a segment's context is computed in the same batch,
before it, or was kept from an earlier one.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows [start, stop) of the batch, reading the segments in `context` (their keys, the first first) and themselves."""

    key: int
    start: int
    stop: int
    context: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """`ids` and `positions` (rows,); `outputs` (n,): the rows whose final hidden state is wanted.

    Rows beyond the last segment are padding to a multiple that keeps the products' rows independent; they are computed and
    never read. `keep`: keys of the segments whose keys and values a later batch needs.
    """

    ids: Tensor
    positions: Tensor
    segments: tuple[Segment, ...]
    outputs: Tensor
    keep: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class KeyValues:
    """One segment's keys and values in one layer, each (length, kv_heads, head_dim)."""

    keys: Tensor
    values: Tensor


Kept = dict[int, list[KeyValues]]
"""For each kept segment, its keys and values, a layer an entry."""
