"""A block, scored and written: the rows in, a file of results out.

Knows whoever scores by what it promises; no Ray. Invariant: the file has one row for every row of the block, in its order,
and the same block gives the same bytes; a row that cannot be scored holds the reason and costs its neighbours nothing.
"""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
from pyarrow import parquet

from gigarank.cluster.blocks import Content
from gigarank.cluster.rows import Fields, Row, answer_of
from gigarank.errors import InvalidInput, NonFiniteScore
from gigarank.types import JsonObject, Pair, Score

_SCORE = {
    "relevance_score": pa.float64(),
    "logit": pa.float64(),
    "tokens": pa.int32(),
    "truncated": pa.bool_(),
}


class Scores(Protocol):
    """What scores: gigarank.Reranker, or anything that answers as it does."""

    def score(self, pairs: Sequence[Pair]) -> list[Score]: ...


@dataclass(frozen=True, slots=True)
class Answers:
    """One a row, in order."""

    answers: list[JsonObject]

    @property
    def errors(self) -> int:
        return sum("error" in answer for answer in self.answers)


def answer_block(model: Scores, content: Content, fields: Fields, instruction: str | None, top_n: int | None) -> Answers:
    """All pairs of the block are asked together, so that rows with the same query share what they share."""
    scored = dict(_scored(model, [row for row in content.rows if row.error is None], instruction))
    answers = []
    for row in content.rows:
        found = scored.get(row.number, [])
        answers.append({"error": found} if isinstance(found, str) else answer_of(row, found, fields, top_n))
    return Answers(answers)


def _scored(model: Scores, rows: Sequence[Row], instruction: str | None) -> Iterator[tuple[int, list[Score] | str]]:
    """Every row's scores by its number, or why there are none: the half with the row that cannot be scored is halved again."""
    pairs = [row.pairs(instruction) for row in rows]
    flat = [pair for own in pairs for pair in own]
    if not flat:
        yield from ((row.number, []) for row in rows)
        return
    try:
        scores = iter(model.score(flat))
    except (InvalidInput, NonFiniteScore) as error:
        if len(rows) == 1:
            yield rows[0].number, error.message
            return
        middle = len(rows) // 2
        yield from _scored(model, rows[:middle], instruction)
        yield from _scored(model, rows[middle:], instruction)
        return
    for row, own in zip(rows, pairs, strict=True):
        yield row.number, [next(scores) for _ in own]


def to_jsonl(file: str, content: Content, answers: Answers) -> bytes:
    """`id` is there where the row has one."""
    lines = []
    for row, answer in zip(content.rows, answers.answers, strict=True):
        known = {} if row.id is None else {"id": row.id}
        lines.append(json.dumps({**known, "file": file, "row": row.number, **answer}, allow_nan=False) + "\n")
    return "".join(lines).encode()


def to_parquet(file: str, content: Content, answers: Answers, many: bool) -> bytes:
    """The same columns in every block; the id has the type that it has in the input."""
    columns: dict[str, Any] = {} if content.ids is None else {"id": content.ids}
    columns["file"] = pa.array([file] * len(content.rows), pa.string())
    columns["row"] = pa.array([row.number for row in content.rows], pa.int64())
    for name, kind in _columns(many).items():
        columns[name] = pa.array([answer.get(name) for answer in answers.answers], kind)
    written = io.BytesIO()
    parquet.write_table(pa.table(columns), written, compression="zstd")
    return written.getvalue()


def _columns(many: bool) -> dict[str, Any]:
    if not many:
        return {**_SCORE, "error": pa.string()}
    one = pa.struct([pa.field("index", pa.int32()), *(pa.field(name, kind) for name, kind in _SCORE.items())])
    return {"results": pa.list_(one), "error": pa.string()}
