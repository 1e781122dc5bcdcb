"""Columns as numbers: where each stands and how high it is; a template draws them as SVG.

Knows no money and no markup. Invariant: a column's height is in proportion to its value, from zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720.0, 150.0
_FILLED = 0.75  # of a column's room


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    value: int
    x: float
    y: float
    width: float
    height: float


def columns(pairs: Sequence[tuple[str, int]]) -> tuple[Column, ...]:
    """`pairs`: names and values, none below zero, from left to right."""
    room, most = WIDTH / max(1, len(pairs)), max((value for _, value in pairs), default=0)
    heights = [HEIGHT * value / most if most else 0.0 for _, value in pairs]
    return tuple(
        Column(name, value, (index + (1 - _FILLED) / 2) * room, HEIGHT - height, _FILLED * room, height)
        for index, ((name, value), height) in enumerate(zip(pairs, heights, strict=True))
    )
