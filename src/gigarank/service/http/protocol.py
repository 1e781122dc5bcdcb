"""HTTP/1.1 on one connection, within limits that hold before there is a request: uvicorn's httptools protocol, bounded.

Knows bytes and timers, no routes. Invariant: a head grows no larger than the limits; whoever takes too long to send one, or
to read an answer, is disconnected; there are never more connections than allowed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gigarank.errors import GigarankError, HeadersTooLarge, InvalidInput, MethodNotAllowed, RequestTimeout, TryLater
from gigarank.service.errors import render
from gigarank.service.http.exchange import Exchange
from gigarank.service.http.headers import request_id
from gigarank.service.settings import Settings

_LAST_REQUEST_S = 0.5
_OFFERS = (b"upgrade", b"connection", b"http2-settings")


@dataclass(frozen=True, slots=True)
class Witness:
    """Who is told of what is refused before there is a request."""

    note: Callable[[Exchange], None]


def bounded_protocol(settings: Settings, note: Callable[[Exchange], None]) -> type[HttpToolsProtocol]:
    """The class that uvicorn makes its connections of. `note` is told of what is refused here."""
    return type("Bounded", (BoundedProtocol,), {"limits": settings, "witness": Witness(note)})


class BoundedProtocol(HttpToolsProtocol):
    limits: ClassVar[Settings] = Settings()
    witness: ClassVar[Witness]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = True
        self._head_bytes = 0  # of what was parsed
        self._raw_bytes = 0  # of what may still be one unfinished header
        self._refusal: GigarankError | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        most = self.limits.max_connections
        if len(self.connections) > most:
            message = f"{most} connections are open; no more are taken (max_connections)"
            self._refuse(TryLater(message, retry_after=1.0, limit=most, received=len(self.connections)))
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._raw_bytes += len(data)
            if self._timer is None and not self._answering:  # blank lines before a request are no request yet
                self._start_timer()
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._refusal or InvalidInput("this is no HTTP/1.1 request", param="request"))
        if self._in_head and self._raw_bytes > self.limits.max_header_bytes and not self.transport.is_closing():
            self._refuse(self._too_large("bytes", self.limits.max_header_bytes, self._raw_bytes))

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Java's client offers HTTP/2 with every request (`Upgrade: h2c`). The offer is passed over, and the request read."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(MethodNotAllowed("CONNECT: this is no proxy", param="method", received="CONNECT"))
            return
        head = [method, b" ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            if name not in _OFFERS:
                head += [name, b": ", value, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join([*head, b"\r\n", rest]))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        if self._timer is None:
            self._start_timer()

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value) + len(b": \r\n")
        limits = self.limits
        for unit, most, found in (
            ("bytes", limits.max_header_bytes, self._head_bytes),
            ("headers", limits.max_headers, len(self.headers)),
        ):
            if found > most:  # httptools ends the parsing by an error of its own
                self._refusal = self._too_large(unit, most, found)
                raise self._refusal

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():  # the parser ends here
            return
        self._stop_timer()
        self._in_head, self._raw_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._in_head = True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.get_write_buffer_size():  # a reader who does not read is not waited for without end
            self.loop.call_later(self.limits.body_timeout_s, self._abort_if_unread)

    def shutdown(self) -> None:
        """The process ends. A connection that is new, or in the middle of its headers, may still have its request answered."""
        if self.cycle is None or self._raw_bytes:
            self.loop.call_later(_LAST_REQUEST_S, self._close_if_unused)
        else:
            super().shutdown()

    def _close_if_unused(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _abort_if_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.limits.header_timeout_s, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        limit = self.limits.header_timeout_s
        if self._answering:  # the next request on this connection waits for this one's answer
            self._start_timer()
        elif self._raw_bytes:
            message = f"headers: not here after {limit:g} s (header_timeout_s)"
            self._refuse(RequestTimeout(message, param="headers", limit=limit))
        else:
            self.transport.close()

    def _too_large(self, unit: str, limit: int, received: int) -> HeadersTooLarge:
        setting = "max_headers" if unit == "headers" else "max_header_bytes"
        message = f"headers: {received} {unit}; at most {limit} ({setting})"
        return HeadersTooLarge(message, param="headers", limit=limit, received=received)

    def _refuse(self, error: GigarankError) -> None:
        """Answer without an application, and close."""
        own_id = request_id({})
        status, headers, body = render(error, "superset", own_id)
        content = orjson.dumps(body)
        client = self.client[0] if self.client else ""
        self.witness.note(Exchange(own_id, "unknown", "refused", status, 0.0, client, bytes_out=len(content), error=error.code))
        lines = {"content-type": "application/json", **headers, "x-request-id": own_id, "connection": "close"}
        lines["content-length"] = str(len(content))
        head = [STATUS_LINE[status], *(f"{name}: {value}\r\n".encode("latin-1") for name, value in lines.items())]
        self.transport.write(b"".join([*head, b"\r\n", content]))
        self.transport.close()
