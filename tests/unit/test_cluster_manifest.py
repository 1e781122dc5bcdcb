"""What an output is of: begun anew, continued, or refused with what differs; and how many engines a cluster holds."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from gigarank.cluster.blocks import Limits
from gigarank.cluster.crew import Crew, Machine, crew
from gigarank.cluster.manifest import NAME, Asked, Manifest, differences, from_json, input_files, prepare
from gigarank.cluster.places import Place, open_place
from gigarank.cluster.rows import Fields
from gigarank.errors import BadFile, InvalidInput

ASKED = Asked(Fields(), None, Limits(rows=2), {"model": "nano", "instruction": None, "top_n": None})
GIB = 2**30


def write_rows(path: Path, count: int = 5, field: str = "document", value: object = "d") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"query": f"q{number}", field: value}) + "\n" for number in range(count)))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Place:
    write_rows(tmp_path / "in" / "b.jsonl")
    write_rows(tmp_path / "in" / "deep" / "a.ndjson", 3)
    (tmp_path / "in" / "_notes.jsonl").write_text("not this")
    (tmp_path / "in" / ".hidden.jsonl").write_text("nor this")
    (tmp_path / "in" / "readme.txt").write_text("nor this")
    return open_place(str(tmp_path / "in"), "input")


@pytest.fixture
def output(tmp_path: Path) -> Place:
    place = open_place(str(tmp_path / "out"), "output")
    place.make()
    return place


def begun(source: Place, output: Place, asked: Asked = ASKED) -> Manifest:
    return prepare(source, output, asked)


def test_a_folder_is_its_files_in_order(source: Place, output: Place) -> None:
    made = begun(source, output)
    assert [file.name for file in made.files] == ["b.jsonl", "deep/a.ndjson"]
    assert [(one.file, one.rows, one.number) for one in made.blocks] == [
        ("b.jsonl", 2, 0),
        ("b.jsonl", 2, 1),
        ("b.jsonl", 1, 2),
        ("deep/a.ndjson", 2, 3),
        ("deep/a.ndjson", 1, 4),
    ]
    assert made.rows == 8 and made.part(made.blocks[3]) == "part-000003.jsonl"
    assert made.file("b.jsonl").size == (Path(source.path) / "b.jsonl").stat().st_size


def test_a_manifest_is_read_as_it_was_written(source: Place, output: Place) -> None:
    made = begun(source, output)
    assert from_json(made.to_json(), "out") == made == begun(source, output)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": 2}', b'{"format": 1, "files": [{"x": 1}]}'])
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"out/_manifest\.json: no manifest of this version"):
        from_json(content, "out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {**ASKED.settings, "model": "0.6b"}}, 'model was "nano", now "0.6b"'),
        ({"settings": {**ASKED.settings, "top_n": 3}}, "top_n was null, now 3"),
        ({"limits": Limits(rows=3)}, "rows a block was 2, now 3"),
        ({"limits": Limits(rows=2, tokens=7)}, "tokens a block was 100000, now 7"),
        ({"fields": Fields(query="q")}, 'query field was "query", now "q"'),
        ({"documents": "text"}, 'documents field was "document", now "text"'),
    ],
)
def test_other_settings_are_refused_with_what_differs(source: Place, output: Place, change: dict[str, Any], said: str) -> None:
    begun(source, output)
    before = output.read(NAME)
    with pytest.raises(InvalidInput, match=said):
        begun(source, output, replace(ASKED, **change))
    assert output.read(NAME) == before


def test_naming_what_was_found_is_the_same(source: Place, output: Place) -> None:
    assert begun(source, output) == begun(source, output, replace(ASKED, documents="document"))


def test_another_input_is_refused_with_what_differs(source: Place, output: Place, tmp_path: Path) -> None:
    begun(source, output)
    folder = tmp_path / "in"
    write_rows(folder / "c.jsonl")
    (folder / "deep" / "a.ndjson").unlink()
    write_rows(folder / "b.jsonl", value="e")  # as long as before
    with pytest.raises(InvalidInput) as caught:
        begun(source, output)
    for part in ("c.jsonl is new", "a.ndjson is gone", "b.jsonl has other content"):
        assert part in caught.value.message


def test_an_input_that_was_only_touched_is_the_same(source: Place, output: Place, tmp_path: Path) -> None:
    made = begun(source, output)
    os.utime(tmp_path / "in" / "b.jsonl", ns=(1, 1))
    again = begun(source, output)
    assert again.file("b.jsonl").stamp == 1 and again.blocks == made.blocks
    assert from_json(output.read(NAME), "out") == again


def test_differences_are_named_once_each() -> None:
    assert differences({"a": 1, "b": 2}, {"b": 2, "c": 3}) == ["a was 1, now null", "c was null, now 3"]


def test_an_output_with_other_files_is_left_alone(source: Place, output: Place) -> None:
    (Path(output.path) / "mine.txt").write_text("x")
    with pytest.raises(InvalidInput, match=r"holds other files \(mine.txt\)"):
        begun(source, output)


@pytest.mark.parametrize("below", ["", "ranked"])
def test_an_output_in_the_input_is_refused(source: Place, below: str) -> None:
    with pytest.raises(InvalidInput, match="lies in the input"):
        begun(source, open_place(f"{source.path}/{below}", "output"))


def test_an_output_beside_an_input_of_a_like_name_is_not_in_it(source: Place, tmp_path: Path) -> None:
    beside = open_place(str(tmp_path / "in2"), "output")
    beside.make()
    assert begun(source, beside).rows == 8


def test_an_input_is_one_file_or_one_format(source: Place, output: Place, tmp_path: Path) -> None:
    single = open_place(str(tmp_path / "in" / "b.jsonl"), "input")
    made = begun(single, output)
    assert [file.name for file in made.files] == [""] and made.rows == 5
    parquet.write_table(pa.table({"query": ["q"]}), tmp_path / "in" / "c.parquet")
    with pytest.raises(BadFile, match="both JSONL and Parquet"):
        input_files(source)


@pytest.mark.parametrize("name", ["nowhere", "empty", "readme.txt"])
def test_an_input_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(BadFile, match=rf"{name}: no .jsonl, .ndjson or .parquet file there"):
        input_files(open_place(str(tmp_path / name), "input"))


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (b'{"q": "x", "document": "d"}', "in.jsonl:2: the row has no field 'query'; it has q, document"),
        (b'{"query": "x", "text": "d"}', "in.jsonl:2: the row has no field 'document'; it has query, text"),
        (b"query,document", "in.jsonl:2: not JSON"),
        (b'["x"]', "in.jsonl:2: the row is an array"),
    ],
)
def test_a_first_row_that_cannot_be_read_is_refused_at_its_line(tmp_path: Path, output: Place, first: bytes, said: str) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"\n" + first + b"\n")
    with pytest.raises(BadFile, match=said):
        begun(open_place(str(tmp_path / "in.jsonl"), "input"), output)
    assert output.files() == []


def test_the_first_row_says_whether_a_row_has_many_documents(tmp_path: Path, output: Place) -> None:
    path = write_rows(tmp_path / "in.jsonl", field="documents", value=["a", "b"])
    made = begun(open_place(str(path), "input"), output)
    assert made.fields == Fields(documents="documents", many=True)


def test_an_input_without_rows_is_an_output_without_blocks(tmp_path: Path, output: Place) -> None:
    (tmp_path / "in.jsonl").touch()
    assert begun(open_place(str(tmp_path / "in.jsonl"), "input"), output).blocks == ()


def test_parquet_files_must_agree(tmp_path: Path, output: Place) -> None:
    (tmp_path / "in").mkdir()
    texts = {"query": ["q"], "document": ["d"]}
    parquet.write_table(pa.table({**texts, "id": [1]}), tmp_path / "in" / "a.parquet")
    parquet.write_table(pa.table({**texts, "id": [2]}), tmp_path / "in" / "b.parquet")
    assert begun(open_place(str(tmp_path / "in"), "input"), output).rows == 2
    parquet.write_table(pa.table({**texts, "id": ["3"]}), tmp_path / "in" / "c.parquet")
    with pytest.raises(BadFile, match=r"c\.parquet: its column 'document' or 'id' is not of the type it has in a\.parquet"):
        prepare(open_place(str(tmp_path / "in"), "input"), open_place(str(tmp_path / "out2"), "output"), ASKED)


@pytest.mark.parametrize(
    ("machines", "asked", "with_gpus", "expected"),
    [
        ([Machine(2, 16 * GIB)], None, True, Crew(2, 1)),
        ([Machine(16, 16 * GIB)], None, True, Crew(8, 2)),  # eight copies of 1 GiB in half of 16
        ([Machine(16, GIB)], None, True, Crew(1, 16)),  # one at least
        ([Machine(2, 16 * GIB)], 1, True, Crew(1, 2)),
        ([Machine(4, 16 * GIB), Machine(8, 64 * GIB)], None, True, Crew(12, 1)),
        ([Machine(4, 4 * GIB), Machine(8, 4 * GIB)], None, True, Crew(4, 2)),
        ([Machine(4, 64 * GIB), Machine(8, 64 * GIB)], 3, True, Crew(3, 2)),
        ([Machine(0, GIB), Machine(3, 64 * GIB)], None, False, Crew(3, 1)),
        ([Machine(16, 64 * GIB, 2), Machine(8, 64 * GIB, 1)], None, True, Crew(3, 1, 1)),
        ([Machine(16, 64 * GIB, 2)], 1, True, Crew(1, 1, 1)),
        ([Machine(4, 64 * GIB, 2)], None, False, Crew(4, 1)),
    ],
)
def test_a_crew_is_what_the_machines_hold(machines: list[Machine], asked: int | None, with_gpus: bool, expected: Crew) -> None:
    assert crew(machines, GIB, asked, with_gpus) == expected


@pytest.mark.parametrize(("machines", "asked"), [([], None), ([Machine(0, GIB)], None), ([Machine(2, GIB)], 3)])
def test_a_crew_that_no_cluster_holds_is_refused(machines: list[Machine], asked: int | None) -> None:
    with pytest.raises(InvalidInput):
        crew(machines, GIB, asked, True)
