"""What a decoder is given: the rows of many segments behind one another, without padding between them.

Tensors and integers; knows no text, no scores and no plan. Invariant: a segment's context is computed in the same batch,
before it, or was kept from an earlier one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
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


class Context:
    """Gives each segment of a batch the keys and values that it reads, its context's and its own, behind one another.

    Where they stand so already, as views; else in one buffer for the batch, in which a shared context is laid once for all
    segments that follow it.
    """

    def __init__(self, batch: PackedBatch, kept: Kept) -> None:
        self.batch = batch
        self.kept = kept
        self._rows = {segment.key: segment for segment in batch.segments}
        self._buffer: KeyValues | None = None

    def layer(self, index: int, own: KeyValues) -> Iterator[tuple[Segment, KeyValues]]:
        """Every segment with what it reads in layer `index`, where `own` are the batch's keys and values (all rows)."""
        laid: tuple[int, ...] = ()
        for segment in self.batch.segments:
            start = self._adjacent_start(segment)
            if start is not None:
                yield segment, _slice(own, start, segment.stop)
                continue
            if segment.context != laid:
                self._lay(0, [self._part(key, index, own) for key in segment.context], own)
                laid = segment.context
            length = sum(len(self._part(key, index, own).keys) for key in laid)
            self._lay(length, [_slice(own, segment.start, segment.stop)], own)
            yield segment, _slice(self._grown(length + segment.length, own), 0, length + segment.length)

    def groups(self, index: int, own: KeyValues) -> Iterator[tuple[list[Segment], KeyValues]]:
        """Neighbouring segments of the same context and of similar lengths, with that context's keys and values."""
        for segments in _similar(self.batch.segments):
            parts = [self._part(key, index, own) for key in segments[0].context]
            parts.append(_slice(own, 0, 0))
            yield segments, KeyValues(torch.cat([part.keys for part in parts]), torch.cat([part.values for part in parts]))

    def keep(self, index: int, own: KeyValues) -> None:
        """Copies the keys and values of the segments to keep out of the batch."""
        for key in self.batch.keep:
            part = self._part(key, index, own)
            self.kept.setdefault(key, []).append(KeyValues(part.keys.clone(), part.values.clone()))

    def _part(self, key: int, index: int, own: KeyValues) -> KeyValues:
        if key in self._rows:
            return _slice(own, self._rows[key].start, self._rows[key].stop)
        return self.kept[key][index]

    def _adjacent_start(self, segment: Segment) -> int | None:
        """Where the segment's context starts, if its rows stand right before the segment's own; else None."""
        start = segment.start
        for key in reversed(segment.context):
            if key not in self._rows or self._rows[key].stop != start:
                return None
            start = self._rows[key].start
        return start

    def _lay(self, start: int, parts: list[KeyValues], like: KeyValues) -> None:
        for part in parts:
            stop = start + len(part.keys)
            buffer = self._grown(stop, like)
            buffer.keys[start:stop] = part.keys
            buffer.values[start:stop] = part.values
            start = stop

    def _grown(self, rows: int, like: KeyValues) -> KeyValues:
        """The buffer, of at least `rows` rows; what it held is kept when it grows."""
        held = self._buffer
        if held is not None and len(held.keys) >= rows:
            return held
        shape = (max(rows, 2 * len(held.keys) if held is not None else 0), *like.keys.shape[1:])
        grown = KeyValues(like.keys.new_empty(shape), like.values.new_empty(shape))
        if held is not None:
            grown.keys[: len(held.keys)] = held.keys
            grown.values[: len(held.values)] = held.values
        self._buffer = grown
        return grown


def _similar(segments: tuple[Segment, ...]) -> Iterator[list[Segment]]:
    """Runs of segments that share a context, none shorter than half its run's first: padding them costs less than half."""
    run: list[Segment] = []
    for segment in segments:
        if run and (segment.context != run[0].context or not run[0].length // 2 <= segment.length <= run[0].length):
            yield run
            run = []
        run.append(segment)
    if run:
        yield run


def _slice(whole: KeyValues, start: int, stop: int) -> KeyValues:
    return KeyValues(whole.keys[start:stop], whole.values[start:stop])
