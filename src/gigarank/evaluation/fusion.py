"""Two scores of the same candidates as one: the reranker's and the first stage's.

Knows numbers only. Invariant: the order of the fused scores does not depend on either score's unit or zero.
"""

from collections.abc import Sequence

import numpy as np

from gigarank.errors import InvalidInput


def standardise(scores: Sequence[float]) -> list[float]:
    """Scores of one query's candidates with mean 0 and standard deviation 1; all 0 where they do not differ."""
    values = np.asarray(scores, dtype=np.float64)
    spread = float(values.std()) if values.size else 0.0
    if spread <= 1e-12 * max(1.0, float(np.abs(values).max(initial=0.0))):
        return [0.0] * len(scores)
    return [float(value) for value in (values - values.mean()) / spread]


def fuse(reranked: Sequence[float], first_stage: Sequence[float], weight: float = 1.0) -> list[float]:
    """z(reranked) + `weight` * z(first stage), candidate by candidate. Raises InvalidInput."""
    if not 0 <= weight < float("inf"):
        raise InvalidInput(f"weight: must be a number from 0 on, not {weight}", param="weight", limit=0, received=weight)
    pairs = zip(standardise(reranked), standardise(first_stage), strict=True)
    return [ours + weight * theirs for ours, theirs in pairs]
