"""Device, precision and kernels are chosen once, with a reason for each, and what is not here is refused."""

import pytest
import torch

from gigarank.engine.numerics import choose_numerics, compute_dtype, matrix_bytes, placement
from gigarank.errors import DeviceUnavailable, InvalidInput
from gigarank.model.linear import PackedLinear, PlainLinear, packed_available
from gigarank.model.quantized import QuantizedLinear
from gigarank.types import DTYPES


def test_a_cpu_gets_fp32_and_the_fastest_kernel_it_has() -> None:
    numerics = choose_numerics("cpu")
    assert (numerics.device, numerics.dtype, numerics.attention, numerics.deterministic) == ("cpu", "fp32", "segments", True)
    assert numerics.linear == ("packed" if packed_available(torch.float32) else "plain")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_can_be_asked_for_and_has_a_tolerance(dtype: str) -> None:
    numerics = choose_numerics("cpu", dtype)
    assert numerics.dtype == dtype
    assert 0 < numerics.tolerance < 1
    assert placement(numerics).dtype == compute_dtype(numerics.dtype)


def test_every_choice_has_its_reason() -> None:
    reasons = choose_numerics("cpu", "bf16").reasons
    for topic in (
        "device cpu",
        "dtype bf16: asked for",
        "linear ",
        "attention segments",
        ("deterministic", "not deterministic"),
    ):
        assert any(reason.startswith(topic) for reason in reasons), topic


def test_int8_has_a_kernel_of_its_own_and_all_else_in_fp32() -> None:
    numerics = choose_numerics("cpu", "int8")
    assert (numerics.linear, numerics.deterministic, compute_dtype("int8")) == ("quantized", True, torch.float32)
    assert isinstance(placement(numerics).linear(torch.ones(16, 16), None), QuantizedLinear)
    assert any(reason.startswith("linear quantized: weights by output channel") for reason in numerics.reasons)
    assert [matrix_bytes(dtype) for dtype in ("fp32", "bf16", "int8")] == [4, 2, 1]


def test_int8_is_refused_where_it_has_no_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(InvalidInput, match="dtype: int8 is for a CPU with oneDNN, not on cuda"):
        choose_numerics("auto", "int8")
    monkeypatch.setattr("gigarank.engine.numerics.quantized_available", lambda: False)
    with pytest.raises(InvalidInput, match="this build of torch has no 8-bit product"):
        choose_numerics("cpu", "int8")


def test_float64_has_no_packed_kernel() -> None:
    numerics = choose_numerics("cpu", "fp64")
    assert numerics.linear == "plain"
    assert isinstance(placement(numerics).linear(torch.ones(2, 2, dtype=torch.float64), None), PlainLinear)


@pytest.mark.skipif(not packed_available(torch.float32), reason="no packed kernel on this CPU")
def test_the_packed_kernel_is_what_placement_gives_where_it_was_chosen() -> None:
    assert isinstance(placement(choose_numerics("cpu", "fp32")).linear(torch.ones(16, 16), None), PackedLinear)


@pytest.mark.parametrize(
    ("device", "dtype", "param"), [("tpu", "auto", "device"), ("cpu", "int4", "dtype"), ("", "auto", "device")]
)
def test_unknown_words_are_refused_with_the_known(device: str, dtype: str, param: str) -> None:
    with pytest.raises(InvalidInput, match=rf"{param}: .* is not one of auto") as caught:
        choose_numerics(device, dtype)
    assert caught.value.param == param


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_is_refused_where_there_is_none_and_not_chosen() -> None:
    with pytest.raises(DeviceUnavailable, match="cuda was asked for, but torch sees no CUDA device"):
        choose_numerics("cuda")
    assert choose_numerics("auto").device == "cpu"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("biased", [False, True])
def test_both_kernels_compute_the_same(dtype: torch.dtype, biased: bool) -> None:
    if not packed_available(dtype):
        pytest.skip(f"no packed kernel for {dtype} on this CPU")
    generator = torch.Generator().manual_seed(3)
    weight, rows = (torch.randn(shape, generator=generator).to(dtype) / 8 for shape in ((96, 64), (32, 64)))
    bias = torch.randn(96, generator=generator).to(dtype) if biased else None
    other = torch.randn(32, 96, generator=generator).to(dtype)
    plain, packed = PlainLinear(weight, bias), PackedLinear(weight, bias)
    atol = 1e-5 if dtype == torch.float32 else 0.0
    torch.testing.assert_close(packed(rows), plain(rows), rtol=0, atol=atol)
    torch.testing.assert_close(packed.silu(rows), plain.silu(rows), rtol=0, atol=atol)
    torch.testing.assert_close(packed.times(rows, other.clone()), plain.times(rows, other.clone()), rtol=0, atol=atol)
    torch.testing.assert_close(packed.plus(rows, other.clone()), plain.plus(rows, other.clone()), rtol=0, atol=atol)
