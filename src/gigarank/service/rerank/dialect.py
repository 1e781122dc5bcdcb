"""What a dialect is: paths, a reader into the internal request, a writer from the internal answer, and their schemas.

Adding one is one file in dialects/ that holds a `DIALECT`, and its golden files. Invariant: a dialect never scores or sorts;
what it writes depends on the call, the request and the answer alone.
"""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from gigarank.engine.work import Failure
from gigarank.errors import InvalidInput
from gigarank.service.call import Answer, Call, ErrorStyle
from gigarank.service.errors import as_object
from gigarank.service.rerank.request import Ranked, RerankAnswer, RerankRequest, read_body, read_request
from gigarank.service.rerank.service import rerank
from gigarank.service.rerank.values import wrong
from gigarank.types import JsonObject, Score

_LARGE_BYTES = 200_000
Write = Callable[[Call, RerankRequest, RerankAnswer], Any]


@dataclass(frozen=True, slots=True)
class Path:
    """One path of a dialect; `listed` shows it in OpenAPI, the others are second spellings."""

    path: str
    listed: bool = False
    style: ErrorStyle = "superset"


@dataclass(frozen=True, slots=True)
class Dialect:
    """`claims` says whether a call to a path that dialects share is this one's; None: never. `shares` marks those paths."""

    name: str
    summary: str
    paths: tuple[Path, ...]
    request: JsonObject
    response: JsonObject
    write: Write
    read: Callable[[Call], RerankRequest] = read_request
    claims: Callable[[Call], bool] | None = None
    shares: bool = False
    error_style: ErrorStyle = "superset"
    """For calls that it claims on other dialects' paths."""

    async def answer(self, call: Call) -> Answer:
        request = await asyncio.to_thread(self.read, call) if _is_large(call) else self.read(call)
        answer = await rerank(call, request)
        return Answer(
            self.write(call, request, answer),
            answer.model,
            sum(len(ranked) for ranked in answer.unsorted),
            answer.usage.total_tokens,
            answer.timing,
        )


def _is_large(call: Call) -> bool:
    """Whether reading takes so long that others should not wait for it."""
    announced = call.headers.get("content-length", "0")
    return "transfer-encoding" in call.headers or not announced.isdecimal() or int(announced) > _LARGE_BYTES


def read_single(call: Call) -> RerankRequest:
    """A request of a dialect whose answer has room for one query; raises InvalidInput for more."""
    request = read_request(call)
    if request.many:
        received = len(request.searches)
        message = f"query: one query here, not an array of {received}; /v1/rerank takes many"
        raise InvalidInput(message, param="query", limit=1, received=received)
    return request


def read_nested(call: Call) -> RerankRequest:
    """As `read_single`, of a dialect whose options stand in `parameters`; raises InvalidInput where that is no object."""
    parameters = read_body(call).get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise wrong("parameters", "an object", parameters)
    return read_single(call)


def details(ranked: Ranked) -> JsonObject:
    """What a result adds where there is something to say: its fused score, its window, that it was not scored, and why."""
    outcome = ranked.outcome
    if isinstance(outcome, Score):
        fused = {} if outcome.fused is None else {"fused": outcome.fused}
        return fused | ({} if outcome.window is None else {"window": asdict(outcome.window)})
    return {"scored": False} | ({"error": as_object(outcome.error)} if isinstance(outcome, Failure) else {})


def echoes(request: RerankRequest, default: bool) -> bool:
    """Whether results repeat their documents: what the client said, else the path's default."""
    asked = request.options.return_documents
    return default if asked is None else asked
