"""One request from the socket to the answer: path, key, body, endpoint, reply, and the line that is left of it.

Knows routes and no dialect, ASGI and no server. Invariant: every request gets exactly one reply, in its route's style, and
leaves exactly one Exchange, whatever happens to it; a client that leaves ends its endpoint's task.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

from gigarank.errors import ClientClosed, GigarankError, RequestTimeout, ShuttingDown
from gigarank.service.allowance import Allowance
from gigarank.service.backend import ScoringBackend
from gigarank.service.call import Answer, Asked, Call, ErrorPage, Gate, Route
from gigarank.service.http import headers as names
from gigarank.service.http.body import Incoming, Intake, Receive, announced_bytes
from gigarank.service.http.exchange import Exchange
from gigarank.service.http.form import read_form
from gigarank.service.http.json_text import parse
from gigarank.service.http.keys import KeyRing, presented
from gigarank.service.http.logs import log_exchange, where
from gigarank.service.http.metrics import Metrics
from gigarank.service.http.paths import Paths
from gigarank.service.http.refusal import refusal, refuse_pricing
from gigarank.service.http.reply import Reply, Send, encoded, send_stream
from gigarank.service.http.tracing import Spans
from gigarank.service.pulse import Pulse
from gigarank.service.settings import Settings
from gigarank.service.tenant import Tenant

Scope = MutableMapping[str, Any]

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
    gate: Gate | None = None
    error_page: ErrorPage | None = None  # of browsers, where there are pages
    demo: Allowance | None = None
    pulse: Pulse | None = None

    def note(self, exchange: Exchange) -> None:
        """Counts it and logs it; what the protocol refuses before there is a request, too."""
        self.metrics.observe(exchange)
        if self.pulse is not None:
            self.pulse.note(exchange)
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
    tenant: Tenant | None = None
    told: dict[str, str] = field(default_factory=dict)  # headers of its answer, whatever that is
    error: str = ""
    defect: str = ""


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
            reply = await self._reply_or_farewell(visit)
            with closing(reply):
                await self._send(reply, visit, send)
        except asyncio.CancelledError:
            lifecycle.dropped += 1
            raise
        finally:
            lifecycle.in_flight -= 1
            metrics.in_flight.dec()
        self._record(reply, visit)

    async def _reply_or_farewell(self, visit: Visit) -> Reply:
        """Who runs the app cancels a request only when the process ends: its client is told, and can ask elsewhere."""
        try:
            return await self._reply(visit)
        except asyncio.CancelledError:
            self._around.lifecycle.dropped += 1
            error = ShuttingDown("the server ends, and this request was not answered in time", retry_after=1.0)
            visit.error = error.code
            return self._refusal(error, visit)

    async def _reply(self, visit: Visit) -> Reply:
        try:
            return await self._answered(visit)
        except GigarankError as error:
            visit.error = error.code
            if not isinstance(error, RequestTimeout | ClientClosed):
                with suppress(ClientClosed):
                    await visit.incoming.discard(self._around.settings.max_body_bytes)
            return self._refusal(error, visit)

    def _refusal(self, error: GigarankError, visit: Visit) -> Reply:
        shows, route = self._around.error_page, visit.route
        seen = route is None or route.page or (route.method == "GET" and route.visitor)  # by people, who follow links there
        if shows is not None and seen and names.accepts_html(visit.headers):
            return encoded(shows(error, Asked(visit.method, visit.path, visit.request_id)))
        return refusal(error, route.style if route else "superset", visit.request_id)

    async def _answered(self, visit: Visit) -> Reply:
        around = self._around
        visit.route, visit.parameters = around.paths.find(visit.method, visit.path, names.accepts_html(visit.headers))
        if not visit.route.public and not visit.route.visitor:
            visit.tenant = await self._admitted(visit.headers, visit.route)
        if visit.route.method != "POST" or visit.route.upload:
            return await self._watched(self._perform(visit.route, visit, None), visit)
        limit = around.settings.max_body_bytes
        with around.intake.reserve(announced_bytes(visit.headers, limit)):
            content = await visit.incoming.read(limit, around.settings.body_timeout_s)
            return await self._watched(self._perform(visit.route, visit, content), visit)

    async def _admitted(self, headers: Mapping[str, str], route: Route) -> Tenant | None:
        """None for the operator's own keys, and where a server without accounts needs none."""
        around = self._around
        if around.gate is None:
            around.keys.check(headers)
            return None
        return None if around.keys.knows(headers) else await around.gate.admit(presented(headers), route)

    async def _perform(self, route: Route, visit: Visit, content: bytes | None) -> Reply:
        around = self._around
        call = Call(
            request_id=visit.request_id,
            body=self._body(route, visit, content),
            headers=visit.headers,
            path=visit.path,
            parameters=visit.parameters,
            query=names.query(visit.query),
            backend=around.backend,
            settings=around.settings,
            received=visit.started,
            created=int(time.time()),
            urgency=names.urgency(visit.headers, visit.started),
            tenant=visit.tenant,
            client=visit.client,
            demo=around.demo,
            upload=visit.incoming.chunks(around.settings.body_timeout_s) if route.upload else None,
        )
        if around.gate is not None and route.visitor:
            return encoded(await around.gate.receive(call, route))
        if around.gate is not None and route.hosted and route.public:
            return encoded(await around.gate.show(call, route))
        if around.gate is None or visit.tenant is None:
            refuse_pricing(call)
            return encoded(await route.endpoint(call))
        return encoded(await around.gate.perform(call, route, content or b"", visit.told))

    def _body(self, route: Route, visit: Visit, content: bytes | None) -> Any:
        if route.page:
            return read_form(content or b"", visit.headers.get("content-type", ""))
        if content is None or (route.hosted and not content):
            return {}
        return parse(content, self._around.settings.max_json_depth)

    async def _watched(self, work: Coroutine[Any, Any, Reply], visit: Visit) -> Reply:
        """Run `work` in a task of its own, and end it when the client leaves or this request is cut off. What reads the body
        by itself sees the client leave by itself."""
        task = asyncio.create_task(work)
        uploads = visit.route is not None and visit.route.upload
        gone = asyncio.create_task(asyncio.Event().wait() if uploads else visit.incoming.until_gone())
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
            "content-length": str(reply.size),
            "x-request-id": visit.request_id,
            "openai-processing-ms": str(round(elapsed_ms)),
            "x-content-type-options": "nosniff",
            **visit.told,
            **reply.headers,
        }
        if self._around.lifecycle.draining or not visit.incoming.complete:
            headers["connection"] = "close"
        if reply.status == 304:  # its length would be that of what the client has
            del headers["content-length"]
        await send({"type": "http.response.start", "status": reply.status, "headers": names.raw(headers)})
        if reply.stream is not None and visit.method != "HEAD":
            await send_stream(reply.stream, send, self._around.settings.body_timeout_s)
            return
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
            bytes_out=reply.size,
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
