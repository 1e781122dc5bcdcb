"""BM25 over a set's documents, by bm25s: the first stage that needs no model.

k1 0.9 and b 0.4, as Anserini's. Knows texts as `words` cuts them. Invariant: the same documents and query give the same scores,
and equal scores keep the documents' order.
"""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from gigarank.engine.words import VERSION, words
from gigarank.errors import InvalidInput

try:
    import bm25s
except ImportError as error:
    raise InvalidInput("BM25 needs the package bm25s: pip install bm25s", param="first_stage") from error

K1, B = 0.9, 0.4


def options() -> str:
    """Everything that the scores depend on beside the texts."""
    return f"bm25s {version('bm25s')} lucene k1={K1} b={B} {VERSION}"


class Bm25:
    """An index of documents, kept in memory."""

    def __init__(self, documents: Sequence[str]) -> None:
        self._count = len(documents)
        terms = [words(document) for document in documents]
        self._index = bm25s.BM25(k1=K1, b=B) if any(terms) else None
        if self._index is not None:
            self._index.index(terms, show_progress=False)

    def scores(self, query: str) -> npt.NDArray[np.float32]:
        """One score a document, 0 where they share no word. A term that stands twice in the query counts twice."""
        known = [] if self._index is None else self._index.get_tokens_ids(words(query))
        if self._index is None or not known:
            return np.zeros(self._count, dtype=np.float32)
        found: npt.NDArray[np.float32] = self._index.get_scores_from_ids(known)
        return found

    def search(self, query: str, top_k: int) -> list[tuple[int, float]]:
        """At most `top_k` documents that share a word with the query, best first, each with its score."""
        scores = self.scores(query)
        best = np.argsort(-scores, kind="stable")[:top_k]
        return [(int(index), float(scores[index])) for index in best if scores[index] > 0]
