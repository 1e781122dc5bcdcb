"""A file of requests whose lines are spoilt anywhere: exactly these are named, by their numbers, and nothing else is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching import BODY, line
from gigarank.service.batches.lines import MOST_ERRORS, Checked, Read, check
from gigarank.service.settings import Settings

SPOILT = {
    "invalid_json_line": b'{"custom_id": "x", \n',
    "invalid_body": line("x", body="text"),
    "invalid_custom_id": line(None),
    "invalid_method": line("x", method="PUT"),
    "invalid_url": line("x", url="/v1/chat/completions"),
    "": b"  \n",
}
"""A line of each error's code; without a code it is no request and no error."""


def reading(content: bytes) -> Read:
    return lambda offset, size: content[offset : offset + size]


def checked(content: bytes, **settings: Any) -> Checked:
    return check(reading(content), "/v1/rerank", Settings(models=("fake",), **settings))


@given(st.lists(st.one_of(st.none(), st.sampled_from(sorted(SPOILT))), max_size=MOST_ERRORS - 1), st.booleans())
def test_spoilt_lines_are_named_and_no_others(kinds: list[str | None], ends: bool) -> None:
    rows = [line(f"id {number}") if kind is None else SPOILT[kind] for number, kind in enumerate(kinds, 1)]
    content = b"".join(rows)
    found = checked(content if ends else content.removesuffix(b"\n"))
    expected = [(kind, number) for number, kind in enumerate(kinds, 1) if kind]
    asked = sum(1 for kind in kinds if kind != "")
    assert found.total == asked
    assert [(error["code"], error["line"]) for error in found.errors] == (expected if asked else [("empty_file", None)])


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=40))
def test_a_name_that_comes_again_is_named_where_it_does(names: list[str]) -> None:
    found = checked(b"".join(line(name) for name in names))
    again = [number for number, name in enumerate(names, 1) if name in names[: number - 1]]
    assert [(error["code"], error["line"]) for error in found.errors] == [("duplicate_custom_id", number) for number in again]


@given(st.lists(st.integers(1, 300), min_size=1, max_size=12))
def test_the_first_line_that_is_too_long_ends_the_reading(sizes: list[int]) -> None:
    rows = [line(f"id {number}", {**BODY, "query": "q" * size}) for number, size in enumerate(sizes, 1)]
    most = len(line("id 1", {**BODY, "query": "q" * 150})) - 1
    found = checked(b"".join(rows), max_body_bytes=most)
    long = [number for number, row in enumerate(rows, 1) if len(row) - 1 > most]
    assert [(error["code"], error["line"]) for error in found.errors] == [("line_too_long", number) for number in long[:1]]


@pytest.mark.parametrize(("count", "errors"), [(3, []), (4, [("too_many_requests", 4)]), (9, [("too_many_requests", 4)])])
def test_a_file_has_so_many_lines(count: int, errors: list[tuple[str, int]]) -> None:
    found = checked(b"".join(line(f"{number}") for number in range(count)), max_batch_lines=3)
    assert [(error["code"], error["line"]) for error in found.errors] == errors


def test_no_more_than_a_hundred_errors_are_told() -> None:
    assert len(checked(SPOILT["invalid_method"] * 250).errors) == MOST_ERRORS == 100


def test_a_lone_surrogate_is_a_name_like_any() -> None:
    row = line("x").replace(b'"x"', b'"\\ud800"')
    assert json.loads(row)["custom_id"] == "\ud800"
    assert [error["code"] for error in checked(row * 2).errors] == ["duplicate_custom_id"]
