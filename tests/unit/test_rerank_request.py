"""Every field under every name, null and as text, into the one internal request."""

from typing import Any

import pytest

from gigarank.errors import InvalidInput, UnsupportedParameter
from gigarank.prompt import WEB_SEARCH
from gigarank.service.backend import Urgency
from gigarank.service.rerank.presets import PRESETS, preset
from gigarank.service.rerank.request import Options, RerankRequest, read_request
from gigarank.types import Windows
from rerank_calls import DOCUMENTS, RECEIVED, call_of

TEXTS = {"query": "q", "documents": ["a", "b"]}


def read(extra: dict[str, Any] | None = None, **rest: Any) -> RerankRequest:
    return read_request(call_of(TEXTS | (extra or {}), **rest))


def options(extra: dict[str, Any]) -> Options:
    return read(extra).options


@pytest.mark.parametrize("name", ["documents", "texts", "passages", "items", "input"])
def test_documents_under_every_name(name: str) -> None:
    (asked,) = read_request(call_of({"query": "q", name: DOCUMENTS})).searches
    assert [document.text for document in asked.documents] == DOCUMENTS


def test_texts_nested_as_dashscope_nests_them() -> None:
    (asked,) = read_request(call_of({"input": {"query": "q", "documents": ["a"]}})).searches
    assert (asked.query, asked.documents[0].text) == ("q", "a")


@pytest.mark.parametrize(
    ("body", "param"), [({"query": "q"}, "documents"), ({"query": "q", "input": {"query": "q"}}, "input.documents")]
)
def test_absent_documents(body: Any, param: str) -> None:
    with pytest.raises(InvalidInput, match="list of documents must not be empty") as caught:
        read_request(call_of(body))
    assert caught.value.param == param


def test_an_absent_query_and_a_body_that_is_no_object() -> None:
    with pytest.raises(InvalidInput, match="query must not be empty"):
        read_request(call_of({"documents": ["a"]}))
    with pytest.raises(InvalidInput, match=r"^body: must be a JSON object"):
        read_request(call_of([1]))


@pytest.mark.parametrize("name", ["query", "queries"])
def test_many_queries_over_the_same_documents(name: str) -> None:
    request = read_request(call_of({name: ["q", "r"], "documents": ["a", "b"]}))
    assert request.many
    assert [asked.query for asked in request.searches] == ["q", "r"]
    assert all(len(asked.documents) == 2 for asked in request.searches)


def test_many_queries_each_over_its_own_documents() -> None:
    request = read_request(call_of({"queries": ["q", "r"], "documents": [["a"], ["b", "c"]]}))
    assert [[document.text for document in asked.documents] for asked in request.searches] == [["a"], ["b", "c"]]
    with pytest.raises(InvalidInput, match="one array a query is needed, 2 in all, not 1"):
        read_request(call_of({"queries": ["q", "r"], "documents": [["a"]]}))


@pytest.mark.parametrize(
    "extra",
    [
        {"instruction": "I"},
        {"instruct": "I"},
        {"task": "I"},
        {"prompt": "I"},
        {"chat_template_kwargs": {"instruction": "I"}},
        {"parameters": {"instruct": "I"}},
        {"instruction": None, "instruct": "I"},
        {"instruction": " I "},
    ],
)
def test_the_instruction_under_every_name(extra: dict[str, Any]) -> None:
    assert options(extra).instruction == "I"


@pytest.mark.parametrize("extra", [{}, {"instruction": None}, {"instruction": ""}, {"task": " "}, {"chat_template_kwargs": 3}])
def test_no_instruction_is_the_formats_default(extra: dict[str, Any]) -> None:
    assert options(extra).instruction is None


@pytest.mark.parametrize("extra", [{"instruction": "preset:fact-check"}, {"preset": "fact-check"}])
def test_an_instruction_by_its_name(extra: dict[str, Any]) -> None:
    assert options(extra).instruction == "Given a claim, retrieve documents that support or refute the claim"


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"^instruction: no preset of that name; known: web-search, argument"):
        read({"instruction": "preset:nope"})
    with pytest.raises(InvalidInput, match=r"^preset: "):
        read({"preset": 5})


def test_the_presets_are_sentences_with_the_default_first() -> None:
    assert next(iter(PRESETS.values())).instruction == WEB_SEARCH == preset("web-search", "preset")
    assert len(PRESETS) >= 12
    for name, one in PRESETS.items():
        assert one.name == name == name.lower()
        assert one.instruction.startswith("Given a")
        assert not one.instruction.endswith(".")
    assert len({one.instruction for one in PRESETS.values()}) == len(PRESETS)


@pytest.mark.parametrize("name", ["top_n", "top_k"])
@pytest.mark.parametrize(("value", "meaning"), [(0, None), (None, None), (-1, None), ("3", 3), (3.0, 3), (99, 99)])
def test_how_many_come_back(name: str, value: Any, meaning: int | None) -> None:
    assert options({name: value}).top_n == meaning
    assert options({"parameters": {name: value}}).top_n == meaning


@pytest.mark.parametrize("value", [-2, "-5", "many", 1.5, True])
def test_how_many_is_refused_where_it_means_nothing(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^top_k: ") as caught:
        read({"top_k": value})
    assert caught.value.param == "top_k"


@pytest.mark.parametrize("name", ["return_documents", "return_text", "return_input"])
@pytest.mark.parametrize(("value", "meaning"), [(True, True), ("true", True), ("false", False), (None, None)])
def test_whether_documents_come_back(name: str, value: Any, meaning: bool | None) -> None:
    assert options({name: value}).return_documents is meaning


@pytest.mark.parametrize(
    ("extra", "raw"),
    [
        ({}, False),
        ({"raw_scores": True}, True),
        ({"raw_scores": "true"}, True),
        ({"use_activation": False}, True),
        ({"use_activation": None}, False),
        ({"use_activation": True}, False),
    ],
)
def test_raw_scores(extra: dict[str, Any], raw: bool) -> None:
    assert options(extra).raw_scores is raw


@pytest.mark.parametrize("name", ["truncate", "truncation"])
@pytest.mark.parametrize(
    ("value", "meaning"), [(True, True), (False, False), ("NONE", False), ("END", True), ("false", False), (None, True)]
)
def test_whether_documents_are_cut(name: str, value: Any, meaning: bool) -> None:
    assert options({name: value}).truncate is meaning
    assert options({"parameters": {name: value}}).truncate is meaning


@pytest.mark.parametrize(
    "extra", [{"truncation_side": "left"}, {"truncation_direction": "Left"}, {"truncate": "START"}, {"truncate": "left"}]
)
def test_cutting_the_start_is_refused_and_says_why(extra: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedParameter, match="documents are cut at their end only") as caught:
        read(extra)
    assert caught.value.param in extra


def test_cutting_the_end_is_what_happens_anyway() -> None:
    assert options({"truncation_side": "right", "truncation_direction": None}) == options({})
    with pytest.raises(InvalidInput, match=r"^truncation_side: must be"):
        read({"truncation_side": "middle"})


@pytest.mark.parametrize(
    ("extra", "limit"),
    [
        ({"max_tokens_per_doc": 7}, 7),
        ({"max_doc_length": "7"}, 7),
        ({"truncate_prompt_tokens": 7}, 7),
        ({"truncate_prompt_tokens": 7, "max_tokens_per_doc": 9}, 7),
        ({"max_tokens_per_doc": None}, None),
        ({"max_tokens_per_doc": 0, "truncate_prompt_tokens": -1}, None),
    ],
)
def test_the_longest_document(extra: dict[str, Any], limit: int | None) -> None:
    assert options(extra).max_document_tokens == limit


@pytest.mark.parametrize(("extra", "limit"), [({"max_tokens_per_query": 5}, 5), ({"max_query_length": 5}, 5), ({}, None)])
def test_the_longest_query(extra: dict[str, Any], limit: int | None) -> None:
    assert options(extra).max_query_tokens == limit


@pytest.mark.parametrize(
    ("extra", "windows"),
    [
        ({}, None),
        ({"max_chunks_per_doc": None, "overlap_tokens": None}, None),
        ({"max_chunks_per_doc": 0}, None),
        ({"max_chunks_per_doc": 1024, "overlap_tokens": 80}, Windows(80, 1024)),
        ({"max_chunks_per_doc": "10"}, Windows(256, 10)),
        ({"overlap_tokens": 0}, Windows(0, None)),
    ],
)
def test_windows(extra: dict[str, Any], windows: Windows | None) -> None:
    assert options(extra).windows == windows


@pytest.mark.parametrize("name", ["model", "model_id"])
def test_the_model(name: str) -> None:
    assert read({name: "nano"}).model == "nano"
    assert [read({name: value}).model for value in (None, "", "default/not-specified")] == [None] * 3


HEADERS = Urgency(priority=4, tier="batch", deadline=5.0, wait_s=6.0)


def test_urgency_is_the_headers_unless_the_body_says_otherwise() -> None:
    assert read(urgency=HEADERS).urgency == HEADERS
    body = {"priority": "-2", "service_tier": "default", "deadline_ms": 250}
    assert read(body, urgency=HEADERS).urgency == Urgency(-2, "default", RECEIVED + 0.25, 6.0)


@pytest.mark.parametrize(
    ("extra", "tier"),
    [
        ({"service_tier": "flex"}, "batch"),
        ({"service_tier": "Batch"}, "batch"),
        ({"service_tier": "auto"}, "default"),
        ({"service_tier": None}, "default"),
        ({"latency": "slow"}, "batch"),
        ({"latency": "fast"}, "default"),
    ],
)
def test_the_flexible_tier(extra: dict[str, Any], tier: str) -> None:
    assert read(extra).urgency.tier == tier


@pytest.mark.parametrize("extra", [{"deadline_ms": 0}, {"deadline_ms": "soon"}, {"priority": 5_000}, {"on_error": "retry"}])
def test_what_means_nothing_is_refused_by_its_name(extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(extra)
    assert caught.value.param == next(iter(extra))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"preset": "code"}, {"instruction": 5}),
        ({"service_tier": "flex"}, {"latency": "soon"}),
        ({"raw_scores": True}, {"use_activation": "no"}),
    ],
)
def test_a_field_is_checked_even_where_another_decides(first: dict[str, Any], second: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(first | second)
    assert caught.value.param in second


def test_unknown_fields_are_ignored() -> None:
    extra = {"stream": True, "user": 5, "relevant_spans": {"mode": "enabled"}, "session_id": [], "rewrite_query": True}
    assert read(extra) == read()
