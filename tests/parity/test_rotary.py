"""Rotary positions: as transformers turns heads, in halves and in pairs."""

from typing import cast

import pytest
import torch
from transformers.models.qwen3.modeling_qwen3 import apply_rotary_pos_emb

from gigarank.model.config import ModelConfig
from gigarank.model.layers import HalfTurn, PairTurn, Rotary, in_pairs, stands_in_pairs
from gigarank.model.linear import PlainLinear
from gigarank.model.weights import Placement, load_weights, random_tensors

CPU = torch.device("cpu")
DIM, THETA = 16, 1e6
CONFIG = ModelConfig(
    model_type="qwen3",
    vocab_size=50,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=DIM,
    rms_norm_eps=1e-6,
    rope_theta=THETA,
    max_position_embeddings=64,
    tie_word_embeddings=True,
    qk_norm=True,
    qkv_bias=True,
    output_bias=False,
)


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64).to(dtype)


def theirs(x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """transformers' rotation of x (rows, heads, head_dim)."""
    frequencies = 1.0 / (THETA ** (torch.arange(0, DIM, 2).float() / DIM))
    angles = positions[:, None].float() * frequencies
    doubled = torch.cat((angles, angles), dim=-1)[None]
    heads = x.transpose(0, 1)[None]
    turned, _ = apply_rotary_pos_emb(heads, heads, doubled.cos().to(x.dtype), doubled.sin().to(x.dtype))
    return torch.as_tensor(turned)[0].transpose(0, 1)


def ordered(heads: torch.Tensor) -> torch.Tensor:
    """Heads (rows, heads, head_dim) in pairs, coordinate by coordinate."""
    half = heads.shape[-1] // 2
    return torch.stack([heads[..., place // 2 + half * (place % 2)] for place in range(2 * half)], dim=-1)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 2e-6), (torch.float64, 1e-12)])
def test_heads_in_pairs_are_turned_as_transformers_turns_halves(dtype: torch.dtype, atol: float) -> None:
    positions = torch.tensor([0, 1, 5, 63, 40])
    x, out = drawn(5, 3, DIM, dtype=dtype), torch.empty(5, 3, DIM, dtype=dtype)
    turn = Rotary(DIM, THETA, 64, dtype, CPU).at(positions)
    turn.apply(ordered(x), out)
    torch.testing.assert_close(out, ordered(theirs(x, positions)), rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_in_half_precision_have_transformers_bits(dtype: torch.dtype) -> None:
    positions = torch.tensor([3, 0, 62])
    x, out = drawn(3, 2, DIM, dtype=dtype), torch.empty(3, 2, DIM, dtype=dtype)
    Rotary(DIM, THETA, 64, dtype, CPU).at(positions).apply(x, out)
    assert torch.equal(out, theirs(x, positions))


@pytest.mark.parametrize(
    ("dtype", "device", "kind"),
    [
        (torch.float32, "cpu", PairTurn),
        (torch.float64, "cpu", PairTurn),
        (torch.bfloat16, "cpu", HalfTurn),
        (torch.float16, "cpu", HalfTurn),
        (torch.float32, "meta", HalfTurn),
    ],
)
def test_where_heads_stand_in_pairs(dtype: torch.dtype, device: str, kind: type) -> None:
    table = Rotary(DIM, THETA, 64, dtype, torch.device(device))
    assert isinstance(table.at(torch.zeros(1, dtype=torch.int64, device=device)), kind)
    assert stands_in_pairs(dtype, torch.device(device)) is (kind is PairTurn)


def test_a_turn_of_some_rows_is_theirs() -> None:
    table = Rotary(DIM, THETA, 64, torch.float32, CPU)
    x, some, whole = drawn(9, 2, DIM), torch.empty(3, 2, DIM), torch.empty(9, 2, DIM)
    turn = table.at(torch.arange(9))
    turn.apply(x, whole)
    turn[2:5].apply(x[2:5], some)
    assert torch.equal(some, whole[2:5])
    rows = torch.tensor([8, 0, 4])
    turn[rows].apply(x[rows], some)
    assert torch.equal(some, whole[rows])


def test_heads_are_ordered_each_for_itself() -> None:
    assert in_pairs(torch.arange(6), 6).tolist() == [0, 3, 1, 4, 2, 5]
    assert in_pairs(torch.arange(8), 4).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    matrix = drawn(8, 3)
    assert torch.equal(in_pairs(matrix, 4), matrix[[0, 2, 1, 3, 4, 6, 5, 7]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_queries_and_keys_alone_are_loaded_in_that_order(dtype: torch.dtype) -> None:
    source = random_tensors(CONFIG)
    seen: dict[str, torch.Tensor | None] = {}
    (layer,) = load_weights(source, CONFIG, Placement(dtype, CPU, PlainLinear)).layers
    query, key, value, output = (cast(PlainLinear, one) for one in (layer.query, layer.key, layer.value, layer.output))
    for name, product, norm in (("q", query, layer.query_norm), ("k", key, layer.key_norm)):
        seen[f"{name}_proj.weight"], seen[f"{name}_proj.bias"], seen[f"{name}_norm.weight"] = product.weight, product.bias, norm
    seen |= {"v_proj.weight": value.weight, "v_proj.bias": value.bias, "o_proj.weight": output.weight}
    for name, tensor in seen.items():
        given = source.get(f"model.layers.0.self_attn.{name}").to(dtype)
        moved = dtype == torch.float32 and name[0] in "qk"
        assert tensor is not None and torch.equal(tensor, in_pairs(given, DIM) if moved else given), name
