"""How much a rerank request may ask for: counted before it is read, whatever its lists are."""

from typing import Any

import pytest

from gigarank.errors import InvalidInput, RequestTooLarge
from gigarank.service.rerank import dialect, pairs, request
from gigarank.service.settings import Settings
from rerank_calls import ASKED, answer_of, ask, body_of, call_of, work_of

LIMITS = Settings(max_documents=10, max_body_bytes=1_000)


class Untouched(list[Any]):
    """A list of a known length whose items nobody may look at."""

    def __iter__(self) -> Any:
        raise AssertionError("it was read")


def asked(queries: Any, documents: Any, **rest: Any) -> dict[str, Any]:
    return {"query": queries, "documents": documents, **rest}


@pytest.mark.parametrize(
    ("queries", "documents", "received"),
    [
        ("q", Untouched(["d"] * 11), 11),
        (["q"] * 4, ["d"] * 3, 12),
        (["q"] * 11, "d", 11),
        (["q"] * 2, [["d"] * 5, ["d"] * 6], 11),
        (["q"] * 11, [["d"]], 11),
    ],
)
def test_searches_are_counted_before_their_texts_are_read(queries: Any, documents: Any, received: int) -> None:
    with pytest.raises(RequestTooLarge, match="documents: at most 10 a request") as caught:
        request.read_request(call_of(asked(queries, documents), settings=LIMITS))
    assert (caught.value.param, caught.value.limit, caught.value.received) == ("documents", 10, received)


@pytest.mark.parametrize(
    ("queries", "documents"), [("q", ["d"] * 10), (["q"] * 5, ["d"] * 2), (["q"] * 10, "d"), (["q"] * 2, [["d"] * 5] * 2)]
)
def test_as_many_as_may_be_are_taken(queries: Any, documents: Any) -> None:
    work = work_of(asked(queries, documents), settings=LIMITS)
    assert sum(len(search.documents) for search in work.searches) == 10


def test_the_parts_of_one_message_are_one_query() -> None:
    parts = [{"type": "text", "text": "a"}] * 11
    assert len(work_of(asked(parts, ["d"]), settings=LIMITS).searches) == 1


@pytest.mark.parametrize("path", ["/v1/score", "/v1/inference/fake"])
@pytest.mark.parametrize(("queries", "documents"), [(["q"] * 11, ["d"] * 11), (["q"], ["d"] * 11), (["q"] * 11, ["d"])])
def test_pairs_are_counted_once_each(path: str, queries: list[str], documents: list[str]) -> None:
    status, body = ask({"queries": queries, "documents": documents}, path, settings=LIMITS)
    assert (status, body["error"]["limit"], body["error"]["received"]) == (413, 10, 11)
    assert ask({"queries": queries[:10], "documents": documents[:10]}, path, settings=LIMITS)[0] == 200


def test_pairs_are_counted_before_they_are_read() -> None:
    with pytest.raises(RequestTooLarge):
        pairs.read_pairs(call_of({"queries": "q", "documents": Untouched(["d"] * 11)}, settings=LIMITS))


def test_many_queries_repeat_no_documents_unasked() -> None:
    for path in ("/v1/rerank", "/rerank", "/v2/rerank"):
        for ranking in body_of({**ASKED, "query": ["red", "planet"]}, path)["results"]:
            assert all("document" not in result for result in ranking["results"])
    told = body_of({**ASKED, "query": ["red", "planet"], "return_documents": True})["results"][1]["results"]
    assert all("document" in result for result in told)


def test_what_many_queries_repeat_is_bounded() -> None:
    body = asked(["a", "b", "c"], ["x" * 400, {"text": "y", "more": "z" * 100}], return_documents=True)
    with pytest.raises(RequestTooLarge) as caught:
        answer_of(body, settings=LIMITS)
    told = caught.value
    assert (told.param, told.limit) == ("return_documents", 1_000)
    assert told.received == 3 * (400 + len('{"text": "y", "more": ""}') + 100)
    assert answer_of({**body, "query": ["a"]}, settings=LIMITS).status == 200
    assert answer_of({**body, "return_documents": False}, settings=LIMITS).status == 200
    with pytest.raises(RequestTooLarge) as best:
        answer_of({**body, "top_n": 1}, settings=LIMITS)
    assert best.value.received == 1_200


def test_ranked_fields_are_few_and_each_counts_once() -> None:
    document = {"b": "2", "a": "1"}
    assert work_of(asked("q", [document], rank_fields=["a", "b", "a"])).searches[0].documents == ('a: "1"\nb: "2"',)
    assert work_of(asked("q", [document], rank_fields=["a", "a"])).searches[0].documents == ("1",)
    work_of(asked("q", [document], rank_fields=["a"] * 100))
    with pytest.raises(InvalidInput, match="rank_fields: at most 100 names, not 101") as caught:
        answer_of(asked("q", [document], rank_fields=["a"] * 101))
    assert (caught.value.param, caught.value.limit, caught.value.received) == ("rank_fields", 100, 101)


@pytest.mark.parametrize(
    ("headers", "large"),
    [({}, False), ({"content-length": "200000"}, False), ({"content-length": "200001"}, True), ({"content-length": "x"}, True)],
)
def test_a_large_body_is_read_beside_the_others(headers: dict[str, str], large: bool) -> None:
    assert dialect._is_large(call_of(ASKED, headers=headers)) is large
    assert answer_of(ASKED, headers=headers).status == 200
