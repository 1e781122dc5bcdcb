"""Queries and documents in every form, and the YAML that stands for objects."""

from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from gigarank.errors import InvalidInput, UnsupportedParameter
from gigarank.service.rerank.texts import Document, as_yaml, read_documents, read_queries


@pytest.mark.parametrize(
    ("value", "queries", "many"),
    [
        ("q", ("q",), False),
        ({"text": "q"}, ("q",), False),
        (["q"], ("q",), True),
        (["q", {"text": "r"}], ("q", "r"), True),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], ("a\nb",), False),
    ],
)
def test_queries_in_every_form(value: Any, queries: tuple[str, ...], many: bool) -> None:
    assert read_queries(value, "query") == (queries, many)


@pytest.mark.parametrize("value", ["", " \n\t", {"text": " "}, [], [{"type": "text", "text": " "}], ["q", ""]])
def test_a_blank_query_is_refused_in_the_words_that_clients_know(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^invalid request: query must not be empty or be only whitespace$"):
        read_queries(value, "query")


@pytest.mark.parametrize("value", [5, {}, {"text": 5}, [5], [["q"]]])
def test_what_is_no_query(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^query(\[0\])?: must be a string or an object with text"):
        read_queries(value, "query")


def test_a_part_that_is_no_text_is_refused_by_its_kind() -> None:
    with pytest.raises(UnsupportedParameter, match=r"query\[1\]: only text is read, not 'image_url'"):
        read_queries([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}], "query")


def texts(value: Any, rank_fields: tuple[str, ...] = ()) -> list[str]:
    return [document.text for document in read_documents(value, "documents", rank_fields)]


def test_documents_in_every_form() -> None:
    assert texts(["a", {"text": "b", "id": 1}, {"title": "c", "year": 2}, ""]) == ["a", "b", "title: c\nyear: 2", ""]
    assert texts("one") == ["one"]


def test_rank_fields_choose_and_order_what_is_read() -> None:
    item = {"text": "t", "body": "b", "title": "T"}
    assert texts([item], ("title", "body")) == ["title: T\nbody: b"]
    assert texts([item], ("body", "title", "absent")) == ["body: b\ntitle: T"]
    assert texts([item], ("body",)) == ["b"]
    assert texts([{"body": ["b"]}], ("body",)) == ["body:\n  - b"]
    assert texts([item, {"other": 1}], ("absent",)) == ["t", "other: 1"]


@pytest.mark.parametrize("value", [None, 5, True, [], ["nested"]])
def test_a_document_that_is_none_fails_alone_and_is_named(value: Any) -> None:
    first, second = read_documents(["a", value], "texts", ())
    assert first == Document("a", "a")
    assert second.failure is not None
    assert (second.failure.param, second.failure.limit) == ("texts[1]", "a string or an object")


def test_no_documents_are_refused_in_the_words_that_clients_know() -> None:
    with pytest.raises(InvalidInput, match=r"^invalid request: list of documents must not be empty$") as caught:
        read_documents([], "documents", ())
    assert (caught.value.param, caught.value.limit, caught.value.received) == ("documents", 1, 0)
    with pytest.raises(InvalidInput, match=r"^documents: must be an array"):
        read_documents({"text": "a"}, "documents", ())


def test_an_echo_always_has_text_and_keeps_what_was_sent() -> None:
    string, with_text, without = read_documents(["a", {"text": "b", "id": 1}, {"title": "c"}], "documents", ())
    assert string.echo == {"text": "a"}
    assert with_text.echo == {"text": "b", "id": 1}
    assert without.echo == {"title": "c", "text": "title: c"}


def test_yaml_reads_like_prose_and_leaves_scripts_alone() -> None:
    value = {"title": "火星 is red", "tags": ["a", {"b": None}], "body": "one\ntwo: 2", "price": 1.5, "on": True}
    assert as_yaml(value) == (
        'title: 火星 is red\ntags:\n  - a\n  -\n    b: null\nbody: |-\n  one\n  two: 2\nprice: 1.5\n"on": true'
    )


_TEXT = st.text() | st.sampled_from(
    ["yes", "null", "12", "a: b", "- a", "x\n y", "a #b", "\x85", "x\n\ny", "x\n", "\nx", "1_0", "~", ".5"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("depth", [3, 8, 9, 60])
def test_yaml_grows_with_what_it_says_however_deep_it_lies(depth: int) -> None:
    value: Any = ["leaf"] * 500
    for _ in range(depth):
        value = [value]
    text = as_yaml({"a": value})
    assert yaml.safe_load(text) == {"a": value}
    assert len(text) < 500 * 30


@given(st.dictionaries(_TEXT, _VALUES, min_size=1, max_size=4))
def test_yaml_reads_back_as_what_it_was(value: dict[str, Any]) -> None:
    assert yaml.safe_load(as_yaml(value)) == value
