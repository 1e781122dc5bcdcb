"""Two scores of the same candidates as one: the reranker's and the first stage's.

Knows numbers only. Invariant: the order of the fused scores does not depend on either score's unit or zero.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gigarank.errors import InvalidInput
from gigarank.types import Score


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


def check_first_stage(scores: Sequence[float], weight: float, documents: int) -> None:
    """Raises InvalidInput unless there is one finite score a document and a weight from 0 on."""
    received = len(scores)
    if received != documents:
        raise InvalidInput(
            f"first_stage_scores: one a document is needed, {documents} in all, not {received}",
            param="first_stage_scores",
            limit=documents,
            received=received,
        )
    for place, score in enumerate(scores):
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise InvalidInput(
                f"first_stage_scores[{place}]: must be a finite number, not {score!r:.40}",
                param=f"first_stage_scores[{place}]",
                received=repr(score)[:40],
            )
    if not 0 <= weight < math.inf:
        raise InvalidInput(
            f"first_stage_weight: must be a number from 0 on, not {weight}",
            param="first_stage_weight",
            limit=0,
            received=str(weight),
        )


def with_fused(scores: Sequence[Score], first_stage: Sequence[float], weight: float) -> list[Score]:
    """The scores with `fused` filled in; they may be fewer than the first stage's, whose places their `index` gives."""
    theirs = [first_stage[score.index] for score in scores]
    sums = fuse([score.logit for score in scores], theirs, weight)
    return [replace(score, fused=fused) for score, fused in zip(scores, sums, strict=True)]


def order_key(score: Score) -> float:
    """What a ranking is ordered by, best highest."""
    return score.logit if score.fused is None else score.fused
