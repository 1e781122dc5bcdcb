"""What is refused before an endpoint hears of it: bodies too large, too slow, too many, too deep, or no JSON."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from asgi import Reply, Visit, ask, posting, run, visit
from gigarank.errors import InvalidInput
from gigarank.service.app import create_app
from gigarank.service.call import Answer, Call, Route
from gigarank.service.fake import FakeBackend
from gigarank.service.http.body import Intake
from gigarank.service.http.json_text import nesting, parse
from gigarank.service.settings import Settings


def app_and_bodies(**settings: Any) -> tuple[FastAPI, list[Any]]:
    bodies: list[Any] = []

    async def keep(call: Call) -> Answer:
        bodies.append(call.body)
        return Answer({})

    route = Route("POST", "/v1/rerank", keep, "", "rerank")
    return create_app(Settings(**settings), FakeBackend(), [route]), bodies


def answer_to(request: Visit, **settings: Any) -> tuple[Reply, list[Any]]:
    app, bodies = app_and_bodies(**settings)
    return ask(app, request), bodies


# How much.


def test_a_body_is_refused_by_its_length_before_it_is_read() -> None:
    reply, bodies = answer_to(posting(b'"' + b"x" * 2_000 + b'"'), max_body_bytes=1_024)
    assert (reply.status, reply.error["code"]) == (413, "request_too_large")
    assert (reply.error["limit"], reply.error["received"]) == (1_024, 2_002)
    assert "2002 bytes; at most 1024" in reply.error["message"]
    assert bodies == []


def test_a_body_of_exactly_the_limit_is_taken() -> None:
    body = b'["' + b"x" * 1_020 + b'"]'
    reply, bodies = answer_to(posting(body), max_body_bytes=1_024)
    assert (len(body), reply.status, len(bodies)) == (1_024, 200, 1)


def test_a_body_without_a_length_is_refused_at_the_limit() -> None:
    request = Visit(headers={"transfer-encoding": "chunked"}, chunks=[b"x" * 600] * 4)
    reply, bodies = answer_to(request, max_body_bytes=1_024)
    assert reply.status == 413
    assert (reply.error["limit"], reply.error["received"]) == (1_024, 1_200)
    assert "more than 1024 bytes" in reply.error["message"]
    assert bodies == []


def test_what_a_refused_client_still_sends_is_taken_in_so_that_it_reads_its_answer() -> None:
    request = Visit(headers={"transfer-encoding": "chunked"}, chunks=[b"x" * 600] * 3)
    reply, _ = answer_to(request, max_body_bytes=1_024)
    assert request.taken == 3
    assert "connection" not in reply.headers


def test_but_not_without_end() -> None:
    request = Visit(headers={"transfer-encoding": "chunked"}, chunks=[b"x" * 600] * 1_000)
    reply, _ = answer_to(request, max_body_bytes=1_024)
    assert request.taken < 10
    assert reply.headers["connection"] == "close"


def test_a_length_that_lies_does_not_get_past_the_limit() -> None:
    request = Visit(headers={"content-length": "10"}, chunks=[b"x" * 600] * 4)
    assert answer_to(request, max_body_bytes=1_024)[0].status == 413


def test_an_unread_body_closes_the_connection() -> None:
    request = posting({"query": "x"}, "/nowhere")
    request.chunks, request.stalls = [b"{"], True
    app, _ = app_and_bodies()
    began = time.monotonic()
    assert ask(app, request).headers["connection"] == "close"
    assert time.monotonic() - began < 5


def test_all_bodies_together_have_a_limit_that_is_given_back() -> None:
    async def scenario() -> tuple[Reply, Reply]:
        app, _ = app_and_bodies(max_body_bytes=4_096, max_buffered_bytes=6_000, body_timeout_s=0.5)
        slow = Visit(headers={"content-length": "4000"}, chunks=[b"["], stalls=True)
        first = asyncio.create_task(visit(app, slow))
        await asyncio.sleep(0.05)
        refused = await visit(app, posting([0] * 1_000))
        await first
        return refused, await visit(app, posting([0] * 1_000))

    refused, later = run(scenario())
    assert (refused.status, refused.error["limit"]) == (429, 6_000)
    assert "retry-after-ms" in refused.headers
    assert later.status == 200


def test_a_reservation_ends_with_its_request_whatever_happens() -> None:
    intake = Intake(10)
    with pytest.raises(ZeroDivisionError), intake.reserve(10):
        assert intake.held == 10
        print(1 // 0)
    assert intake.held == 0


# How fast.


def test_a_body_that_does_not_come_is_408() -> None:
    request = Visit(headers={"content-length": "100"}, chunks=[b'{"query'], stalls=True)
    reply, bodies = answer_to(request, body_timeout_s=0.2)
    assert (reply.status, reply.error["limit"]) == (408, 0.2)
    assert reply.headers["connection"] == "close"
    assert bodies == []


# What is no JSON.

WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "body: empty"),
    "blank": (b" \n ", "body: empty"),
    "cut": (b'{"query": "pla', "line 1 column"),
    "second line": (b'{"a": 1,\n "b" 2}', "line 2 column 6"),
    "two values": (b"{} {}", "line 1 column 4"),
    "not a number": (b'{"a": NaN}', "line 1 column 7"),
    "bytes": (b'{"query": "\xff"}', "byte 11 is no UTF-8"),
    "text": (b'"text"', "a string; a JSON object is expected"),
    "number": (b"3.5", "a number"),
    "null": (b"null", "null"),
    "true": (b"true", "a boolean"),
    "half a pair and no JSON": (rb'{"a": "\ud83d" x}', "line 1 column"),
    "half a pair and no number": (rb'{"a": "\ud83d", "b": NaN}', "line 1 column"),
    "form": (b"query=plants&documents=x", "line 1 column 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_json_object_is_400_with_its_place(name: str) -> None:
    body, message = WRONG[name]
    reply, bodies = answer_to(posting(body))
    assert (reply.status, reply.error["param"]) == (400, "body")
    assert message in reply.error["message"]
    assert bodies == []


def test_the_message_never_quotes_the_body() -> None:
    for body in (b'{"query": "launch code 4711" x}', b'{"q": "launch code 4711 \xff"}', b'"launch code 4711"'):
        assert b"4711" not in answer_to(posting(body))[0].body


def test_lists_and_objects_are_taken_whatever_the_content_type() -> None:
    for content_type in ("application/json", "text/plain", "application/x-www-form-urlencoded", ""):
        reply, bodies = answer_to(posting({"a": [1]}, content_type=content_type))
        assert (reply.status, bodies) == (200, [{"a": [1]}])
    assert answer_to(posting([1, 2]))[1] == [[1, 2]]


def test_a_compressed_body_is_refused_by_name() -> None:
    reply, _ = answer_to(posting({}, content_encoding="gzip"))
    assert (reply.status, reply.error["param"]) == (400, "content-encoding")
    assert answer_to(posting({}, content_encoding="identity"))[0].status == 200


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse(b"\xef\xbb\xbf[1]", 4) == [1]


def test_a_key_that_stands_twice_has_its_last_value() -> None:
    assert parse(b'{"top_n": 1, "top_n": 2}', 4) == {"top_n": 2}


def test_half_a_surrogate_pair_does_not_fail_the_whole_request() -> None:
    """JavaScript clients that cut a text in the middle of an emoji send such halves."""
    assert parse(rb'{"documents": ["a\ud83d", "\ude00b", "\ud83d\ude00"]}', 4) == {
        "documents": ["a\ufffd", "\ufffdb", "\U0001f600"]
    }


# How deep.


def deep(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def test_nesting_has_a_limit_that_is_checked_before_the_parser() -> None:
    assert answer_to(posting(deep(64)))[0].status == 200
    reply, _ = answer_to(posting(deep(65)))
    assert (reply.status, reply.error["limit"], reply.error["received"]) == (400, 64, 65)
    assert answer_to(posting(b'{"a":' * 100_000))[0].error["received"] == 100_000


def test_many_brackets_side_by_side_are_not_deep() -> None:
    body = json.dumps({"documents": [{"text": "[[[["}] * 500}).encode()
    assert answer_to(posting(body))[0].status == 200


def test_brackets_in_strings_do_not_count_whatever_stands_before_them() -> None:
    assert nesting(rb'["\"[[[", "\\", "[\\\"[["]') == 1
    assert nesting(rb'["\\\\"[[') == 3  # outside again


def test_hostile_brackets_take_no_time() -> None:
    began = time.monotonic()
    for body in (b"[" * 2**22, b"[]" * 2**21, deep(60) * 30_000, b'""' * 2**20 + b"[" * 65, rb"\"" * 2**20 + b"[" * 65):
        with pytest.raises(InvalidInput):
            parse(body, 64)
    assert time.monotonic() - began < 5


def reference_depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(reference_depth, value.values()), default=0)
    return 1 + max(map(reference_depth, value), default=0) if isinstance(value, list) else 0


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.text() | st.none() | st.integers(-5, 5), lambda inner: st.lists(inner) | st.dictionaries(st.text('[{"\\'), inner)
)


@given(VALUES, st.sampled_from([json.dumps, lambda value: orjson.dumps(value).decode()]))
def test_nesting_is_the_depth_of_the_value(value: Any, dump: Callable[[Any], str]) -> None:
    assert nesting(dump(value).encode("utf-8", "surrogatepass")) == reference_depth(value)
