"""One request from the socket to the answer: path, key, body, endpoint, reply, and the line that is left of it.

Knows routes and no dialect, ASGI and no server. Invariant: every request gets exactly one reply, in its route's style, and
leaves exactly one Exchange, whatever happens to it; a client that leaves ends its endpoint's task.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from gigarank.errors import ClientClosed, GigarankError, MethodNotAllowed, RequestTimeout, Unauthorized
from gigarank.service.backend import ScoringBackend
from gigarank.service.call import Answer, Call, Route
from gigarank.service.errors import render
from gigarank.service.http import headers as names
from gigarank.service.http.body import Incoming, Intake, Receive, announced_bytes
from gigarank.service.http.exchange import Exchange
from gigarank.service.http.json_text import parse
from gigarank.service.http.keys import KeyRing
from gigarank.service.http.logs import log_exchange, where
from gigarank.service.http.metrics import Metrics
from gigarank.service.http.paths import Paths
from gigarank.service.http.tracing import Spans
from gigarank.service.settings import Settings

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON = "application/json"
_AGENT_CHARACTERS = 120


@dataclass(slots=True)
class Lifecycle:
    """`dropped` counts the requests that were accepted and had to be cut off; after an orderly end it is 0."""

    draining: bool = False
    in_flight: int = 0
    dropped: int = 0
    end: Callable[[], None] | None = None  # set by whoever runs the app: ends the process


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every request of one app meets."""

    settings: Settings
    backend: ScoringBackend
    paths: Paths
    keys: KeyRing
    metrics: Metrics
    intake: Intake
    lifecycle: Lifecycle
    spans: Spans | None = None

    def note(self, exchange: Exchange) -> None:
        """Counts it and logs it; what the protocol refuses before there is a request, too."""
        self.metrics.observe(exchange)
        log_exchange(exchange)


@dataclass(slots=True)
class Visit:
    """What is known so far of one request."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: str
    client: str
    request_id: str
    started: float
    incoming: Incoming
    route: Route | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    defect: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes
    answer: Answer | None = None


class Dispatcher:
    """The ASGI application behind the framework's own routes."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        lifecycle, metrics = self._around.lifecycle, self._around.metrics
        visit = _visit(scope, receive)
        lifecycle.in_flight += 1
        metrics.in_flight.inc()
        try:
            reply = await self._reply(visit)
            await self._send(reply, visit, send)
        except asyncio.CancelledError:
            lifecycle.dropped += 1
            raise
        finally:
            lifecycle.in_flight -= 1
            metrics.in_flight.dec()
        self._record(reply, visit)

    async def _reply(self, visit: Visit) -> Reply:
        try:
            return await self._answered(visit)
        except GigarankError as error:
            visit.error = error.code
            if not isinstance(error, RequestTimeout | ClientClosed):
                with suppress(ClientClosed):
                    await visit.incoming.discard(self._around.settings.max_body_bytes)
            return _refusal(error, visit)

    async def _answered(self, visit: Visit) -> Reply:
        around = self._around
        visit.route, visit.parameters = around.paths.find(visit.method, visit.path)
        if not visit.route.public:
            around.keys.check(visit.headers)
        if visit.route.method == "GET":
            return await self._watched(self._perform(visit.route, visit, None), visit)
        limit = around.settings.max_body_bytes
        with around.intake.reserve(announced_bytes(visit.headers, limit)):
            content = await visit.incoming.read(limit, around.settings.body_timeout_s)
            return await self._watched(self._perform(visit.route, visit, content), visit)

    async def _perform(self, route: Route, visit: Visit, content: bytes | None) -> Reply:
        around = self._around
        call = Call(
            request_id=visit.request_id,
            body={} if content is None else parse(content, around.settings.max_json_depth),
            headers=visit.headers,
            path=visit.path,
            parameters=visit.parameters,
            query=names.query(visit.query),
            backend=around.backend,
            settings=around.settings,
            received=visit.started,
            created=int(time.time()),
            urgency=names.urgency(visit.headers, visit.started),
        )
        answer = await route.endpoint(call)
        return _encoded(answer)

    async def _watched(self, work: Coroutine[Any, Any, Reply], visit: Visit) -> Reply:
        """Run `work` in a task of its own, and end it when the client leaves or this request is cut off."""
        task = asyncio.create_task(work)
        gone = asyncio.create_task(visit.incoming.until_gone())
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            task.cancel()  # no effect on one that is done
        if not task.done():
            await asyncio.wait((task,))
        if task.cancelled():
            raise ClientClosed("the client left before its answer was ready")
        return _result(task, visit)

    async def _send(self, reply: Reply, visit: Visit, send: Send) -> None:
        elapsed_ms = (time.monotonic() - visit.started) * 1e3
        headers = {
            "content-length": str(len(reply.body)),
            "x-request-id": visit.request_id,
            "openai-processing-ms": str(round(elapsed_ms)),
            "x-content-type-options": "nosniff",
            **reply.headers,
        }
        if self._around.lifecycle.draining or not visit.incoming.complete:
            headers["connection"] = "close"
        await send({"type": "http.response.start", "status": reply.status, "headers": names.raw(headers)})
        await send({"type": "http.response.body", "body": b"" if visit.method == "HEAD" else reply.body})

    def _record(self, reply: Reply, visit: Visit) -> None:
        answer = reply.answer or Answer(None)
        exchange = Exchange(
            request_id=visit.request_id,
            method=visit.method,
            route=visit.route.path if visit.route else "unmatched",
            status=reply.status,
            total_ms=(time.monotonic() - visit.started) * 1e3,
            client=visit.client,
            agent=visit.headers.get("user-agent", "")[:_AGENT_CHARACTERS],
            bytes_in=visit.incoming.size,
            bytes_out=len(reply.body),
            model=answer.model,
            documents=answer.documents,
            tokens=answer.tokens,
            timing=answer.timing,
            error=visit.error or answer.error,
            defect=visit.defect,
        )
        self._around.note(exchange)
        if self._around.spans is not None:
            self._around.spans.record(exchange, visit.headers)


def _visit(scope: Scope, receive: Receive) -> Visit:
    headers = names.readable(scope["headers"])
    client = scope.get("client")
    return Visit(
        method=scope["method"],
        path=scope["path"],
        headers=headers,
        query=scope.get("query_string", b"").decode("latin-1"),
        client=client[0] if client else "",
        request_id=names.request_id(headers),
        started=time.monotonic(),
        incoming=Incoming(receive, headers),
    )


def _result(task: asyncio.Task[Reply], visit: Visit) -> Reply:
    """The task's reply; an exception that nobody foresaw becomes an error that tells nothing but where to look."""
    error = task.exception()
    if error is None or isinstance(error, GigarankError):
        return task.result()
    visit.defect = where(error)
    raise GigarankError("an internal error; the server's log has its place under this request's id") from error


def _encoded(answer: Answer) -> Reply:
    headers = {"content-type": _JSON, **names.timing_headers(answer), **answer.headers}
    if isinstance(answer.body, bytes):
        return Reply(answer.status, headers, answer.body, answer)
    return Reply(answer.status, headers, orjson.dumps(answer.body, option=orjson.OPT_SERIALIZE_NUMPY), answer)


def _refusal(error: GigarankError, visit: Visit) -> Reply:
    style = visit.route.style if visit.route else "superset"
    status, headers, content = render(error, style, visit.request_id)
    return Reply(status, {"content-type": _JSON, **_hints(error), **headers}, orjson.dumps(content))


def _hints(error: GigarankError) -> dict[str, str]:
    """The headers that HTTP asks for at some statuses."""
    if isinstance(error, Unauthorized):
        return {"www-authenticate": "Bearer"}
    return {"allow": str(error.limit)} if isinstance(error, MethodNotAllowed) else {}
