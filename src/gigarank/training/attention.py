"""Attention of packed examples on a CPU, document by document, as an attention of transformers' own models.

One mask over the whole sequence would pay for all pairs of documents, which never see each other. Short documents are laid side
by side, padded to the longest, and taken as three products: torch's fused kernel is slow backwards on a CPU. Long ones, whose
scores would not fit, go through that kernel one by one. Knows queries, keys and values; no weights. Invariant: as attention
under `block_mask`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gigarank.errors import InvalidInput
from gigarank.training.packing import PAD, PREFIX

try:
    from transformers import AttentionInterface, AttentionMaskInterface
except ImportError as error:
    raise InvalidInput(
        "training needs the packages of gigarank[train]: pip install 'gigarank[train]'", param="train"
    ) from error

NAME = "gigarank_packed"
MOST_SCORES = 8_000_000
"""Scores (documents x heads x rows x keys) that one layer keeps for its way back: 16 MB in bf16, times the layers."""


@dataclass(frozen=True, slots=True)
class Segments:
    """One sequence: `prefix` tokens, then a document from each of `starts` to the next; padding from `stop`.

    `places` (n * longest,): which row of the documents' part stands where when they are laid side by side, a document's last
    row again where it is shorter; `real` (n * longest, 1) is False there. `back` (stop - prefix,): where each row went.
    """

    prefix: int
    starts: tuple[int, ...]
    stop: int
    places: Tensor
    real: Tensor
    back: Tensor

    @property
    def bounds(self) -> tuple[int, ...]:
        return (*self.starts, self.stop)

    @property
    def longest(self) -> int:
        return len(self.places) // len(self.starts)


def segments_of(blocks: Tensor) -> list[Segments]:
    """The segments of each row of `blocks` (b, t)."""
    found = []
    for row in blocks.tolist():
        changes = [place for place in range(len(row)) if place == 0 or row[place] != row[place - 1]]
        starts = tuple(place for place in changes if row[place] not in (PREFIX, PAD))
        stop = row.index(PAD) if row[-1] == PAD else len(row)
        prefix = row.index(1)
        lengths = torch.tensor([after - before for before, after in pairwise((*starts, stop))], device=blocks.device)[:, None]
        columns = torch.arange(int(lengths.max()), device=blocks.device)
        first = torch.tensor(starts, device=blocks.device)[:, None] - prefix
        real = (columns < lengths).flatten()
        places = (first + torch.minimum(columns, lengths - 1)).flatten()
        found.append(Segments(prefix, starts, stop, places, real[:, None, None], real.nonzero().flatten()))
    return found


def packed_attention(
    _module: Any, query: Tensor, key: Tensor, value: Tensor, _attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """transformers' signature: (b, h, t, d) in, (b, t, h, d) out; `segments` among the options."""
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    rows = [
        _row([one[number].transpose(0, 1) for one in (query, key, value)], segments, scale)
        for number, segments in enumerate(options["segments"])
    ]
    return torch.stack(rows), None


def _row(parts: Sequence[Tensor], segments: Segments, scale: float) -> Tensor:
    """(t, h, d) of one sequence, from its queries, keys and values (t, h, d)."""
    prefix, heads = segments.prefix, parts[0].shape[1]
    scores = len(segments.places) * heads * (prefix + segments.longest)
    before = [part[:prefix] for part in parts]
    documents = [part[prefix : segments.stop] for part in parts]
    mixed = [_attend(before, scale)] if prefix else []
    mixed += (
        [_side_by_side(before, documents, segments, scale)] if scores <= MOST_SCORES else _one_by_one(parts, segments, scale)
    )
    mixed.append(torch.zeros_like(parts[0][segments.stop :]))
    return torch.cat(mixed)


def _side_by_side(before: Sequence[Tensor], documents: Sequence[Tensor], segments: Segments, scale: float) -> Tensor:
    count, longest = len(segments.starts), segments.longest
    laid = [_Spread.apply(part, segments).view(count, longest, *part.shape[1:]) for part in documents]  # type: ignore[no-untyped-call]
    query, key, value = (
        laid[0],
        *(torch.cat([first.expand(count, *first.shape), own], dim=1) for first, own in zip(before[1:], laid[1:], strict=True)),
    )
    mixed: Tensor = _Collect.apply(_products(query, key, value, scale).flatten(0, 1), segments)  # type: ignore[no-untyped-call]
    return mixed


def _products(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Causal attention (n, l, h, d) of queries (n, l, h, d) that are the last of the keys and values (n, k, kv_heads, d)."""
    count, length, heads, dim = query.shape
    keys, shared = key.shape[1], key.shape[2]
    group = heads // shared
    mask = torch.full((length, keys), float("-inf"), dtype=query.dtype, device=query.device).triu_(keys - length + 1)
    rows = (query * scale).view(count, length, shared, group, dim).permute(0, 2, 3, 1, 4).reshape(-1, group * length, dim)
    scores = torch.bmm(rows, key.permute(0, 2, 3, 1).reshape(-1, dim, keys)).view(-1, group, length, keys)
    weights = (scores + mask).softmax(-1).view(-1, group * length, keys)
    mixed = torch.bmm(weights, value.transpose(1, 2).reshape(-1, keys, dim))
    return mixed.view(count, shared, group, length, dim).permute(0, 3, 1, 2, 4).reshape(count, length, heads, dim)


def _one_by_one(parts: Sequence[Tensor], segments: Segments, scale: float) -> list[Tensor]:
    prefix, (query, *others) = segments.prefix, parts
    found = []
    for start, stop in pairwise(segments.bounds):
        read = [torch.cat([other[:prefix], other[start:stop]]) if prefix else other[start:stop] for other in others]
        found.append(_attend([query[start:stop], *read], scale))
    return found


def _attend(parts: Sequence[Tensor], scale: float) -> Tensor:
    """By torch's kernel, or, where the scores are few, by products; the last query stands at the last key."""
    query, key, value = parts
    length, keys = len(query), len(key)
    if query.shape[1] * length * keys <= MOST_SCORES:
        return _products(query[None], key[None], value[None], scale)[0]
    mask = None
    if keys > length:
        mask = torch.ones(length, keys, dtype=torch.bool, device=query.device).tril(keys - length)
    query, key, value = (part.transpose(0, 1)[None] for part in parts)
    mixed = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=True
    )
    return mixed[0].transpose(0, 1)


class _Spread(torch.autograd.Function):
    """The documents' rows (t, ...) laid side by side (n * longest, ...). What stands in for missing rows has no gradient."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, segments: Segments) -> Tensor:
        ctx.segments = segments
        return rows.index_select(0, segments.places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].index_select(0, ctx.segments.back), None


class _Collect(torch.autograd.Function):
    """The way back from `_Spread`."""

    @staticmethod
    def forward(ctx: Any, laid: Tensor, segments: Segments) -> Tensor:
        ctx.segments = segments
        return laid.index_select(0, segments.back)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].index_select(0, ctx.segments.places) * ctx.segments.real, None


def no_mask(**_: Any) -> None:
    """The segments say who sees whom."""


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, no_mask)
