"""Hard negatives: what a first stage finds for a query and nobody marked as its answer.

Candidates come from BM25 and from an embedding model that the caller passes in, taken in turn. A candidate that a judge gives
more than the worst positive plus a margin is a false negative, most likely, and left out (arXiv 2506.05176 uses a margin of
0.1). Knows rows and texts, no model of its own. Invariant: no mined negative equals a document of its row.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gigarank.engine import bm25
from gigarank.errors import InvalidInput
from gigarank.training.rows import Row

Vectors = npt.NDArray[np.float32]
_BATCH = 256  # rows searched together


class Searches(Protocol):
    """A first stage over one corpus."""

    def search(self, queries: Sequence[str], top_k: int) -> list[list[int]]:
        """Places in the corpus, best first, a list for each query."""
        ...


class Judges(Protocol):
    """Says how well a document answers, from 0 to 1: a reranker's probability, or a cosine."""

    def judge(self, row: Row, documents: Sequence[str]) -> Sequence[float]: ...


class Embeds(Protocol):
    """gigarank's Embedder, or anything that answers as it does: vectors (n, dimensions) of length 1."""

    def embed(
        self, queries: Sequence[str] | None = None, documents: Sequence[str] | None = None, *, task: str | None = None
    ) -> Vectors: ...


class Bm25:
    """The engine's BM25 over a corpus."""

    def __init__(self, corpus: Sequence[str]) -> None:
        self._index = bm25.Bm25(corpus)

    def search(self, queries: Sequence[str], top_k: int) -> list[list[int]]:
        return [[place for place, _ in self._index.search(query, top_k)] for query in queries]


class Dense:
    """Cosine search with an embedding model, exact."""

    def __init__(self, corpus: Sequence[str], model: Embeds) -> None:
        self._model = model
        self._vectors = model.embed(documents=list(corpus))

    def search(self, queries: Sequence[str], top_k: int) -> list[list[int]]:
        cosines = self._model.embed(queries=list(queries)) @ self._vectors.T
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :top_k]
        return [[int(place) for place in row] for row in best]


class CosineJudge:
    """An embedding model as the judge."""

    def __init__(self, model: Embeds) -> None:
        self._model = model

    def judge(self, row: Row, documents: Sequence[str]) -> Sequence[float]:
        query = self._model.embed(queries=[row.query], task=row.instruction)
        return [float(cosine) for cosine in (query @ self._model.embed(documents=list(documents)).T)[0]]


@dataclass(frozen=True, slots=True)
class MiningOptions:
    """`negatives` a row in all, those that it has included. The best `skip` candidates of each first stage are left out,
    and those behind `depth` are not looked at. `margin`: how far above the worst positive a negative may be judged."""

    negatives: int = 7
    depth: int = 50
    skip: int = 0
    margin: float = 0.1

    def __post_init__(self) -> None:
        if self.negatives < 1 or self.skip < 0:
            message = f"negatives: at least 1, not {self.negatives}; skip: at least 0, not {self.skip}"
            raise InvalidInput(message, param="negatives", limit=1, received=self.negatives)
        if self.depth <= self.skip:
            raise InvalidInput(
                f"depth: {self.depth} leaves nothing behind the first {self.skip} that are skipped",
                param="depth",
                limit=self.skip + 1,
                received=self.depth,
            )


@dataclass(slots=True)
class MiningReport:
    """`false_negatives` were found and left out by the judge; `short` rows got fewer negatives than asked for."""

    rows: int = 0
    mined: int = 0
    false_negatives: int = 0
    short: int = 0


def mine(
    rows: Iterable[Row],
    corpus: Sequence[str],
    stages: Sequence[Searches],
    options: MiningOptions,
    report: MiningReport,
    judge: Judges | None = None,
) -> Iterator[Row]:
    """The rows with negatives from the corpus behind their own documents, streamed."""
    if not corpus or not stages:
        missing = "corpus" if not corpus else "stages"
        raise InvalidInput(f"{missing}: empty, so that nothing can be mined", param=missing, limit=1, received=0)
    waiting = iter(rows)
    while batch := list(islice(waiting, _BATCH)):
        found = [stage.search([row.query for row in batch], options.depth) for stage in stages]
        for row, *lists in zip(batch, *found, strict=True):
            yield _mined(row, [corpus[place] for place in _in_turn(lists, options.skip)], options, report, judge)


def corpus_of(rows: Iterable[Row]) -> list[str]:
    """All documents of rows, each once, in their order: the corpus where no other is given."""
    return list(dict.fromkeys(document for row in rows for document in row.documents))


def _mined(row: Row, candidates: Sequence[str], options: MiningOptions, report: MiningReport, judge: Judges | None) -> Row:
    own = {document.strip() for document in row.documents} | {row.query.strip()}
    new = [text for text in dict.fromkeys(candidates) if text.strip() not in own]
    if judge is not None and new:
        new = _true_negatives(row, new, options.margin, report, judge)
    wanted = max(options.negatives - sum(label <= 0 for label in row.labels), 0)
    taken = tuple(new[:wanted])
    report.rows += 1
    report.mined += len(taken)
    report.short += len(taken) < wanted
    return replace(
        row,
        documents=row.documents + taken,
        labels=row.labels + (0.0,) * len(taken),
        scores=None if row.scores is None else row.scores + (None,) * len(taken),
    )


def _true_negatives(row: Row, texts: list[str], margin: float, report: MiningReport, judge: Judges) -> list[str]:
    positives = [document for document, label in zip(row.documents, row.labels, strict=True) if label > 0]
    judged = judge.judge(row, [*positives, *texts])
    most = min(judged[: len(positives)], default=float("inf")) + margin
    kept = [text for text, score in zip(texts, judged[len(positives) :], strict=True) if score <= most]
    report.false_negatives += len(texts) - len(kept)
    return kept


def _in_turn(lists: Sequence[Sequence[int]], skip: int) -> list[int]:
    """Every list's first, then every list's second, each place once."""
    turns = zip_longest(*(found[skip:] for found in lists))
    return list(dict.fromkeys(place for turn in turns for place in turn if place is not None))
