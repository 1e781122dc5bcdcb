"""What is sent for one request: a status, headers, and a body, whole or in pieces.

Knows an endpoint's Answer and ASGI's messages. Invariant: `size` is what the answer's Content-Length says.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from gigarank.errors import GigarankError
from gigarank.service.call import Answer
from gigarank.service.http import headers as names

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes
    answer: Answer | None = None

    @property
    def stream(self) -> AsyncIterator[bytes] | None:
        return None if self.answer is None else self.answer.stream

    @property
    def size(self) -> int:
        return len(self.body) if self.answer is None or self.stream is None else self.answer.size

    def close(self) -> None:
        if self.answer is not None and self.answer.close is not None:
            self.answer.close()


def encoded(answer: Answer) -> Reply:
    headers = {"content-type": JSON, **names.timing_headers(answer), **answer.headers}
    if answer.stream is not None:
        return Reply(answer.status, headers, b"", answer)
    if isinstance(answer.body, bytes):
        return Reply(answer.status, headers, answer.body, answer)
    return Reply(answer.status, headers, orjson.dumps(answer.body, option=orjson.OPT_SERIALIZE_NUMPY), answer)


async def send_stream(stream: AsyncIterator[bytes], send: Send, timeout_s: float) -> None:
    """What cannot be read to its end, or is not taken by the client, ends with its connection: the server sees that the
    answer is not whole."""
    with suppress(TimeoutError, GigarankError):
        async for chunk in stream:
            async with asyncio.timeout(timeout_s):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
