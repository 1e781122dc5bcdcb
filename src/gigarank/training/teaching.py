"""A teacher's scores for rows, and several teachers' as one: what distillation learns from.

What a teacher said goes into a journal, a line a row, so that a run that was ended goes on where it was, and another mix of the
same teachers asks nothing again. Knows rows and the engine's reranker; other teachers by what they promise. Invariant: the
rows' texts, labels and order stay; a row's scores are one a document.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from gigarank.engine import bm25
from gigarank.engine.fusion import standardise
from gigarank.engine.reranker import Reranker
from gigarank.errors import InvalidInput, NonFiniteScore
from gigarank.training.lines import cut_torn_line, read_lines
from gigarank.training.mining import Embeds, corpus_of
from gigarank.training.rows import Row
from gigarank.types import Pair, Progress

CHUNK = 32
"""Rows that are taught together and reach the disk together."""


class Teaches(Protocol):
    """`identity`: everything that its scores depend on beside a row."""

    identity: str

    def teach(self, rows: Sequence[Row]) -> Sequence[Sequence[float]]: ...


class Labels:
    """The rows' own labels, to be blended with what others say."""

    identity = "labels"

    def teach(self, rows: Sequence[Row]) -> Sequence[Sequence[float]]:
        return [row.labels for row in rows]


class Bm25:
    """BM25 over all documents of the rows, or over a corpus that holds them too."""

    def __init__(self, rows: Sequence[Row], corpus: Sequence[str] = ()) -> None:
        documents = list(dict.fromkeys([*corpus, *corpus_of(rows)]))
        self._places = {document: place for place, document in enumerate(documents)}
        self._index = bm25.Bm25(documents)
        digest = hashlib.sha256("\0".join(documents).encode()).hexdigest()
        self.identity = f"{bm25.options()} {digest}"

    def teach(self, rows: Sequence[Row]) -> Sequence[Sequence[float]]:
        found = []
        for row in rows:
            scores = self._index.scores(row.query)
            found.append([float(scores[self._places[document]]) for document in row.documents])
        return found


class Cosine:
    """The cosine of query and document by an embedding model, the row's instruction as its task."""

    def __init__(self, model: Embeds, identity: str) -> None:
        self._model = model
        self.identity = f"cosine {identity}"

    def teach(self, rows: Sequence[Row]) -> Sequence[Sequence[float]]:
        documents = corpus_of(rows)
        places = {document: place for place, document in enumerate(documents)}
        vectors = self._model.embed(documents=documents)
        queries: dict[int, Any] = {}
        for task in dict.fromkeys(row.instruction for row in rows):
            own = [number for number, row in enumerate(rows) if row.instruction == task]
            queries |= dict(zip(own, self._model.embed(queries=[rows[number].query for number in own], task=task), strict=True))
        return [
            [float(one) for one in vectors[[places[document] for document in row.documents]] @ queries[number]]
            for number, row in enumerate(rows)
        ]


class Relevance:
    """The logit of yes over no by a reranker, with the row's instruction: what a smaller one learns of a larger."""

    def __init__(self, model: Reranker) -> None:
        self._model = model
        numerics = f"{model.numerics.dtype} {model.max_pair_tokens}"
        self.identity = f"relevance {model.fingerprint} {model.prompt.id} {numerics}"

    def teach(self, rows: Sequence[Row]) -> Sequence[Sequence[float]]:
        pairs = [Pair(row.query, document, row.instruction) for row in rows for document in row.documents]
        logits = iter([score.logit for score in self._model.score(pairs)])
        return [[next(logits) for _ in row.documents] for row in rows]


@dataclass(frozen=True, slots=True)
class Blend:
    """`weights`, one a teacher. A query's scores get mean 0 and deviation 1 for each teacher, their weighted mean is taken, and
    all is multiplied by `scale`: the greater, the more the best document stands out in a softmax. `raw`: one teacher's scores
    as they are."""

    weights: tuple[float, ...]
    scale: float = 1.0
    raw: bool = False

    def __post_init__(self) -> None:
        for weight in self.weights:
            if not 0 < weight < math.inf:
                raise InvalidInput(f"weight: must be above 0, not {weight}", param="weight", limit=0, received=weight)
        if not 0 < self.scale < math.inf:
            raise InvalidInput(f"scale: must be above 0, not {self.scale}", param="scale", limit=0, received=self.scale)
        if self.raw and len(self.weights) != 1:
            message = f"raw: the scores of {len(self.weights)} teachers have no common unit; name one teacher, or leave it out"
            raise InvalidInput(message, param="raw", limit=1, received=len(self.weights))

    def __call__(self, scores: Sequence[Sequence[float]]) -> tuple[float, ...]:
        """One score a document out of each teacher's."""
        if self.raw:
            return tuple(self.scale * score for score in scores[0])
        parts = [[weight * score for score in standardise(one)] for weight, one in zip(self.weights, scores, strict=True)]
        return tuple(self.scale * math.fsum(part) / math.fsum(self.weights) for part in zip(*parts, strict=True))


@dataclass(slots=True)
class TeachReport:
    """Rows, the documents that teachers were `asked` about in this run, and those `known` from the journal."""

    rows: int = 0
    asked: int = 0
    known: int = 0


def teach(
    rows: Sequence[Row], teachers: Sequence[Teaches], journal: Path, report: TeachReport, progress: Progress | None = None
) -> None:
    """Notes every teacher's scores of every row in the journal. Raises NonFiniteScore, OSError for a full disk."""
    known = _known(journal)
    tasks = [(teacher, row) for teacher in teachers for row in rows]
    done = sum(_key(teacher, row) in known for teacher, row in tasks)
    report.rows = len(rows)
    report.known = sum(len(row.documents) for teacher, row in tasks if _key(teacher, row) in known)
    with journal.open("a", encoding="utf-8") as file:
        for teacher in teachers:
            missing = list({_key(teacher, row): row for row in rows if _key(teacher, row) not in known}.items())
            for chunk in (missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)):
                for (key, row), scores in zip(chunk, teacher.teach([row for _, row in chunk]), strict=True):
                    _require_finite(row, scores)
                    file.write(json.dumps({"key": key, "scores": list(scores)}) + "\n")
                    report.asked += len(scores)
                file.flush()
                os.fsync(file.fileno())
                done += len(chunk)
                if progress is not None:
                    progress(done, len(tasks))


def taught(rows: Sequence[Row], teachers: Sequence[Teaches], journal: Path, blend: Blend) -> Iterator[Row]:
    """The rows with scores; what they had before is replaced."""
    known = _known(journal)
    for row in rows:
        yield replace(row, scores=blend([known[_key(teacher, row)] for teacher in teachers]))


def _require_finite(row: Row, scores: Sequence[float]) -> None:
    for place, score in enumerate(scores):
        if not math.isfinite(score):
            raise NonFiniteScore(
                f"teacher: its score of {row.query!r:.60} and document {place} is {score}; earlier rows are in the journal",
                param="teacher",
                received=str(score),
            )


def _known(journal: Path) -> dict[str, list[float]]:
    """Scores by key. The last line may be torn, where a run was killed in the middle of it: it is cut off."""
    cut_torn_line(journal)
    found: dict[str, list[float]] = {}
    for line in read_lines(journal) if journal.exists() else ():
        found[line.text("key")] = line.numbers("scores", _length(line.values)) or []
    return found


def _length(values: Mapping[str, Any]) -> int:
    scores = values.get("scores")
    return len(scores) if isinstance(scores, list) else 1


def _key(teacher: Teaches, row: Row) -> str:
    parts = json.dumps([teacher.identity, row.query, row.instruction, row.documents, row.labels])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]
