"""Attention of one segment: its queries over the keys before it (its context) and, causally, its own.

`naive_attention` is the slow, obvious twin; `segment_attention` is what runs, in place. Knows no layers and no batches.
Invariant: the result depends on this segment's queries, keys and values alone, and the kernel is chosen by its own lengths, so
that a score cannot depend on what else is computed beside it.

Shapes: queries (length, heads, head_dim); keys and values (context + length, kv_heads, head_dim), the context first. Query
head h reads key head h // (heads // kv_heads).
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

_MASK_ELEMENTS = 4_000_000  # bounds the explicit mask of a long segment behind a long context: 16 MB in fp32
_PART_ROWS = 96  # queries of a short segment taken at once: smaller parts skip more, and are slower products
_TABLE_KEYS = 640  # beyond, skipping the upper triangle saves more than computing the context's rows costs


def naive_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The definition, head by head, in the given dtype: softmax(q k / sqrt(d)) v over the keys up to each query's own."""
    length, heads, head_dim = queries.shape
    context = keys.shape[0] - length
    group = heads // keys.shape[1]
    visible = torch.ones(length, keys.shape[0], dtype=torch.bool, device=queries.device).tril(context)
    outputs = []
    for head in range(heads):
        scores = queries[:, head] @ keys[:, head // group].T / head_dim**0.5  # (length, context + length)
        weights = scores.masked_fill(~visible, float("-inf")).softmax(dim=-1)
        outputs.append(weights @ values[:, head // group])
    return torch.stack(outputs, dim=1)


def segment_attention(queries: Tensor, keys: Tensor, values: Tensor) -> None:
    """As `naive_attention`, in bounded memory, written over the queries (length, heads, head_dim)."""
    length, seen = queries.shape[0], keys.shape[0]
    context = seen - length
    if length == 1:
        queries.copy_(_fused(queries, keys, values, mask=None, causal=False))
    elif seen <= _TABLE_KEYS and (context or _has_products(queries)):
        _short_segment(queries, keys, values, context)
    elif context == 0:
        queries.copy_(_fused(queries, keys, values, mask=None, causal=True))
    elif context <= length:
        # The fused kernel's causal mask starts at the first key: give it a row for every key, and drop the context's.
        padded = torch.cat((queries.new_zeros(context, *queries.shape[1:]), queries))
        queries.copy_(_fused(padded, keys, values, mask=None, causal=True)[context:])
    else:
        _long_context(queries, keys, values, context)


def _short_segment(queries: Tensor, keys: Tensor, values: Tensor, context: int) -> None:
    """Equal parts of the queries, each over the keys up to its last row's: what lies above the diagonal is mostly skipped."""
    mix = _by_products if _has_products(queries) else _by_kernel
    length = queries.shape[0]
    step = -(-length // -(-length // _PART_ROWS))
    for start in range(0, length, step):
        part = queries[start : start + step]
        first, seen = context + start, context + start + part.shape[0]
        mix(part, keys[:seen], values[:seen], first)


def _has_products(queries: Tensor) -> bool:
    """Half precision would round the scores between the products."""
    return queries.device.type == "cpu" and queries.element_size() >= 4


def _by_kernel(queries: Tensor, keys: Tensor, values: Tensor, first: int) -> None:
    mask = _causal_table(queries.dtype, queries.device)[first : keys.shape[0], : keys.shape[0]]
    queries.copy_(_fused(queries, keys, values, mask=mask, causal=False))


def _by_products(queries: Tensor, keys: Tensor, values: Tensor, first: int) -> None:
    """Two products and a softmax for all query heads of a key head together: faster on a CPU than its fused kernel, whose
    products are of one query head and few rows. The scores are (kv_heads, rows * group, keys)."""
    rows, heads, head_dim = queries.shape
    kv_heads, group, seen = keys.shape[1], heads // keys.shape[1], keys.shape[0]
    grouped = queries.view(rows, kv_heads, group, head_dim).transpose(0, 1)  # (kv_heads, rows, group, head_dim)
    asked = grouped.reshape(kv_heads, rows * group, head_dim)
    mask = _grouped_table(group, queries.dtype)[first * group : seen * group, :seen]
    scores = torch.baddbmm(mask.expand(kv_heads, -1, -1), asked, keys.permute(1, 2, 0), alpha=head_dim**-0.5)
    grouped.copy_(torch.bmm(scores.softmax(dim=-1), values.transpose(0, 1)).view_as(grouped))


@lru_cache(maxsize=8)
def _causal_table(dtype: torch.dtype, device: torch.device) -> Tensor:
    """What is added to the scores of every query (row) over every key up to its own: 0, and minus infinity beyond."""
    return torch.full((_TABLE_KEYS, _TABLE_KEYS), float("-inf"), dtype=dtype, device=device).triu_(1)


@lru_cache(maxsize=8)
def _grouped_table(group: int, dtype: torch.dtype) -> Tensor:
    """The same with every row `group` times: once for each query head of a key head."""
    return _causal_table(dtype, torch.device("cpu")).repeat_interleave(group, 0)


def _long_context(queries: Tensor, keys: Tensor, values: Tensor, context: int) -> None:
    """A short segment behind a long context: a mask of its own, some queries at a time."""
    step = max(16, _MASK_ELEMENTS // keys.shape[0])
    for start in range(0, queries.shape[0], step):
        part = queries[start : start + step]
        seen = context + start + part.shape[0]
        mask = torch.ones(part.shape[0], seen, dtype=torch.bool, device=queries.device).tril(context + start)
        part.copy_(_fused(part, keys[:seen], values[:seen], mask=mask, causal=False))


def _fused(queries: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor | None, causal: bool) -> Tensor:
    """torch's kernel; it reads a group's keys for each of its query heads without copying them."""
    query, key, value = (part.transpose(0, 1)[None] for part in (queries, keys, values))  # (1, heads, rows, head_dim)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=True)
    return mixed[0].transpose(0, 1)


def padded_attention(queries: Tensor, keys: Tensor, values: Tensor, context: tuple[Tensor, Tensor]) -> Tensor:
    """Attention of several segments behind one context, padded at their ends to the longest: one call that fills a GPU.

    queries (segments, length, heads, head_dim); keys and values (segments, length, kv_heads, head_dim); context: keys and
    values (context, kv_heads, head_dim). A segment's own rows never see its padding, which stands behind them; what the
    padding's rows hold means nothing. Returns (segments, length, heads, head_dim).
    """
    segments, length = queries.shape[:2]
    before = context[0].shape[0]
    whole_keys = torch.cat((context[0].expand(segments, -1, -1, -1), keys), dim=1)
    whole_values = torch.cat((context[1].expand(segments, -1, -1, -1), values), dim=1)
    mask = torch.ones(length, before + length, dtype=torch.bool, device=queries.device).tril(before)
    query, key, value = (part.transpose(1, 2) for part in (queries, whole_keys, whole_values))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True).transpose(1, 2)
