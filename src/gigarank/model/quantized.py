"""Matrix products in 8 bits: weights by output channel, quantised once; activations by row, quantised as they come.

    y[r, c] = row_scale[r] * channel_scale[c] * sum over i of x[r, i] * w[c, i]        x, w whole numbers, the sum exact

Both are symmetric: no number is added that would have to be taken out again. oneDNN's product reads activations as unsigned
bytes around a zero point, since that is what every CPU's own instruction takes; signed ones fall back to a loop a hundred
times slower on all but AMX (docs/decisions/0006-int8-products.md). A CPU without VNNI adds pairs of products in 16 bits, which
overflow: there activations get 7 bits. Knows no layers. Invariant: a row's scale and bytes are its own, and whole numbers are
added without rounding, so a row of the result depends on that row alone, bitwise.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from gigarank.model.linear import Operand

WEIGHT_LEVELS = 127
_CHANNELS = 1_024  # taken at once, so that no whole matrix stands in memory in fp32
_SMALLEST = 1e-30  # a scale of a row or channel of zeros, so that nothing is divided by zero


@dataclass(frozen=True, slots=True)
class QuantizedMatrix:
    """A weight: `values` (out, in) int8, `scales` (out,) fp32; values * scales is the weight, to half a scale."""

    values: Tensor
    scales: Tensor


@dataclass(frozen=True, slots=True)
class QuantizedRows:
    """Activations: `values` (rows, in) uint8 around the zero point, `scales` (rows, 1) fp32."""

    values: Tensor
    scales: Tensor


def quantize(weight: Tensor) -> QuantizedMatrix:
    """Rounds a weight (out, in) to the nearest of its 255 levels a channel. A channel with NaN or infinity keeps it in its
    scale, so that no score computed with it is finite."""
    values, scales = torch.empty(weight.shape, dtype=torch.int8), torch.empty(len(weight))
    for start in range(0, len(weight), _CHANNELS):
        part = slice(start, start + _CHANNELS)
        wide = weight[part].float()
        scales[part] = wide.abs().amax(1).div_(WEIGHT_LEVELS).clamp_min_(_SMALLEST)
        values[part] = wide.div(scales[part, None]).round_().nan_to_num_(0.0).to(torch.int8)
    return QuantizedMatrix(values, scales)


class QuantizedLinear:
    """oneDNN's 8-bit product, packed once; results are fp32. What follows the product is done while it is in cache."""

    def __init__(self, matrix: QuantizedMatrix, bias: Tensor | None = None) -> None:
        self.weight = torch.ops.onednn.qlinear_prepack(matrix.values, None)
        self.scales = matrix.scales  # (out,)
        self.bias = bias  # (out,)
        self.levels = activation_levels()
        self._no_zeros = torch.zeros(len(matrix.scales), dtype=torch.int32)

    def prepare(self, x: Tensor) -> QuantizedRows:
        scales = x.abs().amax(1, keepdim=True).mul_(1 / self.levels).clamp_min_(_SMALLEST)  # (rows, 1)
        zero = self.levels + 1
        values = torch.addcmul(torch.full((), zero, dtype=x.dtype), x, scales.reciprocal()).round_().to(torch.uint8)
        return QuantizedRows(values, scales)

    def __call__(self, x: Operand) -> Tensor:
        rows = self._read(x)
        return self._scaled(rows)

    def silu(self, x: Operand) -> Tensor:
        return F.silu(self(x), inplace=True)

    def times(self, x: Operand, factor: Tensor) -> Tensor:
        return self(x).mul_(factor)

    def plus(self, x: Operand, residual: Tensor) -> Tensor:
        rows = self._read(x)
        if self.bias is not None:
            return residual.add_(self._scaled(rows))
        return residual.addcmul_(self._product(rows.values), rows.scales)

    def _read(self, x: Operand) -> QuantizedRows:
        return x if isinstance(x, QuantizedRows) else self.prepare(x)

    def _scaled(self, rows: QuantizedRows) -> Tensor:
        product = self._product(rows.values).mul_(rows.scales)
        return product if self.bias is None else product.add_(self.bias)

    def _product(self, values: Tensor) -> Tensor:
        """(rows, out), without the rows' scales."""
        return _multiply(values, self.levels + 1, self.weight, self.scales, self._no_zeros)


def quantized_available() -> bool:
    """Whether this build of torch has the 8-bit product."""
    return bool(torch._C._has_mkldnn) and hasattr(torch.ops.onednn, "qlinear_pointwise")


@cache
def activation_levels() -> int:
    """127, or 63 where this CPU's product overflows at 127: tried with the largest numbers there are."""
    inputs, outputs = 256, 64
    values = torch.full((16, inputs), 255, dtype=torch.uint8)
    weight = torch.ops.onednn.qlinear_prepack(torch.full((outputs, inputs), WEIGHT_LEVELS, dtype=torch.int8), None)
    found = _multiply(values, 128, weight, torch.ones(outputs), torch.zeros(outputs, dtype=torch.int32))
    return 127 if bool((found == WEIGHT_LEVELS * 127 * inputs).all()) else 63


def _multiply(values: Tensor, zero: int, weight: Tensor, scales: Tensor, no_zeros: Tensor) -> Tensor:
    result: Tensor = torch.ops.onednn.qlinear_pointwise(
        values, 1.0, zero, weight, scales, no_zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return result
