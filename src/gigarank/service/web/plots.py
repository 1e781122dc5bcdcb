"""Bars as numbers: where each stands and how long it is; a template draws them as SVG.

Knows no model and no markup. Invariant: a bar's length is in proportion to its value, from zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

ROW, GAP, LABEL, WIDTH, VALUE = 18.0, 14.0, 200.0, 720.0, 60.0
"""Of a bar, between groups, of the labels at the left, of all, of the values at the right; in SVG's units."""


@dataclass(frozen=True, slots=True)
class Bar:
    """`kind`: a class of app.css."""

    name: str
    value: float
    kind: str
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0

    @property
    def end(self) -> float:
        return max(self.x + self.width, self.x)


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    y: float
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """`description` says in words what the bars show."""

    title: str
    description: str
    width: float
    height: float
    label: float
    groups: tuple[Group, ...]


def bars(title: str, description: str, groups: Sequence[tuple[str, Sequence[Bar]]], most: float) -> Plot:
    """`most`: the value whose bar is as long as there is room. Values below zero have no bar."""
    room, top, placed = WIDTH - LABEL - VALUE, 0.0, []
    for name, given in groups:
        made = tuple(
            Bar(one.name, one.value, one.kind, LABEL, top + row * ROW, room * max(0.0, one.value) / most)
            for row, one in enumerate(given)
        )
        placed.append(Group(name, top + len(given) * ROW / 2, made))
        top += len(given) * ROW + GAP
    return Plot(title, description, WIDTH, max(top - GAP, ROW), LABEL, tuple(placed))
