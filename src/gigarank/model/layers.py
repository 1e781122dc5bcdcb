"""The small mathematics of a decoder layer: RMSNorm and rotary positions, in transformers' order of rounding.

Knows no weights' names and no batches. Invariant: every function maps rows to rows; none mixes two.
"""

from dataclasses import dataclass
from typing import Protocol

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


def stands_in_pairs(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether queries and keys have the two coordinates that a rotation mixes side by side, and not half a head apart as in the
    checkpoint: torch then turns them as complex numbers, in one pass. It has no complex numbers in half precision."""
    return device.type == "cpu" and dtype in (torch.float32, torch.float64)


def in_pairs(rows: Tensor, head_dim: int) -> Tensor:
    """A projection's rows (heads * head_dim, ...) or a head's weight (head_dim,), each half's first row first, then the second
    ones: the order in which they stand in pairs. Both sides of q k have it, so that the product is the same sum."""
    return rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:]).transpose(1, 2).reshape(rows.shape)


class Turn(Protocol):
    """The rotations of some rows."""

    def __getitem__(self, rows: slice | Tensor) -> "Turn": ...

    def apply(self, x: Tensor, out: Tensor) -> None:
        """Writes x (rows, heads, head_dim), turned by its positions, to `out`."""
        ...


@dataclass(frozen=True, slots=True)
class HalfTurn:
    """Cosines and sines, (rows, 1, head_dim / 2) each, of heads whose halves are the two coordinates. In half precision both
    products are rounded before they are added, as in transformers; else they are fused."""

    cos: Tensor
    sin: Tensor

    def __getitem__(self, rows: slice | Tensor) -> "HalfTurn":
        return HalfTurn(self.cos[rows], self.sin[rows])

    def apply(self, x: Tensor, out: Tensor) -> None:
        left, right = x.chunk(2, dim=-1)
        out_left, out_right = out.chunk(2, dim=-1)
        torch.mul(left, self.cos, out=out_left)
        torch.mul(right, self.cos, out=out_right)
        if x.element_size() < 4:
            out_left.sub_(right * self.sin)
            out_right.add_(left * self.sin)
        else:
            out_left.addcmul_(right, self.sin, value=-1)
            out_right.addcmul_(left, self.sin)


@dataclass(frozen=True, slots=True)
class PairTurn:
    """Complex numbers of length 1, (rows, 1, head_dim / 2), for heads that stand in pairs."""

    phases: Tensor

    def __getitem__(self, rows: slice | Tensor) -> "PairTurn":
        return PairTurn(self.phases[rows])

    def apply(self, x: Tensor, out: Tensor) -> None:
        turned, given = (torch.view_as_complex(part.view(*part.shape[:-1], -1, 2)) for part in (out, x))
        torch.mul(given, self.phases, out=turned)


class Rotary:
    """The table of cosines and sines of rotary positions, computed once in fp32 as transformers does.

    The table has a fixed size: a cosine must not depend on how many were computed beside it.
    """

    def __init__(self, head_dim: int, theta: float, positions: int, dtype: torch.dtype, device: torch.device) -> None:
        exponents = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
        frequencies = 1.0 / (theta**exponents)  # (head_dim / 2,)
        angles = torch.arange(positions).float()[:, None, None] * frequencies  # (positions, 1, head_dim / 2)
        cos, sin = angles.cos().to(device, dtype), angles.sin().to(device, dtype)
        self._table: Turn = PairTurn(torch.complex(cos, sin)) if stands_in_pairs(dtype, device) else HalfTurn(cos, sin)

    def at(self, positions: Tensor) -> Turn:
        """The rotations of positions (rows,)."""
        return self._table[positions]
