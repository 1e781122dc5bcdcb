"""The input in blocks: every row once whatever the limits, each block read from its own part, and what cannot be read."""

import io
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from gigarank.cluster import blocks
from gigarank.cluster.blocks import (
    Block,
    InputFile,
    Limits,
    cut_lines,
    fields_of_schema,
    format_of,
    lines_of,
    read_block,
    survey_lines,
    survey_parquet,
)
from gigarank.cluster.places import open_place
from gigarank.cluster.rows import Fields
from gigarank.errors import BadFile

FIELDS = Fields()
TEXTS = [f"text {number}" for number in range(10)]


def lines_file(folder: Path, content: bytes, name: str = "a.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def line(query: str, document: str, **more: Any) -> bytes:
    return json.dumps({"query": query, "document": document, **more}).encode() + b"\n"


def surveyed(path: Path, limits: Limits) -> tuple[Any, InputFile, list[Block]]:
    place = open_place(str(path.parent), "input")
    found = next(file for file in place.files() if file.name == path.name)
    if path.suffix == ".parquet":
        return place, *survey_parquet(place, found, FIELDS, limits, 0)
    return place, *survey_lines(place, found, limits, 0)


def read_all(place: Any, known: InputFile, cut: Sequence[Block], fields: Fields = FIELDS) -> list[Any]:
    return [row for block in cut for row in read_block(place, block, known, fields).rows]


@given(
    st.lists(st.sampled_from([b"\n", b"  \n", b'{"query": "q", "document": "d"}\n', b'{"query": "a longer one"}\n', b"x\n"])),
    st.integers(1, 5),
    st.integers(1, 40),
)
def test_blocks_follow_each_other_and_hold_every_row_once(lines: list[bytes], rows: int, tokens: int) -> None:
    limits = Limits(rows, tokens)
    cut = list(cut_lines(lines, limits, "f", 0))
    whole = b"".join(lines)
    assert sum(block.rows for block in cut) == sum(bool(one.strip()) for one in lines)
    assert [block.number for block in cut] == list(range(len(cut)))
    assert all(one.stop == other.start for one, other in itertools.pairwise(cut))
    for block in cut:
        own = whole[block.start : block.stop]
        assert block.first == whole.count(b"\n", 0, block.start) + 1
        assert 1 <= block.rows == sum(bool(one.strip()) for one in own.split(b"\n")) <= rows
        assert len(own) <= limits.bytes or block.rows == 1
    if cut:
        assert cut[0].start == 0 and not whole[cut[-1].stop :].strip()


@given(st.binary(max_size=60), st.integers(1, 7))
def test_lines_are_those_of_the_whole_whatever_is_read_at_once(content: bytes, size: int) -> None:
    class Slow(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            return super().read(size)

    assert b"".join(lines_of(Slow(content))) == content
    assert list(lines_of(Slow(content))) == list(io.BytesIO(content))


def test_a_line_that_no_memory_should_hold_is_refused_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LONGEST_LINE", 50)
    monkeypatch.setattr(blocks, "_CHUNK", 20)
    path = lines_file(tmp_path, line("q", "d") + b"x" * 200)
    with pytest.raises(BadFile, match=r"a\.jsonl: a line is longer than 50 bytes"):
        surveyed(path, Limits())


def test_lines_are_read_back_with_their_numbers_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    sound = [line("q", f"d{number}", id=number) for number in range(3)]
    content = b"\xef\xbb\xbf" + sound[0] + b"\n" + b"not json\r\n" + b'{"query": null, "document": "d"}\n' + sound[1]
    path = lines_file(tmp_path, content + b'["x"]\n' + b'{"query": "q", "document": "\xff"}\n' + sound[2].rstrip())
    for rows in (1, 2, 100):
        place, known, cut = surveyed(path, Limits(rows))
        found = read_all(place, known, cut)
        assert [row.number for row in found] == [1, 3, 4, 5, 6, 7, 8]
        assert [row.documents for row in found if row.error is None] == [("d0",), ("d1",), ("d2",)]
        errors = [row.error for row in found if row.error is not None]
        assert errors[0].startswith("not JSON: Expecting value")
        assert errors[1:3] == ["the field 'query' is null; a string is needed", "the row is an array; an object is needed"]
        assert errors[3].startswith("not UTF-8: byte 0xff at offset 28")


def test_a_byte_order_mark_alone_is_no_row(tmp_path: Path) -> None:
    place, known, cut = surveyed(lines_file(tmp_path, b"\xef\xbb\xbf\n" + line("q", "d")), Limits())
    assert [row.number for row in read_all(place, known, cut)] == [2]


def test_a_file_without_rows_has_no_blocks(tmp_path: Path) -> None:
    for content in (b"", b"\n \n"):
        assert surveyed(lines_file(tmp_path, content), Limits())[2] == []
    parquet.write_table(
        pa.table({"query": pa.array([], pa.string()), "document": pa.array([], pa.string())}), tmp_path / "e.parquet"
    )
    assert surveyed(tmp_path / "e.parquet", Limits())[2] == []


@pytest.mark.parametrize(("rows", "groups"), [(1, 4), (3, 4), (100, 4), (3, 100), (2_000, 3_000)])
def test_parquet_is_read_block_by_block(tmp_path: Path, rows: int, groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_BATCH", 2 if groups < 1_000 else 1_024)
    count = 10 if groups < 1_000 else 5_000
    table = pa.table(
        {
            "unasked": pa.array(["x" * 50] * count),
            "id": pa.array(range(count), pa.int16()),
            "query": pa.array([None if number == 7 else f"q{number}" for number in range(count)]),
            "document": pa.array([f"d{number}" for number in range(count)], pa.large_string()),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=groups)
    place, known, cut = surveyed(tmp_path / "a.parquet", Limits(rows))
    found = read_all(place, known, cut)
    assert [row.number for row in found] == list(range(1, count + 1))
    assert [row.documents for row in found if row.error is None] == [(f"d{n}",) for n in range(count) if n != 7]
    assert found[7].error == "the field 'query' is null; a string is needed"
    assert max(block.rows for block in cut) <= rows
    ids = [read_block(place, block, known, FIELDS).ids for block in cut]
    assert [one for own in ids for one in own.to_pylist()] == list(range(count)) and ids[0].type == pa.int16()


def test_long_rows_of_parquet_make_small_blocks(tmp_path: Path) -> None:
    table = pa.table({"query": ["q"] * 8, "document": [str(number) * 4_000 for number in range(8)]})
    parquet.write_table(table, tmp_path / "a.parquet", compression="none", use_dictionary=False, write_statistics=False)
    _, _, cut = surveyed(tmp_path / "a.parquet", Limits(rows=100, tokens=2_200))
    assert [block.rows for block in cut] == [2, 2, 2, 2]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_file_that_changes_under_way_is_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"a.{form}"
    for texts in (TEXTS, [*TEXTS, "one more"]):
        if form == "jsonl":
            path.write_bytes(b"".join(line("q", text) for text in texts))
        else:
            parquet.write_table(pa.table({"query": texts, "document": texts}), path)
        if texts is TEXTS:
            place, known, cut = surveyed(path, Limits(3))
    with pytest.raises(BadFile, match=rf"a\.{form}: has changed since the ranking began"):
        read_all(place, known, cut)
    path.unlink()
    with pytest.raises(BadFile, match="has changed"):
        read_all(place, known, cut)


def test_a_block_with_another_number_of_rows_is_refused(tmp_path: Path) -> None:
    place, known, (block,) = surveyed(lines_file(tmp_path, line("q", "d") * 3), Limits())
    with pytest.raises(BadFile, match="3 rows where 4 were, from row 1"):
        read_block(place, Block(0, block.file, block.start, block.stop, 1, 4), known, FIELDS)


def test_what_is_no_parquet_is_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing of the kind PAR1")
    with pytest.raises(BadFile, match=r"a\.parquet: not Parquet"):
        surveyed(tmp_path / "a.parquet", Limits())


def test_the_format_is_the_suffix() -> None:
    names = ("a.jsonl", "b.NDJSON", "c.parquet", "d.csv", "e.jsonl.gz", "f")
    assert [format_of(name) for name in names] == ["jsonl", "jsonl", "parquet", None, None, None]


def schema(**kinds: Any) -> Any:
    return pa.schema(list(kinds.items()))


def test_columns_are_found_by_name_and_type() -> None:
    texts = pa.dictionary(pa.int32(), pa.string())
    one = fields_of_schema(schema(query=pa.string(), document=texts), Fields(), None, "f")
    assert (one.documents, one.many) == ("document", False)
    for kind in (pa.list_(pa.string()), pa.large_list(pa.large_string())):
        several = fields_of_schema(schema(query=pa.string(), document=pa.string(), documents=kind), Fields(), None, "f")
        assert (several.documents, several.many) == ("documents", True)
    named = fields_of_schema(schema(q=pa.string(), body=pa.string()), Fields(query="q"), "body", "f")
    assert (named.query, named.documents) == ("q", "body")


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ({"document": pa.string()}, "f: no column 'query'; it has document"),
        ({"query": pa.string(), "text": pa.string()}, "f: no column 'document'; it has query, text"),
        ({"query": pa.int64(), "document": pa.string()}, "f: the column 'query' holds int64; texts are needed"),
        ({"query": pa.string(), "document": pa.list_(pa.int8())}, "the column 'document' holds list<.*>; texts are needed"),
        ({"query": pa.list_(pa.string()), "document": pa.string()}, "the column 'query' holds list"),
        ({"query": pa.string(), "document": pa.string(), "instruction": pa.bool_()}, "the column 'instruction' holds bool"),
    ],
)
def test_columns_that_cannot_be_ranked_are_named(kinds: dict[str, Any], said: str) -> None:
    with pytest.raises(BadFile, match=said):
        fields_of_schema(schema(**kinds), Fields(), None, "f")
