"""One row: what it asks, what is wrong with it, and what is written of it."""

import io
import json
import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from gigarank.cluster.blocks import Content
from gigarank.cluster.rows import Fields, Row, answer_of, listed, parse_line, read_row
from gigarank.cluster.scoring import answer_block, to_jsonl, to_parquet
from gigarank.errors import InvalidInput, NonFiniteScore
from gigarank.types import Pair, Score

ONE, MANY = Fields(), Fields(documents="documents", many=True)


def score(logit: float, index: int = 0) -> Score:
    return Score(index, 1 / (1 + math.exp(-logit)), logit, 3, False)


class Words:
    """Scores a pair by the length of its document. "nan" has no score, "long" is a query without room."""

    def __init__(self) -> None:
        self.asked: list[list[Pair]] = []

    def score(self, pairs: Sequence[Pair]) -> list[Score]:
        self.asked.append(list(pairs))
        for pair in pairs:
            if pair.document == "nan":
                raise NonFiniteScore("documents[0]: the model answered nan")
            if pair.query == "long":
                raise InvalidInput("query: no room for a document")
        return [score(float(len(pair.document)), index) for index, pair in enumerate(pairs)]


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"document": "d"}, "the row has no field 'query'; it has document"),
        ({"query": "q"}, "the row has no field 'document'; it has query"),
        ({}, "the row has no field 'query'; it has none"),
        ({"query": 5, "document": "d"}, "the field 'query' is a number; a string is needed"),
        ({"query": " \n", "document": "d"}, "the field 'query' is empty"),
        ({"query": "q", "document": None}, "the field 'document' is null; a string is needed"),
        ({"query": "q", "document": ["d"]}, "the field 'document' is an array; a string is needed"),
        ({"query": "q", "document": "\ud800"}, "the field 'document' holds half a character, \\ud800"),
        ({"query": "q", "document": "d", "instruction": 1}, "the field 'instruction' is a number; a string is needed"),
        ({"query": b"q", "document": "d"}, "the field 'query' is of the type bytes; a string is needed"),
    ],
)
def test_what_is_wrong_with_a_row_stands_in_it(row: dict[str, Any], error: str) -> None:
    assert read_row(4, {"id": "known", **row}, ONE) == Row(
        4, id="known", error=error.replace("it has", "it has id,", 1).replace("id, none", "id")
    )


@pytest.mark.parametrize(
    ("documents", "error"),
    [
        ("d", "the field 'documents' is a string; an array of strings is needed"),
        (["d", None], "documents[1] is null; a string is needed"),
        ([["d"]], "documents[0] is an array; a string is needed"),
    ],
)
def test_what_is_wrong_with_a_list_of_documents(documents: object, error: str) -> None:
    assert read_row(1, {"query": "q", "documents": documents}, MANY).error == error
    assert read_row(1, {"query": "q"}, MANY).error == "the field 'documents' is not there; an array of strings is needed"


def test_sound_rows() -> None:
    row = read_row(2, {"query": "q", "document": "", "instruction": None, "id": 7}, ONE)
    assert row == Row(2, "q", ("",), None, 7) and row.pairs("task") == [Pair("q", "", "task")]
    own = read_row(3, {"query": "q", "documents": ["a", "b"], "instruction": "mine"}, MANY)
    assert own.pairs("task") == [Pair("q", "a", "mine"), Pair("q", "b", "mine")]
    assert read_row(4, {"query": "q", "documents": []}, MANY).error is None


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"{", "not JSON: Expecting property name"),
        (b'{"query": NaN}', "not JSON that can be read: NaN is no number of JSON"),
        (b"[" * 100_000, "not JSON that can be read"),
        (b'{"query": ' + b"1" * 5_000 + b"}", "not JSON that can be read: Exceeds the limit"),
        (b"null", "the row is null; an object is needed"),
        (b'"q\xc3"', "not UTF-8: byte 0xc3 at offset 2 of the line"),
    ],
)
def test_what_is_no_row_of_json(line: bytes, error: str) -> None:
    found = parse_line(9, line, ONE)
    assert found.number == 9 and found.error is not None and found.error.startswith(error)


def test_many_fields_are_listed_in_part() -> None:
    assert listed([str(number) for number in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."


def test_an_answer_is_the_best_first_and_ties_keep_their_order() -> None:
    row = Row(1, "q", ("a", "b", "c", "d"))
    scores = [score(0.0, 10), score(2.0, 11), score(0.0, 12), score(1.0, 13)]
    assert [one["index"] for one in answer_of(row, scores, MANY, None)["results"]] == [1, 3, 0, 2]
    assert [one["index"] for one in answer_of(row, scores, MANY, 2)["results"]] == [1, 3]
    assert answer_of(row, scores, ONE, None) == {"relevance_score": 0.5, "logit": 0.0, "tokens": 3, "truncated": False}
    assert answer_of(Row(1, error="why"), [], MANY, None) == {"error": "why"}


def content(*documents: str, query: str = "q") -> Content:
    return Content([Row(number, query, (text,), id=f"r{number}") for number, text in enumerate(documents, start=1)])


def test_a_block_is_asked_together() -> None:
    model = Words()
    found = answer_block(model, content("a", "bb", "ccc"), ONE, "task", None)
    assert [answer["logit"] for answer in found.answers] == [1.0, 2.0, 3.0] and found.errors == 0
    assert model.asked == [[Pair("q", text, "task") for text in ("a", "bb", "ccc")]]


@pytest.mark.parametrize("place", range(7))
def test_a_pair_without_a_score_costs_its_neighbours_nothing(place: int) -> None:
    texts = ["nan" if number == place else "x" * (number + 1) for number in range(7)]
    found = answer_block(Words(), content(*texts), ONE, None, None)
    assert found.answers[place] == {"error": "documents[0]: the model answered nan"} and found.errors == 1
    assert [one["logit"] for number, one in enumerate(found.answers) if number != place] == [
        float(number + 1) for number in range(7) if number != place
    ]


def test_rows_without_pairs_ask_nothing() -> None:
    model = Words()
    rows = [Row(1, "q", ()), Row(2, error="why")]
    assert answer_block(model, Content(rows), MANY, None, None).answers == [{"results": []}, {"error": "why"}]
    assert model.asked == []


def test_lists_come_apart_again() -> None:
    rows = [Row(1, "q", ("a", "bb")), Row(2, error="why"), Row(3, "long", ("a",)), Row(4, "p", ("ccc",))]
    found = answer_block(Words(), Content(rows), MANY, None, 1)
    assert [answer.get("error") for answer in found.answers] == [None, "why", "query: no room for a document", None]
    assert [one["results"][0]["logit"] for one in (found.answers[0], found.answers[3])] == [2.0, 3.0]


def test_jsonl_has_a_line_a_row_with_the_id_as_it_was() -> None:
    rows = [Row(1, "q", ("a",), id={"any": [1]}), Row(2, "q", ("bb",)), Row(5, id="\ud800", error="why")]
    given = Content(rows)
    written = to_jsonl("f.jsonl", given, answer_block(Words(), given, ONE, None, None))
    first, second, third = map(json.loads, written.decode("ascii").splitlines())
    assert list(first) == ["id", "file", "row", "relevance_score", "logit", "tokens", "truncated"]
    assert (first["id"], first["file"], first["row"], first["logit"]) == ({"any": [1]}, "f.jsonl", 1, 1.0)
    assert "id" not in second and third == {"id": "\ud800", "file": "f.jsonl", "row": 5, "error": "why"}


@pytest.mark.parametrize("many", [False, True])
def test_parquet_has_the_same_columns_whatever_is_in_a_block(many: bool) -> None:
    fields = MANY if many else ONE
    schemas = []
    for rows in ([Row(1, "q", ("a",))], [Row(1, error="why")], [Row(1, "q", ("nan",)), Row(2, "q", ("bb",))]):
        given = Content(rows, pa.array(range(len(rows)), pa.uint8()))
        written = to_parquet("f", given, answer_block(Words(), given, fields, None, None), many)
        table = parquet.read_table(io.BytesIO(written))
        schemas.append(table.schema)
        assert table.column("row").to_pylist() == [row.number for row in rows]
        assert [one is None for one in table.column("error").to_pylist()] == [
            row.error is None and "nan" not in row.documents for row in rows
        ]
    assert schemas[0] == schemas[1] == schemas[2]
    assert schemas[0].field("id").type == pa.uint8()
    assert set(schemas[0].names) == {"id", "file", "row", "error"} | (
        {"results"} if many else {"relevance_score", "logit", "tokens", "truncated"}
    )


def test_the_same_block_gives_the_same_bytes() -> None:
    given = Content([Row(1, "q", ("a",))], pa.array(["x"]))
    answers = answer_block(Words(), given, ONE, None, None)
    assert to_parquet("f", given, answers, False) == to_parquet("f", given, answers, False)
