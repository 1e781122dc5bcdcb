"""The small mathematics of a decoder layer: RMSNorm and rotary positions, in transformers' order of rounding.

Knows no weights' names and no batches. Invariant: every function maps rows to rows; none mixes two.
"""

import torch
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float, out: Tensor | None = None) -> Tensor:
    """x / rms(x) * weight over the last dimension. In half precision the mean is taken in fp32 and the normalised value is
    rounded before the weight is applied, as transformers does. `out`, which may be x itself, is written where it is given:
    memory that is in cache already costs a third of new memory."""
    wide = x if x.dtype == torch.float64 else x.float()
    norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    scale = norm.mul_(norm).div_(x.shape[-1]).add_(eps).rsqrt_()
    if x.element_size() >= 4:
        return torch.mul(wide, scale, out=out).mul_(weight)
    normalised: Tensor = (wide * scale).to(x.dtype)
    return normalised.mul_(weight)


RotaryRows = tuple[Tensor, Tensor]
"""Cosines and sines of some rows, (rows, 1, head_dim / 2) each."""


class Rotary:
    """The table of cosines and sines of rotary positions, computed once in fp32 as transformers does.

    The table has a fixed size: a cosine must not depend on how many were computed beside it.
    """

    def __init__(self, head_dim: int, theta: float, positions: int, dtype: torch.dtype, device: torch.device) -> None:
        exponents = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
        frequencies = 1.0 / (theta**exponents)  # (head_dim / 2,)
        angles = torch.arange(positions).float()[:, None] * frequencies  # (positions, head_dim / 2)
        self.cos = angles.cos().to(device, dtype)
        self.sin = angles.sin().to(device, dtype)

    def at(self, positions: Tensor) -> RotaryRows:
        """Cosines and sines (rows, 1, head_dim / 2) for positions (rows,)."""
        return self.cos[positions][:, None], self.sin[positions][:, None]


def rotate(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Writes x (rows, heads, head_dim) turned by its position to `out`: the halves of a head are the two coordinates.

    In half precision both products are rounded before they are added, as in transformers; else they are fused.
    """
    left, right = x.chunk(2, dim=-1)
    out_left, out_right = out.chunk(2, dim=-1)
    torch.mul(left, cos, out=out_left)
    torch.mul(right, cos, out=out_right)
    if x.element_size() < 4:
        out_left.sub_(right * sin)
        out_right.add_(left * sin)
    else:
        out_left.addcmul_(right, sin, value=-1)
        out_right.addcmul_(left, sin)
