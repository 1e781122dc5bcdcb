"""Whether two systems differ on the same queries: the paired bootstrap over queries (Efron and Tibshirani, 1993).

Knows numbers only. Invariant: the same values, samples and seed give the same interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gigarank.errors import InvalidInput

CONFIDENCE = 0.95
_DRAWN_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Interval:
    """The mean of a - b, its 95% percentile interval, and the two-sided p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float
    significant: bool


def bootstrap(a: Sequence[float], b: Sequence[float], *, samples: int = 10_000, seed: int = 0) -> Interval:
    """Compares values of the same queries in the same order. `samples`: how often the queries are drawn anew.

    The p-value is twice the smaller share of samples on one side of 0, never below 2 / (samples + 1). Raises InvalidInput.
    """
    if len(a) != len(b) or not a:
        received = (len(a), len(b))
        raise InvalidInput("bootstrap: as many values of a as of b are needed, at least one", param="values", received=received)
    if samples < 1:
        raise InvalidInput(f"samples: must be at least 1, not {samples}", param="samples", limit=1, received=samples)
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if not np.isfinite(differences).all():
        raise InvalidInput("bootstrap: every value must be finite", param="values")
    means = _means(differences, samples, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    smaller = min(int(np.count_nonzero(means <= 0)), int(np.count_nonzero(means >= 0)))
    p_value = min(1.0, 2 * (smaller + 1) / (samples + 1))
    return Interval(float(differences.mean()), float(low), float(high), p_value, p_value < 1 - CONFIDENCE)


def _means(differences: npt.NDArray[np.float64], samples: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """The means of `samples` draws with replacement, drawn in blocks that bound the memory."""
    count = differences.size
    block = max(1, _DRAWN_AT_ONCE // count)
    drawn = [
        differences[random.integers(0, count, size=(min(block, samples - done), count))].mean(axis=1)
        for done in range(0, samples, block)
    ]
    return np.concatenate(drawn)
