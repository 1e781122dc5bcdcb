"""From measured requests, each alone, to costs: least squares of their relative errors. Measures nothing itself.

Invariant: no cost is negative; what the measurements put below zero is left out, and the rest is fitted again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from gigarank.catalogue import Shape
from gigarank.cluster.capacity.costs import Costs, reach_operations, row_operations, size_of
from gigarank.engine.plan import Limits, Piece, make_plan
from gigarank.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Timed:
    """A request that ran alone: `model_s` from its first batch to its last, `total_s` as its client saw it."""

    pieces: tuple[Piece, ...]
    model_s: float
    total_s: float

    @property
    def documents(self) -> int:
        return sum(piece.wanted for piece in self.pieces)


def fit(timed: Sequence[Timed], shape: Shape, limits: Limits) -> Costs:
    """Needs two sizes of requests at least; raises InvalidInput. What attention costs beside the products is taken from the
    shape's arithmetic: rows and what they attend to grow together, so that times do not tell them apart."""
    sizes = [_sizes(one.pieces, limits) for one in timed]
    if len(set(sizes)) < 2:
        raise InvalidInput("calibration: needs requests of two sizes at least", param="calibration", received=len(timed))
    share = reach_operations(shape) / row_operations(shape)
    weighed = [(batches, rows + share * reach) for batches, rows, reach in sizes]
    batch_s, token_s = solve(weighed, [one.model_s for one in timed])
    outside = [(1.0, float(one.documents)) for one in timed]
    request_s, document_s = solve(outside, [max(1e-6, one.total_s - one.model_s) for one in timed])
    return Costs(shape.num_hidden_layers, batch_s, token_s, share * token_s, request_s, document_s)


def with_speeds(costs: Costs, together: Sequence[Sequence[Timed]], limits: Limits) -> Costs:
    """`together[k - 1]`: requests that ran while k replicas of one machine computed without a pause."""
    return replace(costs, speeds=tuple(_speed(costs, timed, limits) for timed in together))


def _speed(costs: Costs, timed: Sequence[Timed], limits: Limits) -> float:
    return median(costs.model_s(one.pieces, limits) / one.model_s for one in timed)


def _sizes(pieces: Sequence[Piece], limits: Limits) -> tuple[float, float, float]:
    """Batches, rows and reach of all of a request's batches."""
    each = [size_of(((batch, pieces),)) for batch in make_plan(pieces, limits)]
    return float(len(each)), float(sum(size.rows for size in each)), float(sum(size.reach for size in each))


def solve(rows: Sequence[tuple[float, ...]], values: Sequence[float]) -> list[float]:
    """Factors of the columns, none below zero, that are nearest to the values, each weighed by itself."""
    matrix = np.array(rows) / np.array(values)[:, None]
    used = list(range(matrix.shape[1]))
    while used:
        found, *_ = np.linalg.lstsq(matrix[:, used], np.ones(len(values)), rcond=None)
        if (found >= 0.0).all():
            return [float(found[used.index(column)]) if column in used else 0.0 for column in range(matrix.shape[1])]
        del used[int(np.argmin(found * matrix[:, used].mean(axis=0)))]
    return [0.0] * matrix.shape[1]
