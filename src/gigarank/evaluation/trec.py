"""Runs and judgments as trec_eval reads them, in and out.

    run     query Q0 document rank score tag
    qrels   query 0 document relevance

Fields are parted by white space, so that an id may hold none. Knows no set and no metric. Invariant: a run that is written
and read again is the same, in the same order; scores keep every digit. trec_eval itself parts equal scores by document id.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from gigarank.errors import BadFile, InvalidInput
from gigarank.evaluation.lines import grade, integer, number, read_lines
from gigarank.evaluation.sets import Qrels, Run
from gigarank.evaluation.store import write_whole


def read_run(path: Path) -> Run:
    """The run, each query's documents best first: by score, and where it is equal by rank. Raises BadFile with the line."""
    found: dict[str, dict[str, tuple[float, int]]] = {}
    for place, line in read_lines(path):
        query, _, document, rank, score, _ = _fields(line, place, "query Q0 document rank score tag")
        ranked = found.setdefault(query, {})
        if document in ranked:
            raise BadFile(f"{place}: document {document} is in the run of query {query} already", param=place)
        ranked[document] = (-number(score, place, "score"), integer(rank, place, "rank"))
    return {
        query: {document: -ranked[document][0] for document in sorted(ranked, key=lambda one: ranked[one])}
        for query, ranked in found.items()
    }


def write_run(path: Path, run: Run, tag: str) -> None:
    """Writes the file whole, best first, ranks from 1; equal scores keep the run's order. Raises InvalidInput for an id or
    a tag that the format cannot hold."""
    lines = []
    for query, scores in run.items():
        best = sorted(scores.items(), key=lambda one: -one[1])
        for rank, (document, score) in enumerate(best, 1):
            lines.append(f"{_word(query)} Q0 {_word(document)} {rank} {float(score)!r} {_word(tag)}\n")
    write_whole(path, "".join(lines))


def read_qrels(path: Path) -> Qrels:
    """The judgments. Raises BadFile with the line."""
    found: dict[str, dict[str, int]] = {}
    for place, line in read_lines(path):
        query, document, relevance = judgment(line, place)
        judged = found.setdefault(query, {})
        if document in judged:
            raise BadFile(f"{place}: query {query} and document {document} were judged before", param=place)
        judged[document] = grade(relevance, place, "relevance")
    return found


def judgment(line: str, place: str) -> tuple[str, str, str]:
    """(query, document, relevance) of a line of qrels. Raises BadFile."""
    query, _, document, relevance = _fields(line, place, "query 0 document relevance")
    return query, document, relevance


def write_qrels(path: Path, qrels: Qrels) -> None:
    """Writes the file whole. Raises InvalidInput for an id that the format cannot hold."""
    rows = ((query, document, grade) for query, judged in qrels.items() for document, grade in judged.items())
    write_whole(path, "".join(f"{_word(query)} 0 {_word(document)} {grade}\n" for query, document, grade in rows))


def _fields(line: str, place: str, form: str) -> list[str]:
    fields, wanted = line.split(), len(form.split())
    if len(fields) != wanted:
        raise BadFile(
            f"{place}: {wanted} fields are needed ({form}), not {len(fields)}", param=place, limit=wanted, received=len(fields)
        )
    return fields


def escaped(identifier: str) -> str:
    """The id as a TREC file can hold it: white space, and nothing else, as its UTF-8 bytes in the manner of %20."""
    return "".join(quote(letter) if letter.isspace() else letter for letter in identifier)


V = TypeVar("V", int, float)


def with_escaped(by_query: Mapping[str, Mapping[str, V]]) -> dict[str, dict[str, V]]:
    """A run or judgments with every id `escaped`."""
    return {
        escaped(query): {escaped(document): value for document, value in found.items()} for query, found in by_query.items()
    }


def _word(value: str) -> str:
    if value.split() != [value]:
        raise InvalidInput(f"{value!r}: an id in a TREC file must not be empty or hold white space", param="id", received=value)
    return value
