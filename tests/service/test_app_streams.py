"""Answers in pieces and bodies that an endpoint reads by itself: what is sent and counted, and what happens in the middle."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest

from asgi import Reply, Visit, ask, getting, run, visit
from gigarank.errors import InvalidInput, StorageUnavailable
from gigarank.service.app import create_app
from gigarank.service.call import Answer, Call, Endpoint, Route
from gigarank.service.fake import FakeBackend
from gigarank.service.http.reply import Reply as Sent
from gigarank.service.http.reply import encoded, send_stream
from gigarank.service.settings import Settings


async def pieces(*texts: bytes, fails: Exception | None = None) -> AsyncIterator[bytes]:
    for text in texts:
        yield text
    if fails is not None:
        raise fails


async def streamed(call: Call) -> Answer:
    headers = {"content-type": "application/jsonl"}
    return Answer(None, headers=headers, stream=pieces(b"abc", b"", b"de"), size=5)


async def broken(call: Call) -> Answer:
    return Answer(None, stream=pieces(b"abc", fails=StorageUnavailable("the disk is gone")), size=5)


async def counted(call: Call) -> Answer:
    """How much came, piece by piece, and an early end for what begins with x."""
    assert call.upload is not None and call.body == {}
    sizes = []
    async for piece in call.upload:
        if piece.startswith(b"x"):
            raise InvalidInput("body: begins with x", param="body")
        sizes.append(len(piece))
    return Answer({"sizes": sizes})


async def removed(call: Call) -> Answer:
    return Answer({"removed": call.parameters["name"], "body": call.body})


def route(method: Any, path: str, endpoint: Endpoint, **more: Any) -> Route:
    return Route(method, path, endpoint, "", "test", **more)


ROUTES = (
    route("GET", "/streamed", streamed),
    route("GET", "/broken", broken),
    route("POST", "/counted", counted, upload=True),
    route("DELETE", "/things/{name}", removed),
    route("POST", "/things/{name}/end", removed, hosted="end"),
)


def app(**settings: Any) -> Any:
    return create_app(Settings(models=("fake",), **settings), FakeBackend(), ROUTES)


def test_an_answer_in_pieces_has_its_length_and_type() -> None:
    reply = ask(app(), getting("/streamed"))
    assert (reply.status, reply.body) == (200, b"abcde")
    assert (reply.headers["content-length"], reply.headers["content-type"]) == ("5", "application/jsonl")
    head = ask(app(), Visit("HEAD", "/streamed"))
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "5")


def test_what_is_sent_in_pieces_is_counted() -> None:
    sent = encoded(Answer(None, stream=pieces(), size=7))
    assert (sent.size, sent.body, sent.stream is None) == (7, b"", False)
    assert (Sent(200, {}, b"abc").size, encoded(Answer({"a": 1})).size) == (3, 7)


def messages_of(stream: AsyncIterator[bytes], delay_s: float = 0.0, timeout_s: float = 5.0) -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        await asyncio.sleep(delay_s)
        sent.append(message)

    run(send_stream(stream, send, timeout_s))
    return sent


def test_an_answer_that_breaks_is_not_ended() -> None:
    """The server then closes the connection, and the client sees that it has not got all."""
    whole = messages_of(pieces(b"a", b"b"))
    assert [message.get("more_body", False) for message in whole] == [True, True, False]
    cut = messages_of(pieces(b"a", fails=StorageUnavailable("gone")))
    assert [message.get("more_body", False) for message in cut] == [True]
    assert messages_of(pieces(b"a", b"b"), delay_s=0.5, timeout_s=0.05) == []
    assert ask(app(), getting("/broken")).body == b"abc"


def test_a_defect_in_the_middle_is_no_silence() -> None:
    with pytest.raises(KeyError):
        messages_of(pieces(b"a", fails=KeyError("unforeseen")))


def uploading(*chunks: bytes, **more: Any) -> Visit:
    return Visit("POST", "/counted", {"content-length": str(sum(map(len, chunks)))}, chunks, **more)


def test_an_endpoint_reads_a_body_longer_than_others_may_be() -> None:
    reply = ask(app(max_body_bytes=1_024), uploading(b"a" * 2_000, b"b" * 3_000))
    assert (reply.status, reply.json) == (200, {"sizes": [2_000, 3_000]})
    assert "connection" not in reply.headers
    early = ask(app(max_body_bytes=1_024), uploading(b"x", b"b" * 100_000, b"c"))
    assert (early.status, early.error["param"], early.headers["connection"]) == (400, "body", "close")


def test_a_body_that_stops_is_408_and_a_client_that_leaves_499() -> None:
    stalled = ask(app(body_timeout_s=0.1), uploading(b"a", stalls=True))
    assert (stalled.status, stalled.error["param"]) == (408, "body")
    assert "nothing of it for 0.1 s" in stalled.error["message"]

    async def leaving() -> Reply:
        gone = asyncio.Event()
        gone.set()
        return await visit(app(), uploading(b"a", stalls=True, leaves=gone))

    assert run(leaving()).status == 499


def test_delete_is_a_method_of_its_own() -> None:
    reply = ask(app(), Visit("DELETE", "/things/7"))
    assert (reply.status, reply.json) == (200, {"removed": "7", "body": {}})
    refused = ask(app(), getting("/things/7"))
    assert (refused.status, refused.headers["allow"]) == (405, "DELETE")


def test_a_post_of_accounts_needs_no_body() -> None:
    assert ask(app(), Visit("POST", "/things/7/end", {"content-length": "0"})).json["body"] == {}
    assert ask(app(), Visit("POST", "/things/7/end", {"content-length": "1"}, [b"{"])).status == 400
