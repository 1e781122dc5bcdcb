"""A few lines of a batch, asked together: their answers go to spooled files, what they cost onto their meters.

Knows the endpoints' calls and the meters; nothing here is settled. Invariant: a line ends in the output or in the errors, and
what it holds of the account is on its meter until the segment is settled or given up.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import orjson

from gigarank.errors import GigarankError, TryLater
from gigarank.service.backend import ScoringBackend, Urgency
from gigarank.service.batches.lines import Line, Request, read_request
from gigarank.service.batches.storage import Spool, drop, finish
from gigarank.service.call import Answer, Call, Endpoint
from gigarank.service.credits.schemas import Use
from gigarank.service.errors import render
from gigarank.service.http.logs import where
from gigarank.service.ids import new_id
from gigarank.service.metering.meter import House, Meter, MeteredBackend
from gigarank.service.settings import Settings
from gigarank.service.tenant import Tenant
from gigarank.types import JsonObject

MOST_LINES, MOST_BYTES = 32, 8 * 1024 * 1024
"""A segment is as many lines as fit, at least one: what is lost when a process ends is computed again, so it is small."""
_WAIT_S = 30.0  # for a model that sleeps
_URGENCY = Urgency(tier="batch", wait_s=_WAIT_S)
_THEIR_OWN = ("service_tier", "latency", "priority", "deadline_ms")
"""What a line may say of its urgency, and that a batch decides."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a line is asked with. `endpoints`: by path."""

    house: House
    backend: ScoringBackend
    endpoints: Mapping[str, Endpoint]
    settings: Settings


@dataclass(frozen=True, slots=True)
class Order:
    """Whose lines these are."""

    batch_id: str
    endpoint: str
    tenant: Tenant
    now: int


@dataclass(slots=True)
class Segment:
    """`uses` are to be settled; `output` and `errors` are None where nothing is in them."""

    spool: Spool
    completed: int = 0
    failed: int = 0
    tokens: int = 0
    model: str = ""
    meters: list[Meter] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    _files: dict[str, IO[bytes]] = field(default_factory=dict)

    def add(self, kind: str, row: JsonObject) -> None:
        """`kind`: output or errors."""
        if kind not in self._files:
            self._files[kind] = self.spool.new()
        self._files[kind].write(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")

    def finished(self) -> dict[str, Path]:
        return {kind: finish(stream) for kind, stream in self._files.items()}

    async def close(self) -> None:
        """Gives back what is held still, and the spooled files."""
        for meter in self.meters:
            await meter.close()
        for stream in self._files.values():
            await asyncio.to_thread(drop, stream)


def taken(lines: Iterable[Line]) -> list[Line]:
    """The next segment's lines."""
    found: list[Line] = []
    size = 0
    for line in lines:
        found.append(line)
        size += len(line.text)
        if len(found) == MOST_LINES or size >= MOST_BYTES:
            break
    return found


async def ask(bench: Bench, order: Order, lines: list[Line], segment: Segment) -> None:
    """Asks all lines, a few at a time. Raises TryLater where the server cannot answer now; what was asked is to be closed."""
    turns = asyncio.Semaphore(bench.settings.batch_concurrency)

    async def one(line: Line) -> None:
        async with turns:
            await _ask(bench, order, read_request(line, order.endpoint, bench.settings.max_json_depth), segment)

    async with asyncio.TaskGroup() as group:
        for line in lines:
            group.create_task(one(line))


async def _ask(bench: Bench, order: Order, request: Request, segment: Segment) -> None:
    """One line; an error that asking again cannot help is its answer."""
    meter = Meter(bench.house, order.tenant, order.now, batch_id=order.batch_id)
    segment.meters.append(meter)
    call = _call(bench, order, request, meter)
    (found,) = await asyncio.gather(bench.endpoints[order.endpoint](call), return_exceptions=True)
    if isinstance(found, TryLater) or (isinstance(found, BaseException) and not isinstance(found, Exception)):
        raise found
    if isinstance(found, Exception):
        error = found if isinstance(found, GigarankError) else GigarankError(f"an internal error, at {where(found)}")
        status, _, body = render(error, "superset", call.request_id)
        found = Answer(body, status=status)
    if found.status >= 400:
        segment.failed += 1
        segment.add("errors", row_of(request.custom_id, call.request_id, found))
        return
    segment.add("output", row_of(request.custom_id, call.request_id, found))
    segment.uses += meter.uses(call.request_id, order.endpoint, int((time.monotonic() - call.received) * 1e3))
    segment.completed += 1
    segment.tokens += found.tokens
    segment.model = segment.model or found.model


def row_of(custom_id: str, request_id: str, answer: Answer) -> JsonObject:
    body = orjson.Fragment(answer.body) if isinstance(answer.body, bytes) else answer.body
    response = {"status_code": answer.status, "request_id": request_id, "body": body}
    return {"id": request_id.replace("req", "batch_req", 1), "custom_id": custom_id, "response": response, "error": None}


def unasked_row(custom_id: str | None, code: str, message: str) -> JsonObject:
    """Of a line that was not asked."""
    error = {"code": code, "message": message}
    return {"id": new_id("batch_req"), "custom_id": custom_id, "response": None, "error": error}


def _call(bench: Bench, order: Order, request: Request, meter: Meter) -> Call:
    return Call(
        request_id=new_id("req"),
        body={name: value for name, value in request.body.items() if name not in _THEIR_OWN},
        headers={},
        path=order.endpoint,
        parameters={},
        query={},
        backend=MeteredBackend(bench.backend, meter),
        settings=bench.settings,
        received=time.monotonic(),
        created=order.now,
        urgency=_URGENCY,
        tenant=order.tenant,
    )
