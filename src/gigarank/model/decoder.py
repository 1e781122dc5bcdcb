"""The decoder: token ids in, final hidden states of the asked rows out. Mathematics only.

One class for qwen3, qwen2 and llama; what differs is in the config. Layer by layer for the whole batch, so that no keys and
values are stored but those that a later batch shares. In the last layer queries, attention output and MLP are computed for
the asked rows only. Knows no text, no scores and no files. Invariant: a row's result depends on its segment and its
context, not on the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gigarank.model.attention import padded_attention, segment_attention
from gigarank.model.config import ModelConfig
from gigarank.model.layers import Rotary, Turn, rms_norm
from gigarank.model.linear import ROW_MULTIPLE
from gigarank.model.packed import Context, Kept, KeyValues, PackedBatch
from gigarank.model.weights import LayerWeights, Weights

TILE_ROWS = 1_024  # rows that the projections and the MLP take at once: their intermediates stay in cache, and bounded


class Decoder:
    """A loaded model. Not thread-safe: one runner owns it."""

    def __init__(self, config: ModelConfig, weights: Weights, max_positions: int, *, padded: bool = False) -> None:
        """`padded` takes the segments behind one context in one attention call, as a GPU needs it, instead of one by one."""
        self.config = config
        self.weights = weights
        self.padded = padded
        self.rotary = Rotary(config.head_dim, config.rope_theta, max_positions, weights.dtype, weights.device)

    @torch.inference_mode()
    def forward(self, batch: PackedBatch, kept: Kept, pause: Callable[[], None] | None = None) -> Tensor:
        """Final, normalised hidden states (len(outputs), hidden_size). Reads `kept` and adds the segments in `batch.keep`.

        `pause` is called between layers, and may call `forward` for another batch meanwhile.
        """
        context = Context(batch, kept)
        hidden = self.weights.embed(batch.ids)  # (rows, hidden_size)
        rotary = self.rotary.at(batch.positions)
        space = self._space(hidden)
        queries, own = space.queries, space.own
        for index, layer in enumerate(self.weights.layers[:-1]):
            self._project(hidden, layer, rotary, space)
            context.keep(index, own)
            if self.padded:
                _mix_padded(queries, own, context, index)
            else:
                _mix_segments(queries, own, context, index)
            self._finish(hidden, queries.flatten(1), layer, space)
            if pause is not None:
                pause()
        hidden = self._last_layer(hidden, context, rotary, space)
        return rms_norm(hidden, self.weights.final_norm, self.config.rms_norm_eps)[: len(batch.outputs)]

    def _space(self, hidden: Tensor) -> "_Space":
        rows = hidden.shape[0]
        queries = hidden.new_empty(rows, self.config.num_attention_heads, self.config.head_dim)
        keys = hidden.new_empty(rows, self.config.num_key_value_heads, self.config.head_dim)
        return _Space(queries, KeyValues(keys, torch.empty_like(keys)), hidden.new_empty(min(rows, TILE_ROWS), hidden.shape[1]))

    def _project(self, hidden: Tensor, layer: LayerWeights, rotary: Turn, space: "_Space", last: bool = False) -> None:
        """Fills `space` with the keys and values of all rows, and, but for the `last` layer, with their queries."""
        keys, values = space.own.keys, space.own.values
        for rows in _tiles(hidden.shape[0]):
            normed = rms_norm(hidden[rows], layer.input_norm, self.config.rms_norm_eps, space.tile(rows))
            turn, read = rotary[rows], layer.key.prepare(normed)
            self._turn(layer.key(read), layer.key_norm, turn, keys[rows])
            values[rows] = layer.value(read).view_as(values[rows])
            if not last:
                self._turn(layer.query(read), layer.query_norm, turn, space.queries[rows])

    def _turn(self, flat: Tensor, norm: Tensor | None, turn: Turn, out: Tensor) -> None:
        """Splits rows into heads, norms them where the model does, and turns them by their positions into `out`."""
        heads = flat.view_as(out)
        if norm is not None:
            heads = rms_norm(heads, norm, self.config.rms_norm_eps, heads)
        turn.apply(heads, out)

    def _finish(self, hidden: Tensor, mixed: Tensor, layer: LayerWeights, space: "_Space") -> None:
        """Adds the attention's output and the MLP to the residual stream `hidden`, in place."""
        for rows in _tiles(hidden.shape[0]):
            middle = layer.output.plus(mixed[rows], hidden[rows])
            normed = rms_norm(middle, layer.post_norm, self.config.rms_norm_eps, space.tile(rows))
            read = layer.gate.prepare(normed)
            gated = layer.up.times(read, layer.gate.silu(read))
            hidden[rows] = layer.down.plus(gated, middle)

    def _last_layer(self, hidden: Tensor, context: Context, rotary: Turn, space: "_Space") -> Tensor:
        """The last layer: keys and values of all rows, the rest for the asked rows, padded to the row multiple."""
        layer, index = self.weights.layers[-1], len(self.weights.layers) - 1
        own = space.own
        self._project(hidden, layer, rotary, space, last=True)
        context.keep(index, own)
        rows = _pad_rows(context.batch.outputs)
        asked = hidden[rows]
        queries = space.queries[: len(rows)]
        normed = rms_norm(asked, layer.input_norm, self.config.rms_norm_eps)
        self._turn(layer.query(normed), layer.query_norm, rotary[rows], queries)
        places = {row: place for place, row in enumerate(context.batch.outputs.tolist())}
        for segment, visible in context.layer(index, own):
            if (place := places.get(segment.stop - 1)) is not None:
                segment_attention(queries[place : place + 1], visible.keys, visible.values)
        self._finish(asked, queries.flatten(1), layer, space)
        return asked


@dataclass(frozen=True, slots=True)
class _Space:
    """What every layer of a forward writes anew: memory that was touched before costs less than new memory.

    `queries` (rows, heads, head_dim); `own` all rows' keys and values; `normed` (at most TILE_ROWS, hidden_size).
    """

    queries: Tensor
    own: KeyValues
    normed: Tensor

    def tile(self, rows: slice) -> Tensor:
        return self.normed[: rows.stop - rows.start]


def _mix_segments(queries: Tensor, own: KeyValues, context: Context, index: int) -> None:
    """Writes every segment's attention over its queries (rows, heads, head_dim), one segment at a time."""
    for segment, visible in context.layer(index, own):
        segment_attention(queries[segment.start : segment.stop], visible.keys, visible.values)


def _mix_padded(queries: Tensor, own: KeyValues, context: Context, index: int) -> None:
    """As `_mix_segments`, the segments of a context together, padded to the longest."""
    for segments, before in context.groups(index, own):
        if len(segments) == 1:
            rows = slice(segments[0].start, segments[0].stop)
            keys, values = torch.cat((before.keys, own.keys[rows])), torch.cat((before.values, own.values[rows]))
            segment_attention(queries[rows], keys, values)
            continue
        starts = torch.tensor([segment.start for segment in segments], device=queries.device)[:, None]
        lengths = torch.tensor([segment.length for segment in segments], device=queries.device)[:, None]
        columns = torch.arange(segments[0].length, device=queries.device)
        filled = columns < lengths  # (segments, longest)
        taken = starts + torch.minimum(columns, lengths - 1)
        mixed = padded_attention(queries[taken], own.keys[taken], own.values[taken], (before.keys, before.values))
        queries[taken[filled]] = mixed[filled]


def _tiles(rows: int) -> list[slice]:
    return [slice(start, min(start + TILE_ROWS, rows)) for start in range(0, rows, TILE_ROWS)]


def _pad_rows(outputs: Tensor) -> Tensor:
    missing = -len(outputs) % ROW_MULTIPLE
    return torch.cat((outputs, outputs[-1:].expand(missing)))
