"""An ASGI application asked in this process: one request with every message under the test's control.

Knows no server and no client library, so that a test can send what neither would: half a body, a client that leaves.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Coroutine[Any, Any, None]
]
T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]


@dataclass
class Visit:
    """A request: `chunks` are the body's messages. After them the client waits for its answer; with `stalls` it never
    sends the last one, and with `leaves` it goes away once that event is set."""

    method: str = "POST"
    path: str = "/v1/rerank"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Sequence[bytes] = ()
    query: str = ""
    stalls: bool = False
    leaves: asyncio.Event | None = None
    client: str = "10.1.2.3"
    taken: int = 0

    def scope(self) -> Message:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "path": self.path,
            "raw_path": self.path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": self.query.encode(),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()],
            "client": (self.client, 4711),
            "server": ("testserver", 80),
        }

    async def receive(self) -> Message:
        if self.taken < max(1, len(self.chunks)):
            chunk = self.chunks[self.taken] if self.chunks else b""
            self.taken += 1
            more = self.stalls or self.taken < len(self.chunks)
            return {"type": "http.request", "body": chunk, "more_body": more}
        await (self.leaves or asyncio.Event()).wait()
        return {"type": "http.disconnect"}


async def visit(app: Application, request: Visit) -> Reply:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await app(request.scope(), request.receive, send)
    start, *rest = sent
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
    return Reply(start["status"], headers, b"".join(message.get("body", b"") for message in rest))


def run(work: Coroutine[Any, Any, T], timeout_s: float = 30.0) -> T:
    """In a loop of its own; what hangs is a failure."""
    return asyncio.run(asyncio.wait_for(work, timeout_s))


def ask(app: Application, request: Visit) -> Reply:
    return run(visit(app, request))


def ask_in_turn(app: Any, *requests: Visit, timeout_s: float = 30.0) -> list[Reply]:
    """All of them, one after the other, of an application that is started before and ended after them."""

    async def work() -> list[Reply]:
        async with app.router.lifespan_context(app):
            return [await visit(app, request) for request in requests]

    return run(work(), timeout_s)


def posting(body: Any, path: str = "/v1/rerank", **headers: str) -> Visit:
    """A whole request. `body`: bytes as they are, anything else as JSON; `x_y` in `headers` is x-y."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Visit("POST", path, {"content-length": str(len(content)), **named}, [content])


def getting(path: str, **headers: str) -> Visit:
    return Visit("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})
