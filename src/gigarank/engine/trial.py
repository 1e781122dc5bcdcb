"""Whether a loaded model may be served: it computes something sound, or its requests are told what is wrong.

Knows loaded models; no names, no requests. Invariant: a model that returns from `require_sound` has given finite scores, or
vectors, that tell different texts apart.
"""

import numpy as np

from gigarank.engine import selftest
from gigarank.engine.embedder import Embedder
from gigarank.engine.reranker import Reranker
from gigarank.errors import CheckpointError, NonFiniteScore

_TEXTS = tuple(selftest.QWEN3_0_6B.documents)
_SAME = 1e-6  # two unit vectors this near in every number are one


def require_sound(model: Reranker | Embedder) -> None:
    """Raises CheckpointError that says which check failed, and how."""
    if isinstance(model, Reranker):
        failed = [f"{check.name}: {check.detail}" for check in selftest.run(model).checks if not check.passed]
    else:
        failed = _embedder_faults(model)
    if failed:
        raise CheckpointError(f"{model.name}: the self-test failed: {'; '.join(failed)}", param="model", received=model.name)


def _embedder_faults(model: Embedder) -> list[str]:
    """Finite vectors of length 1, different ones for different texts, and the same for a text alone."""
    try:
        vectors, alone = model.embed(documents=_TEXTS), model.embed(documents=_TEXTS[:1])  # (4, hidden_size), (1, hidden_size)
    except NonFiniteScore as error:
        return [f"vectors: {error.message}"]
    faults = []
    if not np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3):
        faults.append("vectors: not of length 1")
    if any(np.abs(one - other).max() <= _SAME for row, one in enumerate(vectors) for other in vectors[row + 1 :]):
        faults.append("vectors: different texts have the same vector")
    allowed = 0.0 if model.numerics.deterministic else model.numerics.tolerance
    if (difference := float(np.abs(vectors[:1] - alone).max())) > allowed:
        faults.append(f"batch independence: a text alone differs by {difference:.2g}, allowed {allowed:g}")
    return faults
