"""A segment by itself: rows as OpenAI writes them, files that are made only where something is in them."""

import asyncio
import json
from pathlib import Path

import orjson

from gigarank.service.batches.segment import Segment, row_of, unasked_row
from gigarank.service.batches.storage import Spool
from gigarank.service.call import Answer
from gigarank.service.credits.money import dollars, usd


def test_a_row_has_its_answer_as_it_was_made() -> None:
    row = row_of("a", "req_7", Answer({"x": 1.5}, status=200))
    assert row == {
        "id": "batch_req_7",
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "req_7", "body": {"x": 1.5}},
        "error": None,
    }
    raw = row_of("a", "req_7", Answer(b'{"x":1.50}'))
    assert orjson.dumps(raw["response"]).endswith(b'"body":{"x":1.50}}')


def test_a_row_of_what_was_not_asked_has_its_error_alone() -> None:
    first, second = (unasked_row(name, "batch_expired", "late") for name in ("a", None))
    assert (first["custom_id"], second["custom_id"], first["response"]) == ("a", None, None)
    assert first["error"] == {"code": "batch_expired", "message": "late"}
    assert first["id"] != second["id"] and first["id"].startswith("batch_req_")


def test_files_are_made_for_what_there_is(tmp_path: Path) -> None:
    folder = tmp_path / "files" / "incoming"
    segment = Segment(Spool(str(tmp_path)))
    assert segment.finished() == {} and list(folder.iterdir()) == []
    for number in range(2):
        segment.add("output", {"n": number})
    finished = segment.finished()
    assert list(finished) == ["output"]
    assert [json.loads(text) for text in finished["output"].read_bytes().splitlines()] == [{"n": 0}, {"n": 1}]
    asyncio.run(segment.close())
    assert list(folder.iterdir()) == []


def test_a_segment_whose_files_were_put_away_closes_too(tmp_path: Path) -> None:
    segment = Segment(Spool(str(tmp_path)))
    segment.add("errors", {"n": 1})
    (source,) = segment.finished().values()
    source.replace(tmp_path / "kept")
    asyncio.run(segment.close())
    assert (tmp_path / "kept").read_bytes() == b'{"n":1}\n'


def test_money_as_a_number_is_the_same_money() -> None:
    for micros in (0, 1, 999_999, 1_000_000, 123_456_789_012_345, -5):
        assert orjson.dumps({"x": dollars(micros)}) == b'{"x":' + usd(micros).encode() + b"}"
        assert isinstance(json.loads(orjson.dumps(dollars(micros))), float)
