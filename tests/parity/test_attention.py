"""Every attention kernel against the obvious one, at lengths on both sides of each of their thresholds."""

import pytest
import torch
from torch import Tensor

from gigarank.model import attention
from gigarank.model.attention import naive_attention, padded_attention, segment_attention

LENGTHS = [(0, 1), (0, 7), (5, 1), (16, 40), (300, 30), (30, 609), (30, 611), (40, 700), (900, 20), (700, 690), (0, 800)]


def tensors(context: int, length: int, heads: int = 6, kv_heads: int = 2, dim: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(context * 1_000 + length)
    shapes = ((length, heads, dim), (context + length, kv_heads, dim), (context + length, kv_heads, dim))
    queries, keys, values = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return queries, keys, values


@pytest.mark.parametrize(("context", "length"), LENGTHS)
def test_segment_attention_equals_the_definition(context: int, length: int) -> None:
    queries, keys, values = tensors(context, length)
    wanted = naive_attention(queries, keys, values)
    segment_attention(queries, keys, values)
    torch.testing.assert_close(queries, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("context", "length"), LENGTHS)
def test_the_kernel_of_half_precision_and_gpus_equals_the_definition(
    context: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_has_products", lambda queries: False)
    queries, keys, values = tensors(context, length)
    wanted = naive_attention(queries, keys, values)
    segment_attention(queries, keys, values)
    torch.testing.assert_close(queries, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("heads", [(16, 8), (9, 3), (4, 4), (8, 1)])
def test_products_are_of_all_query_heads_of_a_key_head(heads: tuple[int, int]) -> None:
    queries, keys, values = tensors(20, 130, *heads)
    whole = torch.zeros(200, *queries.shape[1:], dtype=queries.dtype)
    part = whole[40:170].copy_(queries)
    segment_attention(part, keys, values)
    torch.testing.assert_close(part, naive_attention(queries, keys, values), rtol=0, atol=1e-12)
    assert not whole[:40].any() and not whole[170:].any()


def test_half_precision_takes_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.dtype] = []
    kernel = attention._by_kernel

    def noted(queries: Tensor, keys: Tensor, values: Tensor, first: int) -> None:
        asked.append(queries.dtype)
        kernel(queries, keys, values, first)

    monkeypatch.setattr(attention, "_by_kernel", noted)
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        segment_attention(*(part.to(dtype) for part in tensors(5, 20)))
    assert asked == [torch.bfloat16, torch.float16]


def test_a_long_context_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, keys, values = tensors(2_000, 100)
    monkeypatch.setattr(attention, "_MASK_ELEMENTS", 40_000)  # 19 queries a part
    wanted = naive_attention(queries, keys, values)
    segment_attention(queries, keys, values)
    torch.testing.assert_close(queries, wanted, rtol=0, atol=1e-12)


def test_the_definition_equals_a_sum_by_hand() -> None:
    queries, keys, values = tensors(2, 3, heads=1, kv_heads=1, dim=2)
    for row in range(3):
        weights = torch.tensor([torch.dot(queries[row, 0], keys[seen, 0]) / 2**0.5 for seen in range(row + 3)]).exp()
        by_hand = sum(weight * values[seen, 0] for seen, weight in enumerate(weights)) / weights.sum()
        torch.testing.assert_close(naive_attention(queries, keys, values)[row, 0], by_hand.double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("context", [0, 1, 33])
def test_padded_attention_equals_each_segment_alone(context: int) -> None:
    generator = torch.Generator().manual_seed(context)
    lengths = [9, 7, 5]
    before = torch.randn(2, context, 2, 8, generator=generator, dtype=torch.float64)
    padded = torch.randn(3, 9, 10, 8, generator=generator, dtype=torch.float64)
    queries, keys, values = padded[:, :, :6], padded[:, :, 6:8], padded[:, :, 8:]
    together = padded_attention(queries, keys, values, (before[0], before[1]))
    for place, length in enumerate(lengths):
        own = torch.cat((before[0], keys[place, :length])), torch.cat((before[1], values[place, :length]))
        torch.testing.assert_close(together[place, :length], naive_attention(queries[place, :length], *own), rtol=0, atol=1e-12)
