"""8-bit products: what they compute, to the last whole number, and what becomes of rows and channels that are odd."""

import pytest
import torch

from gigarank.model import quantized
from gigarank.model.linear import Linear, PlainLinear
from gigarank.model.quantized import QuantizedLinear, activation_levels, quantize, quantized_available

pytestmark = pytest.mark.skipif(not quantized_available(), reason="no 8-bit product in this build of torch")


def matrix(outputs: int = 96, inputs: int = 160, seed: int = 0) -> torch.Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed))


def test_a_weight_is_kept_to_half_a_level_of_its_own_channel() -> None:
    weight = matrix() * torch.logspace(-6, 4, 96)[:, None]
    found = quantize(weight)
    assert found.values.dtype == torch.int8
    assert int(found.values.abs().max()) == 127
    off = (found.values * found.scales[:, None] - weight).abs()
    assert bool((off <= found.scales[:, None] * 0.5001).all())


@pytest.mark.parametrize("levels", [127, 63])
def test_the_product_is_the_exact_sum_of_whole_numbers_times_two_scales(levels: int) -> None:
    weight, x = quantize(matrix()), matrix(48, 160, seed=1) * torch.logspace(-3, 3, 48)[:, None]
    linear = QuantizedLinear(weight)
    linear.levels = min(levels, activation_levels())
    rows = linear.prepare(x)
    whole = (rows.values.double() - (linear.levels + 1)) @ weight.values.double().T
    assert float(whole.abs().max()) > 10_000
    expected = whole * rows.scales.double() * weight.scales.double()
    assert torch.allclose(linear(x).double(), expected, rtol=1e-6, atol=0)
    off = ((rows.values.float() - (linear.levels + 1)) * rows.scales - x).abs()
    assert bool((off <= rows.scales * 0.5001).all())


def test_the_largest_numbers_do_not_overflow_on_this_cpu() -> None:
    weight = quantize(torch.ones(64, 2_048))
    found = QuantizedLinear(weight)(torch.ones(16, 2_048))
    assert torch.allclose(found, torch.full((16, 64), 2_048.0), rtol=1e-6)


def test_a_cpu_whose_sums_overflow_gets_seven_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    right = quantized._multiply
    monkeypatch.setattr(quantized, "_multiply", lambda *given: right(*given).clamp_max(130_560.0))
    assert activation_levels.__wrapped__() == 63
    monkeypatch.undo()
    assert activation_levels.__wrapped__() in (63, 127)


@pytest.mark.parametrize("biased", [False, True])
def test_what_follows_the_product_is_what_the_plain_one_does(biased: bool) -> None:
    weight, x = quantize(matrix()), matrix(32, 160, seed=2)
    bias = matrix(1, 96, seed=3)[0] if biased else None
    ours: Linear = QuantizedLinear(weight, bias)
    rows = QuantizedLinear(weight).prepare(x)
    theirs = PlainLinear(weight.values * weight.scales[:, None], bias)
    read = (rows.values.float() - (activation_levels() + 1)) * rows.scales
    other = matrix(32, 96, seed=4)
    assert torch.allclose(ours(x), theirs(read), atol=1e-4)
    assert torch.allclose(ours.silu(x), theirs.silu(read), atol=1e-4)
    assert torch.allclose(ours.times(x, other.clone()), theirs.times(read, other.clone()), atol=1e-4)
    assert torch.allclose(ours.plus(x, other.clone()), theirs.plus(read, other.clone()), atol=1e-4)
    assert torch.equal(ours(ours.prepare(x)), ours(x))


def test_a_row_of_zeros_gives_the_bias_and_a_channel_of_zeros_gives_zero() -> None:
    weight = matrix()
    weight[5] = 0.0
    x = matrix(16, 160, seed=1)
    x[3] = 0.0
    found = QuantizedLinear(quantize(weight), torch.ones(96))(x)
    assert bool((found[3] == 1.0).all())
    assert bool((found[:, 5] == 1.0).all())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so_and_touches_no_other_row_or_channel(bad: float) -> None:
    weight, x = matrix(), matrix(16, 160, seed=1)
    sound = QuantizedLinear(quantize(weight))(x)
    x[2, 7] = bad
    found = QuantizedLinear(quantize(weight))(x)
    assert not bool(torch.isfinite(found[2]).any())
    assert torch.equal(found[3:], sound[3:])
    x = matrix(16, 160, seed=1)
    weight[4, 9] = bad
    found = QuantizedLinear(quantize(weight))(x)
    assert not bool(torch.isfinite(found[:, 4]).any())
    assert torch.equal(found[:, 5:], sound[:, 5:])
