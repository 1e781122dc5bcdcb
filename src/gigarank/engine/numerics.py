"""Device, precision and kernels: chosen once, when a model is loaded, each with its reason.

Invariant: nothing else in the engine asks what the machine can do.
"""

import torch

from gigarank.errors import DeviceUnavailable, InvalidInput
from gigarank.model.linear import Linear, PackedLinear, PlainLinear, packed_available
from gigarank.model.weights import Placement
from gigarank.types import DTYPES, Device, Dtype, Numerics

TORCH_DTYPES: dict[Dtype, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp64": torch.float64,
}
TOLERANCES: dict[Dtype, float] = {"fp32": 1e-4, "bf16": 0.5, "fp16": 0.1, "fp64": 1e-10}
"""How far a raw logit may be from transformers' in the same precision, and from itself in another batch where the numerics
are not deterministic. Each leaves room over the largest difference that the tests see."""


def choose_numerics(device: str = "auto", dtype: str = "auto") -> Numerics:
    """The numerics for a device ('auto', 'cpu', 'cuda') and a dtype ('auto', 'fp32', 'bf16', 'fp16', 'fp64').

    Raises InvalidInput for an unknown word, DeviceUnavailable for a device that this machine lacks.
    """
    chosen_device, device_reason = _device(device)
    chosen_dtype, dtype_reason = _dtype(dtype, chosen_device)
    packed = chosen_device == "cpu" and packed_available(TORCH_DTYPES[chosen_dtype])
    on_cpu = chosen_device == "cpu"
    reasons = (
        device_reason,
        dtype_reason,
        "linear packed: oneDNN has a kernel for this CPU and precision"
        if packed
        else f"linear plain: torch's own product, oneDNN's packed one does not serve {chosen_dtype} on {chosen_device}",
        "attention segments: each document alone, by the fused kernel"
        if on_cpu
        else "attention padded: the documents of a query in one call, so that a GPU is filled",
        "deterministic: row counts are padded so that no score depends on its batch, by at most 15 rows a batch"
        if on_cpu
        else "not deterministic: a GPU's products choose their kernel by the number of rows",
    )
    return Numerics(
        device=chosen_device,
        dtype=chosen_dtype,
        linear="packed" if packed else "plain",
        attention="segments" if on_cpu else "padded",
        deterministic=on_cpu,
        tolerance=TOLERANCES[chosen_dtype],
        reasons=reasons,
    )


def placement(numerics: Numerics) -> Placement:
    """Where the weights of a model with these numerics go."""
    kernels: dict[str, type[PlainLinear] | type[PackedLinear]] = {"plain": PlainLinear, "packed": PackedLinear}
    kernel = kernels[numerics.linear]

    def linear(weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
        return kernel(weight, bias)

    return Placement(TORCH_DTYPES[numerics.dtype], torch.device(numerics.device), linear)


def _device(asked: str) -> tuple[Device, str]:
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
        if asked == dtype:
            return dtype, f"dtype {dtype}: asked for"
    raise InvalidInput(
        f"dtype: {asked!r} is not one of auto, {', '.join(DTYPES)}", param="dtype", limit=["auto", *DTYPES], received=asked
    )
