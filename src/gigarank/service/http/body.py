"""A request's body, as it comes in: how much, how fast, and how much of all bodies together.

Knows ASGI's messages and no JSON. Invariant: no more than the limit of one body, and of all bodies, is ever held; a body
that is too large is refused by its Content-Length before it is read, and at the limit where it has none.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from gigarank.errors import ClientClosed, InvalidInput, Overloaded, RequestTimeout, RequestTooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_LINGER_S = 2.0


class Intake:
    """The memory that bodies share: `reserve` holds a part of it for as long as a request lasts."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held = 0

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        if self.held + size > self.max_bytes:
            message = f"the bodies of the waiting requests hold {self.held} of {self.max_bytes} bytes; this one has {size} more"
            raise Overloaded(message, retry_after=1.0, limit=self.max_bytes, received=self.held + size)
        self.held += size
        try:
            yield
        finally:
            self.held -= size


def announced_bytes(headers: Mapping[str, str], max_bytes: int) -> int:
    """How much memory a body needs: its Content-Length, or the limit where it does not say."""
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        message = f"content-encoding: {encoding[:40]!r} is not read here; send the body as it is"
        raise InvalidInput(message, param="content-encoding", limit="identity", received=encoding[:40])
    length = headers.get("content-length", "")
    if not length.isdecimal():
        return max_bytes if "transfer-encoding" in headers else 0
    if int(length) > max_bytes:
        raise _too_large(max_bytes, int(length))
    return int(length)


def _too_large(limit: int, received: int, more: bool = False) -> RequestTooLarge:
    found = f"more than {limit}" if more else str(received)
    message = f"body: {found} bytes; at most {limit} (max_body_bytes)"
    return RequestTooLarge(message, param="body", limit=limit, received=received)


class Incoming:
    """The body of one request on its way in. `complete`: nothing of it is still to come."""

    def __init__(self, receive: Receive, headers: Mapping[str, str]) -> None:
        self._receive = receive
        self.complete = "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"
        self.size = 0

    async def read(self, max_bytes: int, timeout_s: float) -> bytes:
        """All of it, or RequestTooLarge, RequestTimeout, ClientClosed."""
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(timeout_s):
                while not self.complete:
                    chunks.append(await self._next())
                    if self.size > max_bytes:
                        raise _too_large(max_bytes, self.size, more=not self.complete)
        except TimeoutError:
            message = f"body: not here after {timeout_s:g} s (body_timeout_s)"
            raise RequestTimeout(message, param="body", limit=timeout_s) from None
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def chunks(self, timeout_s: float) -> AsyncIterator[bytes]:
        """The body in pieces, each of which has to be here in time. Raises RequestTimeout, ClientClosed."""
        while not self.complete:
            try:
                async with asyncio.timeout(timeout_s):
                    chunk = await self._next()
            except TimeoutError:
                message = f"body: nothing of it for {timeout_s:g} s (body_timeout_s)"
                raise RequestTimeout(message, param="body", limit=timeout_s) from None
            yield chunk

    async def discard(self, max_bytes: int) -> None:
        """Forget what a refused client still sends, for a while: most read an answer only once they have sent all."""
        try:
            async with asyncio.timeout(_LINGER_S):
                end = self.size + max_bytes
                while not self.complete and self.size <= end:
                    await self._next()
        except TimeoutError:
            return

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientClosed("the client left while it sent its request")
        chunk: bytes = message.get("body", b"")
        self.size += len(chunk)
        self.complete = not message.get("more_body", False)
        return chunk

    async def until_gone(self) -> None:
        """Returns when the client has left. To be called once the body is complete."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
