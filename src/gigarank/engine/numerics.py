"""Device, precision and kernels: chosen once, when a model is loaded, each with its reason.

Invariant: nothing else in the engine asks what the machine can do.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from gigarank.errors import DeviceUnavailable, InvalidInput
from gigarank.model.linear import Linear, PackedLinear, PlainLinear, is_row_invariant, packed_available
from gigarank.model.quantized import (
    WEIGHT_LEVELS,
    QuantizedLinear,
    QuantizedMatrix,
    activation_levels,
    quantize,
    quantized_available,
)
from gigarank.model.weights import Placement
from gigarank.types import DTYPES, Device, Dtype, Numerics

TORCH_DTYPES: dict[Dtype, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp64": torch.float64,
}
"""What a checkpoint's numbers can be stored and computed in; int8 is made of them."""
TOLERANCES: dict[Dtype, float] = {"fp32": 1e-4, "bf16": 0.5, "fp16": 0.1, "fp64": 1e-10, "int8": 0.9}
"""How far a raw logit may be from transformers' in the same precision (int8: in fp32), and from itself in another batch where
the numerics are not deterministic. Each leaves room over the largest difference that the tests see."""


Matrices = Callable[[str, Callable[[], Tensor]], QuantizedMatrix]
"""Gives the quantised matrix of a name; the function beside it reads the weight."""


def choose_numerics(device: str = "auto", dtype: str = "auto") -> Numerics:
    """The numerics for a device ('auto', 'cpu', 'cuda') and a dtype ('auto', 'fp32', 'bf16', 'fp16', 'fp64', 'int8').

    Raises InvalidInput for an unknown word or int8 where there is no product for it, DeviceUnavailable for a device that this
    machine lacks.
    """
    chosen_device, device_reason = choose_device(device)
    chosen_dtype, dtype_reason = _dtype(dtype, chosen_device)
    linear, linear_reason = _linear(chosen_dtype, chosen_device)
    on_cpu = chosen_device == "cpu"
    deterministic, deterministic_reason = _deterministic(chosen_dtype, chosen_device, linear)
    reasons = (
        device_reason,
        dtype_reason,
        linear_reason,
        "attention segments: each document alone, by the fused kernel"
        if on_cpu
        else "attention padded: the documents of a query in one call, so that a GPU is filled",
        deterministic_reason,
    )
    return Numerics(
        device=chosen_device,
        dtype=chosen_dtype,
        linear=linear,
        attention="segments" if on_cpu else "padded",
        deterministic=deterministic,
        tolerance=TOLERANCES[chosen_dtype],
        reasons=reasons,
    )


def compute_dtype(dtype: Dtype) -> torch.dtype:
    """In what norms, attention and the residual stream are computed."""
    return torch.float32 if dtype == "int8" else TORCH_DTYPES[dtype]


def matrix_bytes(dtype: Dtype) -> int:
    """What one number of a layer's matrix takes in memory."""
    return 1 if dtype == "int8" else TORCH_DTYPES[dtype].itemsize


def placement(numerics: Numerics, matrices: Matrices | None = None) -> Placement:
    """Where the weights of a model with these numerics go. `matrices`: quantises what it reads, or has it already; for int8."""
    kernels: dict[str, Callable[[Tensor, Tensor | None], Linear]] = {
        "plain": PlainLinear,
        "packed": PackedLinear,
        "quantized": lambda weight, bias: QuantizedLinear(quantize(weight), bias),
    }
    place = Placement(compute_dtype(numerics.dtype), torch.device(numerics.device), kernels[numerics.linear])
    if numerics.linear != "quantized":
        return place
    made = matrices or _quantized
    return replace(place, stored=lambda name, read, bias: QuantizedLinear(made(name, read), bias))


def _quantized(_: str, read: Callable[[], Tensor]) -> QuantizedMatrix:
    return quantize(read())


def _linear(dtype: Dtype, device: Device) -> tuple[str, str]:
    if dtype == "int8":
        if device != "cpu" or not quantized_available():
            where = f"not on {device}" if device != "cpu" else "and this build of torch has no 8-bit product"
            raise InvalidInput(f"dtype: int8 is for a CPU with oneDNN, {where}", param="dtype", limit="cpu", received=dtype)
        bits = "8 bits" if activation_levels() == WEIGHT_LEVELS else "7 bits, since this CPU's sums overflow with more"
        return "quantized", f"linear quantized: weights by output channel in 8 bits, activations by row in {bits}"
    if device == "cpu" and packed_available(TORCH_DTYPES[dtype]):
        return "packed", "linear packed: oneDNN has a kernel for this CPU and precision"
    return "plain", f"linear plain: torch's own product, oneDNN's packed one does not serve {dtype} on {device}"


def _deterministic(dtype: Dtype, device: Device, linear: str) -> tuple[bool, str]:
    if device != "cpu":
        return False, "not deterministic: a GPU's products choose their kernel by the number of rows"
    kernel = PackedLinear if linear == "packed" else PlainLinear
    if linear != "quantized" and not is_row_invariant(kernel, TORCH_DTYPES[dtype]):
        reason = f"not deterministic: this CPU's {dtype} products choose their kernel by the number of rows"
        return False, f"{reason}; int8 does not" if dtype == "fp32" else f"{reason}; fp32 and int8 are safer"
    return True, "deterministic: row counts are padded so that no score depends on its batch, by at most 15 rows a batch"


def choose_device(asked: str) -> tuple[Device, str]:
    """The device of 'auto', 'cpu' or 'cuda', and the reason. Raises InvalidInput, DeviceUnavailable."""
    has_cuda = torch.cuda.is_available()
    if asked == "auto":
        return ("cuda", "device cuda: there is one") if has_cuda else ("cpu", "device cpu: no CUDA device here")
    if asked == "cpu":
        return "cpu", "device cpu: asked for"
    if asked != "cuda":
        raise InvalidInput(
            f"device: {asked!r} is not one of auto, cpu, cuda", param="device", limit=["auto", "cpu", "cuda"], received=asked
        )
    if not has_cuda:
        raise DeviceUnavailable(
            "device: cuda was asked for, but torch sees no CUDA device here", param="device", received=asked
        )
    return "cuda", "device cuda: asked for"


def _dtype(asked: str, device: Device) -> tuple[Dtype, str]:
    if asked == "auto":
        if device == "cpu":
            return "fp32", "dtype fp32: exact, and no larger in error than the checkpoint; bf16 is faster on some CPUs"
        return "bf16", "dtype bf16: the checkpoints' own, and fast on this device"
    for dtype in DTYPES:
        if asked == dtype == "int8":
            return dtype, "dtype int8: asked for; norms, attention and the residual stream stay in fp32"
        if asked == dtype:
            return dtype, f"dtype {dtype}: asked for"
    raise InvalidInput(
        f"dtype: {asked!r} is not one of auto, {', '.join(DTYPES)}", param="dtype", limit=["auto", *DTYPES], received=asked
    )
