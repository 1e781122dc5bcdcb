"""A set in BEIR's layout: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, read whole and checked.

    corpus.jsonl           {"_id", "text", "title"?, "lang"?}            a document a line
    queries.jsonl          {"_id", "text", "instruction"?, "lang"?}      a query a line
    qrels/SPLIT.tsv        query-id, corpus-id, score                    tabs; a first line with these names
    qrels/SPLIT.qrels      query 0 document relevance                    where there is no .tsv: as trec_eval reads them
    candidates.tsv         query-id, corpus-id                           optional; else candidates_bm25.tsv; the queries to use

Other fields and files are left alone; a README is kept as a note. Knows no model and no metric. Invariants: a line ends at a
line feed only, since texts hold other separators; what is wrong is refused with its file and line, never skipped.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gigarank.errors import BadFile
from gigarank.evaluation.lines import grade, read_lines
from gigarank.evaluation.sets import EvalDocument, EvalQuery, EvalSet
from gigarank.evaluation.trec import judgment

CANDIDATES = ("candidates.tsv", "candidates_bm25.tsv")


def read_beir(folder: Path, split: str = "test") -> EvalSet:
    """The set in `folder`, named after it. The fingerprint is the sha256 of the files read. Raises BadFile."""
    source = _Source(folder)
    corpus = {document.id: document for document in _documents(source)}
    queries = {query.id: query for query in _queries(source)}
    qrels = _qrels(_judgments(source, folder, split), queries, corpus)
    given = next((name for name in CANDIDATES if (folder / name).exists()), None)
    candidates = None if given is None else _candidates(source, given, queries, corpus)
    readme = folder / "README"
    notes = {"readme": readme.read_text(encoding="utf-8", errors="replace").strip()} if readme.is_file() else {}
    return EvalSet(
        name=folder.resolve().name,
        queries=queries,
        corpus=corpus,
        qrels=qrels,
        candidates=candidates,
        fingerprint=source.fingerprint,
        notes=notes | {"split": split, "candidates": given},
    )


class _Source:
    """The folder's files by line, and the hash of all that was read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hash = hashlib.sha256()

    @property
    def fingerprint(self) -> str:
        return self._hash.hexdigest()

    def lines(self, name: str) -> Iterator[tuple[str, str]]:
        """("FILE:LINE", text) of each line that is not blank."""
        self._hash.update(f"\n{name}\n".encode())
        return read_lines(self._folder / name, self._hash.update)

    def objects(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each line as a JSON object with an `_id` that no earlier line has."""
        seen: set[str] = set()
        for place, line in self.lines(name):
            value = _json(line, place)
            key = _text(value, "_id", place)
            if not key or key in seen:
                problem = "stands on an earlier line too" if key else "must not be empty"
                raise BadFile(f"{place}: _id {key!r} {problem}", param="_id", received=key)
            seen.add(key)
            yield place, value

    def rows(self, name: str, columns: int) -> Iterator[tuple[str, list[str]]]:
        """The tab-separated fields of each line after the first, which names the columns."""
        lines = self.lines(name)
        place, first = next(lines, (f"{self._folder / name}:1", ""))
        if not first.startswith("query-id\tcorpus-id"):
            raise BadFile(f"{place}: must name the columns, query-id and corpus-id first, not {first[:60]!r}", param=place)
        for place, line in lines:
            fields = line.split("\t")
            if len(fields) < columns:
                raise BadFile(
                    f"{place}: {columns} fields parted by tabs are needed, not {len(fields)}",
                    param=place,
                    limit=columns,
                    received=len(fields),
                )
            yield place, fields


def _json(line: str, place: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{place}: is no JSON: {error}", param=place) from error
    if not isinstance(value, dict):
        raise BadFile(f"{place}: must be a JSON object, not {type(value).__name__}", param=place, received=type(value).__name__)
    return value


def _text(value: Mapping[str, Any], name: str, place: str) -> str:
    found = value.get(name)
    if isinstance(found, str):
        return found
    received = "nothing" if name not in value else type(found).__name__
    raise BadFile(f"{place}: {name} must be a text, not {received}", param=name, limit="text", received=received)


def _optional(value: Mapping[str, Any], name: str, place: str) -> str | None:
    return None if value.get(name) is None else _text(value, name, place)


def _documents(source: _Source) -> Iterator[EvalDocument]:
    for place, value in source.objects("corpus.jsonl"):
        title = _optional(value, "title", place) or ""
        yield EvalDocument(value["_id"], _text(value, "text", place), title, _optional(value, "lang", place))


def _queries(source: _Source) -> Iterator[EvalQuery]:
    for place, value in source.objects("queries.jsonl"):
        text = _text(value, "text", place)
        if not text.strip():
            raise BadFile(f"{place}: text must not be empty", param="text", received=text)
        yield EvalQuery(value["_id"], text, _optional(value, "instruction", place), _optional(value, "lang", place))


def _judgments(source: _Source, folder: Path, split: str) -> Iterator[tuple[str, str, str, str]]:
    """(place, query, document, score) of each line."""
    name = f"qrels/{split}.tsv"
    if not (folder / name).exists() and (folder / f"qrels/{split}.qrels").exists():
        for place, line in source.lines(f"qrels/{split}.qrels"):
            yield place, *judgment(line, place)
        return
    for place, (query, document, score, *_) in source.rows(name, 3):
        yield place, query, document, score


def _qrels(
    judgments: Iterable[tuple[str, str, str, str]], queries: Mapping[str, EvalQuery], corpus: Mapping[str, EvalDocument]
) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for place, query, document, score in judgments:
        _check_known(place, query, document, queries, corpus)
        judged = qrels.setdefault(query, {})
        if document in judged:
            raise BadFile(f"{place}: query {query} and document {document} were judged before", param=place)
        judged[document] = grade(score, place, "score")
    return qrels


def _candidates(
    source: _Source, name: str, queries: Mapping[str, EvalQuery], corpus: Mapping[str, EvalDocument]
) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for place, (query, document, *_) in source.rows(name, 2):
        _check_known(place, query, document, queries, corpus)
        if document in found.setdefault(query, {}):
            raise BadFile(f"{place}: document {document} is a candidate of query {query} already", param=place)
        found[query][document] = None
    return {query: tuple(documents) for query, documents in found.items()}


def _check_known(
    place: str, query: str, document: str, queries: Mapping[str, EvalQuery], corpus: Mapping[str, EvalDocument]
) -> None:
    if query not in queries:
        raise BadFile(f"{place}: query-id {query!r} is not in queries.jsonl", param="query-id", received=query)
    if document not in corpus:
        raise BadFile(f"{place}: corpus-id {document!r} is not in corpus.jsonl", param="corpus-id", received=document)
