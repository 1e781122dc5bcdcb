"""Attention of packed examples on a CPU, document by document, as an attention of transformers' own models.

One mask over the whole sequence would pay for all pairs of documents, which never see each other. Knows queries, keys and
values; no weights. Invariant: as attention under `block_mask`.
"""

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


@dataclass(frozen=True, slots=True)
class Segments:
    """One sequence: `prefix` tokens, then a document from each of `starts` to the next; padding from `stop`."""

    prefix: int
    starts: tuple[int, ...]
    stop: int


def segments_of(blocks: Tensor) -> list[Segments]:
    """The segments of each row of `blocks` (b, t)."""
    found = []
    for row in blocks.tolist():
        changes = [place for place in range(len(row)) if place == 0 or row[place] != row[place - 1]]
        starts = tuple(place for place in changes if row[place] not in (PREFIX, PAD))
        stop = row.index(PAD) if row[-1] == PAD else len(row)
        found.append(Segments(row.index(1), starts, stop))
    return found


def packed_attention(
    _module: Any, query: Tensor, key: Tensor, value: Tensor, _attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """transformers' signature: (b, h, t, d) in, (b, t, h, d) out; `segments` among the options."""
    scale = options.get("scaling")
    rows = [
        _row(query[number], key[number], value[number], segments, scale) for number, segments in enumerate(options["segments"])
    ]
    return torch.stack(rows).transpose(1, 2), None


def _row(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float | None) -> Tensor:
    """(h, t, d) of one sequence."""
    prefix, bounds = segments.prefix, [*segments.starts, segments.stop]
    parts = [_attend(query[:, :prefix], key[:, :prefix], value[:, :prefix], scale)] if prefix else []
    for start, stop in pairwise(bounds):
        keys = torch.cat([key[:, :prefix], key[:, start:stop]], dim=1) if prefix else key[:, start:stop]
        values = torch.cat([value[:, :prefix], value[:, start:stop]], dim=1) if prefix else value[:, start:stop]
        parts.append(_attend(query[:, start:stop], keys, values, scale))
    parts.append(torch.zeros_like(query[:, segments.stop :]))
    return torch.cat(parts, dim=1)


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    """The last query stands at the last key."""
    before = key.shape[1] - query.shape[1]
    mask = None
    if before:
        mask = torch.ones(query.shape[1], key.shape[1], dtype=torch.bool, device=query.device).tril(before)
    return F.scaled_dot_product_attention(
        query[None], key[None], value[None], attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=True
    )[0]


def no_mask(**_: Any) -> None:
    """The segments say who sees whom."""


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, no_mask)
