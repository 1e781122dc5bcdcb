"""Which documents of each query the reranker reads: the set's own candidates, a search's, or a run file's.

Found once and kept by fingerprint. Knows sets and searches; no reranker. Invariants: a query's candidates are in the first
stage's order, best first, each with its score; the same set, first stage, depth and queries give the same candidates.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gigarank.engine import bm25
from gigarank.errors import InvalidInput
from gigarank.evaluation import dense
from gigarank.evaluation.sets import EvalSet, Run
from gigarank.evaluation.store import write_whole
from gigarank.evaluation.trec import escaped
from gigarank.types import Progress

Candidates = dict[str, list[tuple[str, float]]]
"""query id -> (document id, the first stage's score), best first."""


class FirstStage(Protocol):
    """What finds candidates. `options` is everything that its answer depends on beside the set; `scores` whose score it is."""

    @property
    def name(self) -> str: ...

    @property
    def scores(self) -> str: ...

    @property
    def options(self) -> str: ...

    def find(self, evaluation_set: EvalSet, queries: Sequence[str], top_k: int) -> Candidates: ...


class OwnCandidates:
    """The set's own, the first `top_k` in its file's order, then ordered by BM25's score: of themselves they have none."""

    name = "own"
    scores = "bm25"

    @property
    def options(self) -> str:
        return bm25.options()

    def find(self, evaluation_set: EvalSet, queries: Sequence[str], top_k: int) -> Candidates:
        """Raises InvalidInput for a set without candidates."""
        own = evaluation_set.candidates
        if own is None:
            raise InvalidInput(
                f"{evaluation_set.name}: the set has no candidates of its own; choose a first stage such as bm25",
                param="first_stage",
                received=self.name,
            )
        ids = list(evaluation_set.corpus)
        places = {document: place for place, document in enumerate(ids)}
        index = bm25.Bm25([evaluation_set.corpus[document].passage for document in ids])
        found: Candidates = {}
        for query in queries:
            scores = index.scores(evaluation_set.queries[query].text)
            cut = [(document, float(scores[places[document]])) for document in own.get(query, ())[:top_k]]
            found[query] = sorted(cut, key=lambda one: -one[1])
        return found


class Bm25Search:
    """The whole corpus, searched by BM25."""

    name = "bm25"
    scores = "bm25"

    @property
    def options(self) -> str:
        return bm25.options()

    def find(self, evaluation_set: EvalSet, queries: Sequence[str], top_k: int) -> Candidates:
        ids = list(evaluation_set.corpus)
        index = bm25.Bm25([evaluation_set.corpus[document].passage for document in ids])
        return {query: _named(index.search(evaluation_set.queries[query].text, top_k), ids) for query in queries}


@dataclass
class DenseSearch:
    """The whole corpus, searched by an embedder's vectors, which are kept in `folder`; the model is loaded once needed."""

    name: str
    load: Callable[[], dense.Embeds]
    folder: Path
    progress: Progress | None = None
    _embedder: dense.Embeds | None = None

    @property
    def scores(self) -> str:
        return self.name

    @property
    def embedder(self) -> dense.Embeds:
        if self._embedder is None:
            self._embedder = self.load()
        return self._embedder

    @property
    def options(self) -> str:
        return f"{self.name} {dense.dense_key(self.embedder)} inner product, exact"

    def find(self, evaluation_set: EvalSet, queries: Sequence[str], top_k: int) -> Candidates:
        """Queries are read behind the set's instruction as their task; those with one of their own behind that."""
        ids = list(evaluation_set.corpus)
        documents = [evaluation_set.corpus[document].passage for document in ids]
        vectors = dense.document_vectors(self.embedder, documents, self.folder, self.progress)
        found: Candidates = {}
        for task, asked in _by_task(evaluation_set, queries).items():
            texts = [evaluation_set.queries[query].text for query in asked]
            near = dense.nearest(vectors, self.embedder.embed(queries=texts, task=task), top_k)
            found |= {query: _named(one, ids) for query, one in zip(asked, near, strict=True)}
        return {query: found[query] for query in queries}


@dataclass(frozen=True)
class RunFile:
    """What another system found, by its TREC run. Queries that the run leaves out have no candidates."""

    path: Path
    run: Run
    name: str = "run"
    scores: str = "run"

    @property
    def options(self) -> str:
        return hashlib.sha256(json.dumps(self.run, sort_keys=True).encode()).hexdigest()

    def find(self, evaluation_set: EvalSet, queries: Sequence[str], top_k: int) -> Candidates:
        """Raises InvalidInput for a document that the set does not hold, or a run about other queries."""
        documents = {escaped(document): document for document in evaluation_set.corpus}
        found = {}
        for query in queries:
            ranked = sorted(self.run.get(escaped(query), {}).items(), key=lambda one: -one[1])[:top_k]
            for document, _ in ranked:
                if document not in documents:
                    raise self._refusal(f"query {query} names document {document}, which {evaluation_set.name} does not hold")
            found[query] = [(documents[document], score) for document, score in ranked]
        if queries and not any(found.values()):
            raise self._refusal(f"names no query of {evaluation_set.name}")
        return found

    def _refusal(self, said: str) -> InvalidInput:
        return InvalidInput(f"{self.path}: {said}", param="first_stage", received=str(self.path))


def find_candidates(
    evaluation_set: EvalSet, stage: FirstStage, queries: Sequence[str], top_k: int, folder: Path | None
) -> Candidates:
    """The candidates of these queries, from `folder` where they were found before (None: nothing is kept)."""
    if folder is None:
        return stage.find(evaluation_set, queries, top_k)
    asked = [evaluation_set.name, evaluation_set.fingerprint, stage.name, stage.options, top_k, list(queries)]
    path = folder / f"{digest(asked)}.json"
    if (kept := _kept(path)) is not None:
        return kept
    found = stage.find(evaluation_set, queries, top_k)
    write_whole(path, json.dumps(found))
    return found


def digest(value: Any) -> str:
    """The sha256 of a JSON value, the same for equal values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _kept(path: Path) -> Candidates | None:
    try:
        value: Mapping[str, Iterable[tuple[str, float]]] = json.loads(path.read_text(encoding="utf-8"))
        return {query: [(document, score) for document, score in found] for query, found in value.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # not there, or not whole: found again


def _named(found: Sequence[tuple[int, float]], ids: Sequence[str]) -> list[tuple[str, float]]:
    return [(ids[place], score) for place, score in found]


def _by_task(evaluation_set: EvalSet, queries: Sequence[str]) -> dict[str | None, list[str]]:
    grouped: dict[str | None, list[str]] = {}
    for query in queries:
        own = evaluation_set.queries[query].instruction
        grouped.setdefault(evaluation_set.instruction if own is None else own, []).append(query)
    return grouped
