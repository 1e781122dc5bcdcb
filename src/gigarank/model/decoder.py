"""The decoder: token ids in, final hidden states of the asked rows out. Mathematics only.

One class for qwen3, qwen2 and llama; what differs is in the config. Layer by layer for the whole batch, so that no keys and
values are stored but those that a later batch shares. In the last layer queries, attention output and MLP are computed for
the asked rows only. Knows no text, no scores and no files. Invariant: a row's result depends on its segment and its
context, not on the batch.
"""

import torch
from torch import Tensor

from gigarank.model.attention import segment_attention
from gigarank.model.config import ModelConfig
from gigarank.model.layers import Rotary, rms_norm, rotate
from gigarank.model.linear import ROW_MULTIPLE
from gigarank.model.packed import Kept, KeyValues, PackedBatch, Segment
from gigarank.model.weights import LayerWeights, Weights

_TILE_ROWS = 1_024  # rows that the projections and the MLP take at once: their intermediates stay in cache, and bounded


class Decoder:
    """A loaded model. Not thread-safe: one runner owns it."""

    def __init__(self, config: ModelConfig, weights: Weights, max_positions: int) -> None:
        self.config = config
        self.weights = weights
        self.rotary = Rotary(config.head_dim, config.rope_theta, max_positions, weights.dtype, weights.device)

    @torch.inference_mode()
    def forward(self, batch: PackedBatch, kept: Kept) -> Tensor:
        """Final, normalised hidden states (len(outputs), hidden_size). Reads `kept` and adds the segments in `batch.keep`."""
        hidden = self.weights.embed(batch.ids)  # (rows, hidden_size)
        rotary = self.rotary.at(batch.positions)
        kept.update({key: [] for key in batch.keep})
        for index, layer in enumerate(self.weights.layers):
            keys, values = self._keys_values(hidden, layer, rotary)
            store = self._segment_store(batch, index, keys, values, kept)
            if index + 1 < len(self.weights.layers):
                mixed = self._mix_all(hidden, layer, rotary, batch.segments, store)
                self._finish(hidden, mixed, layer)
            else:
                hidden = self._last_layer(hidden, layer, batch, store)
        return rms_norm(hidden, self.weights.final_norm, self.config.rms_norm_eps)[: len(batch.outputs)]

    def _keys_values(self, hidden: Tensor, layer: LayerWeights, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Keys, normed and turned, and values of all rows: (rows, kv_heads, head_dim) each."""
        shape = (hidden.shape[0], self.config.num_key_value_heads, self.config.head_dim)
        keys, values = hidden.new_empty(shape), hidden.new_empty(shape)
        for rows in _tiles(hidden.shape[0]):
            normed = rms_norm(hidden[rows], layer.input_norm, self.config.rms_norm_eps)
            keys[rows] = self._heads(layer.key(normed), layer.key_norm, rotary, rows)
            values[rows] = layer.value(normed).view(-1, *shape[1:])
        return keys, values

    def _queries(self, hidden: Tensor, layer: LayerWeights, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """Queries, normed and turned: (rows, heads, head_dim)."""
        queries = hidden.new_empty(hidden.shape[0], self.config.num_attention_heads, self.config.head_dim)
        for rows in _tiles(hidden.shape[0]):
            normed = rms_norm(hidden[rows], layer.input_norm, self.config.rms_norm_eps)
            queries[rows] = self._heads(layer.query(normed), layer.query_norm, rotary, rows)
        return queries

    def _heads(self, flat: Tensor, norm: Tensor | None, rotary: tuple[Tensor, Tensor], rows: slice) -> Tensor:
        heads = flat.view(flat.shape[0], -1, self.config.head_dim)
        if norm is not None:
            heads = rms_norm(heads, norm, self.config.rms_norm_eps)
        return rotate(heads, rotary[0][rows], rotary[1][rows])

    def _segment_store(self, batch: PackedBatch, index: int, keys: Tensor, values: Tensor, kept: Kept) -> dict[int, KeyValues]:
        """The keys and values of every segment that this layer can read; those to keep are copied out of the batch."""
        store = {key: layers[index] for key, layers in kept.items() if len(layers) > index}
        for segment in batch.segments:
            own = KeyValues(keys[segment.start : segment.stop], values[segment.start : segment.stop])
            store[segment.key] = own
            if segment.key in batch.keep:
                kept[segment.key].append(KeyValues(own.keys.clone(), own.values.clone()))
        return store

    def _mix_all(
        self,
        hidden: Tensor,
        layer: LayerWeights,
        rotary: tuple[Tensor, Tensor],
        segments: tuple[Segment, ...],
        store: dict[int, KeyValues],
    ) -> Tensor:
        """Attention of every row, (rows, heads * head_dim), written over the queries; padding rows keep theirs."""
        queries = self._queries(hidden, layer, rotary)
        for segment in segments:
            rows = slice(segment.start, segment.stop)
            queries[rows] = segment_attention(queries[rows], *_visible(segment, store))
        return queries.flatten(1)

    def _finish(self, hidden: Tensor, mixed: Tensor, layer: LayerWeights) -> None:
        """Adds the attention's output and the MLP to the residual stream `hidden`, in place."""
        for rows in _tiles(hidden.shape[0]):
            middle = layer.output.plus(mixed[rows], hidden[rows])
            normed = rms_norm(middle, layer.post_norm, self.config.rms_norm_eps)
            gated = layer.up.times(normed, layer.gate.silu(normed))
            hidden[rows] = layer.down.plus(gated, middle)

    def _last_layer(self, hidden: Tensor, layer: LayerWeights, batch: PackedBatch, store: dict[int, KeyValues]) -> Tensor:
        """The last layer for the asked rows: (len(outputs) padded to the row multiple, hidden_size)."""
        rows = _pad_rows(batch.outputs)
        asked = hidden[rows]
        queries = self._queries(asked, layer, self.rotary.at(batch.positions[rows]))
        position = {row: place for place, row in enumerate(batch.outputs.tolist())}
        for segment in batch.segments:
            place = position.get(segment.stop - 1)
            if place is not None:
                queries[place : place + 1] = segment_attention(queries[place : place + 1], *_visible(segment, store))
        self._finish(asked, queries.flatten(1), layer)
        return asked


def _visible(segment: Segment, store: dict[int, KeyValues]) -> tuple[Tensor, Tensor]:
    """Keys and values that the segment reads: its context's, then its own."""
    parts = [store[key] for key in (*segment.context, segment.key)]
    if len(parts) == 1:
        return parts[0].keys, parts[0].values
    return torch.cat([part.keys for part in parts]), torch.cat([part.values for part in parts])


def _tiles(rows: int) -> list[slice]:
    return [slice(start, min(start + _TILE_ROWS, rows)) for start in range(0, rows, _TILE_ROWS)]


def _pad_rows(outputs: Tensor) -> Tensor:
    missing = -len(outputs) % ROW_MULTIPLE
    return torch.cat((outputs, outputs[-1:].expand(missing)))
