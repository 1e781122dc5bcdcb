"""One row: what it asks, why it cannot be read, and what the output says of it.

Knows no file and no model. Invariant: every row read is a row written, at its place; what is wrong with it stands in it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from gigarank.types import JsonObject, Pair, Score

_SHOWN_FIELDS = 10
_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


@dataclass(frozen=True, slots=True)
class Fields:
    """What the columns are called. The documents' is one text a row or a list of them: `many`, decided once for all rows."""

    query: str = "query"
    documents: str = "document"
    instruction: str = "instruction"
    id: str = "id"
    many: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """`number` is the line of JSONL or the row of Parquet, from 1. `error` says why there is nothing to score."""

    number: int
    query: str = ""
    documents: tuple[str, ...] = ()
    instruction: str | None = None
    id: Any = None
    error: str | None = None

    def pairs(self, instruction: str | None) -> list[Pair]:
        """`instruction` holds where the row has none."""
        own = instruction if self.instruction is None else self.instruction
        return [Pair(self.query, document, own) for document in self.documents]


def parse_line(number: int, line: bytes, fields: Fields) -> Row:
    """A line of JSONL."""
    try:
        row = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        return Row(number, error=f"not UTF-8: byte 0x{line[error.start]:02x} at offset {error.start} of the line")
    except json.JSONDecodeError as error:
        return Row(number, error=f"not JSON: {error.msg} (column {error.colno})")
    except (ValueError, RecursionError) as error:
        return Row(number, error=f"not JSON that can be read: {error}")
    if not isinstance(row, dict):
        return Row(number, error=f"the row is {name_of(row)}; an object is needed")
    return read_row(number, row, fields)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def read_row(number: int, row: Mapping[str, Any], fields: Fields) -> Row:
    """What a row asks; whatever is missing or of another kind is its error."""
    known = row.get(fields.id)
    try:
        query = _text(row, fields.query)
        if not query.strip():
            raise ValueError(f"the field {fields.query!r} is empty")
        documents = _texts(row, fields.documents) if fields.many else (_text(row, fields.documents),)
        instruction = None if row.get(fields.instruction) is None else _text(row, fields.instruction)
    except ValueError as error:
        return Row(number, id=known, error=str(error))
    return Row(number, query, documents, instruction, known)


def _text(row: Mapping[str, Any], field: str) -> str:
    if field not in row:
        raise ValueError(f"the row has no field {field!r}; it has {listed(row)}")
    return _checked(row[field], f"the field {field!r}")


def _texts(row: Mapping[str, Any], field: str) -> tuple[str, ...]:
    if not isinstance(row.get(field), list):
        found = name_of(row[field]) if field in row else "not there"
        raise ValueError(f"the field {field!r} is {found}; an array of strings is needed")
    return tuple(_checked(text, f"{field}[{place}]") for place, text in enumerate(row[field]))


def _checked(text: object, name: str) -> str:
    if not isinstance(text, str):
        raise ValueError(f"{name} is {name_of(text)}; a string is needed")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} holds half a character, \\u{ord(text[error.start]):04x}") from None
    return text


def name_of(value: object) -> str:
    return _NAMES.get(type(value), "null" if value is None else f"of the type {type(value).__name__}")


def listed(names: Mapping[str, Any] | Sequence[str]) -> str:
    """The first of a row's fields."""
    return ", ".join(list(names)[:_SHOWN_FIELDS]) + (", ..." if len(names) > _SHOWN_FIELDS else "") or "none"


def result_of(score: Score) -> JsonObject:
    return {
        "relevance_score": score.relevance_score,
        "logit": score.logit,
        "tokens": score.tokens,
        "truncated": score.truncated,
    }


def results_of(scores: Sequence[Score], top_n: int | None) -> list[JsonObject]:
    """A row's documents, best first; equal ones keep their order. `scores` are in the row's own order."""
    best = sorted(enumerate(scores), key=lambda one: -one[1].logit)[:top_n]
    return [{"index": index, **result_of(score)} for index, score in best]


def answer_of(row: Row, scores: Sequence[Score], fields: Fields, top_n: int | None) -> JsonObject:
    """What the output says of a row, but for its id and its place."""
    if row.error is not None:
        return {"error": row.error}
    return {"results": results_of(scores, top_n)} if fields.many else result_of(scores[0])
