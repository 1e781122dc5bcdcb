"""The scores of a task under way, on the disk query by query, so that a run that is killed continues where it was.

A file of lines: first the key of everything that the scores depend on, then one line a query. Knows no model and no metric.
Invariant: a query whose line has been acknowledged is never scored again under the same key, and what was half written when
the machine stopped is as if it had never been.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from gigarank.errors import InvalidInput
from gigarank.evaluation.store import FORMAT, SUPERSEDED, Failure, PairScore, scores_path


@dataclass(frozen=True, slots=True)
class QueryScores:
    """One query's pairs in the order of its candidates, the pairs that failed, and the seconds they took."""

    query: str
    pairs: tuple[PairScore, ...]
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0


class Journal:
    """The journal beside a result's file; a context manager that holds it against other processes.

    `done` are the queries that it holds. What stands there under another key moves to the folder SUPERSEDED.
    Raises InvalidInput where another process writes the same task.
    """

    def __init__(self, result: Path, key: str) -> None:
        self._result, self._key = result, key
        self._path = scores_path(result)
        self._lock = FileLock(result.with_name(f".{result.stem}.lock"))
        self.done: dict[str, QueryScores] = {}

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            message = f"{self._result}: another process is writing this task"
            raise InvalidInput(message, param="output", received=str(self._result)) from error
        self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        self._lock.release()

    def _open(self) -> None:
        rows, whole = _read(self._path)
        if rows and (rows[0].get("format"), rows[0].get("key")) != (FORMAT, self._key):
            supersede(self._result, str(rows[0].get("key")))
            rows, whole = [], 0
        self.done = {scores.query: scores for scores in map(_parsed, rows[1:])}
        self._file = self._path.open("ab")
        self._file.truncate(whole)
        if not rows:
            self._append([{"format": FORMAT, "key": self._key}])

    def add(self, found: Iterable[QueryScores]) -> None:
        """On the disk when it returns."""
        kept = list(found)
        self._append(map(_row, kept))
        self.done.update((scores.query, scores) for scores in kept)

    def _append(self, rows: Iterable[dict[str, Any]]) -> None:
        self._file.write("".join(json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n" for row in rows).encode())
        self._file.flush()
        os.fsync(self._file.fileno())


def supersede(result: Path, key: str) -> None:
    """Moves a result and what stands beside it out of the way of other settings."""
    folder = result.parent / SUPERSEDED
    folder.mkdir(parents=True, exist_ok=True)
    for path in (result, result.with_suffix(".trec"), result.with_suffix(".qrels"), scores_path(result)):
        if path.exists():
            path.replace(folder / f"{key[:12]}-{path.name}")


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of a journal, and the bytes that they take."""
    content = path.read_bytes() if path.exists() else b""
    rows: list[dict[str, Any]] = []
    whole = 0
    for line in content.splitlines(keepends=True):
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n") or not isinstance(row, dict):
            break
        rows.append(row)
        whole += len(line)
    return rows, whole


def _row(scores: QueryScores) -> dict[str, Any]:
    documents = [[pair.document, pair.logit, pair.first_stage, pair.tokens, pair.truncated] for pair in scores.pairs]
    failures = [[failure.document, failure.message] for failure in scores.failures]
    return {"query": scores.query, "seconds": scores.seconds, "documents": documents, "failures": failures}


def _parsed(row: dict[str, Any]) -> QueryScores:
    query = row["query"]
    return QueryScores(
        query,
        tuple(PairScore(query, *pair) for pair in row["documents"]),
        tuple(Failure(query, *failure) for failure in row["failures"]),
        row["seconds"],
    )
