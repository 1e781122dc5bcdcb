"""Matrix products with a weight, in two kernels that compute the same: `PlainLinear` and `PackedLinear`. A third, in 8 bits,
is gigarank.model.quantized's.

Packed weights are laid out once for oneDNN's CPU kernels, which also apply what follows the product (SiLU, a factor, a
residual) while the result is in cache. Knows no layers. Invariant: a row of the result depends on that row of the input
alone, bitwise, whenever the number of rows is a multiple of `ROW_MULTIPLE` (docs/decisions/0003-packed-linear-kernel.md), but
for bf16 on a CPU with AMX and for MKL's plain products on some CPUs with several threads: `is_row_invariant` tells.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

ROW_MULTIPLE = 16
Operand = Any
"""Rows (rows, in) that a product reads: a tensor, or what the `prepare` of a product of the same kind made of it."""


class Linear(Protocol):
    """x (rows, in) to (rows, out)."""

    def prepare(self, x: Tensor) -> Operand:
        """x as this product reads it, and any other of the same kind and width: made once for those that read the same."""
        ...

    def __call__(self, x: Operand) -> Tensor: ...

    def silu(self, x: Operand) -> Tensor:
        """silu(product)."""
        ...

    def times(self, x: Operand, factor: Tensor) -> Tensor:
        """product * factor, elementwise; may overwrite `factor`."""
        ...

    def plus(self, x: Operand, residual: Tensor) -> Tensor:
        """product + residual; may overwrite `residual`."""
        ...


class PlainLinear:
    """torch's own product. Keeps the weight as it is given, memory-mapped or not."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight = weight  # (out, in)
        self.bias = bias  # (out,)

    def prepare(self, x: Tensor) -> Tensor:
        return x

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def silu(self, x: Tensor) -> Tensor:
        return F.silu(self(x), inplace=True)

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        return self(x).mul_(factor)

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        return residual.add_(self(x))


class PackedLinear:
    """oneDNN's product on a weight packed once. In fp32 the following operation is fused into it; in bf16 it is not, so that
    every rounding stays where transformers has it."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        self.bias = bias
        self.fused = weight.dtype == torch.float32

    def prepare(self, x: Tensor) -> Tensor:
        return x

    def __call__(self, x: Tensor) -> Tensor:
        return self._run(x, "none")

    def silu(self, x: Tensor) -> Tensor:
        return self._run(x, "swish") if self.fused else F.silu(self(x), inplace=True)

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        return self._run_binary(x, factor, "mul") if self.fused else self(x).mul_(factor)

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        return self._run_binary(x, residual, "add") if self.fused else residual.add_(self(x))

    def _run(self, x: Tensor, activation: str) -> Tensor:
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, activation, [], "")
        return result

    def _run_binary(self, x: Tensor, other: Tensor, operation: str) -> Tensor:
        result: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, operation)
        return result


def packed_available(dtype: torch.dtype) -> bool:
    """Whether this build of torch and this CPU have the packed kernel for `dtype`."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch._C._has_mkldnn:
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@cache
def is_row_invariant(kernel: Callable[[Tensor], Linear], dtype: torch.dtype) -> bool:
    """Whether some rows of a product are, bitwise, those of a product of fewer rows: tried where kernels change."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(_TRIED[-1], 1_024, generator=generator).to(dtype)
    product = kernel(torch.randn(256, 1_024, generator=generator).to(dtype))
    whole = product(rows)
    return all(torch.equal(product(rows[:count].contiguous()), whole[:count]) for count in _TRIED)


_TRIED = (ROW_MULTIPLE, 64, 144, 512)
