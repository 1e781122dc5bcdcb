"""Calls of the rerank routes without a web framework: a path and a body in, status and body out, errors rendered.

`Scripted` is the service's fake backend, told what became of single documents, and keeping what it was asked.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gigarank.engine.work import Failure, Outcome, Result, Unscored, Work
from gigarank.errors import GigarankError, InvalidInput
from gigarank.service.backend import ScoringBackend, Urgency
from gigarank.service.call import Answer, Call, Route
from gigarank.service.errors import render
from gigarank.service.fake import FakeBackend
from gigarank.service.rerank.routes import ROUTES
from gigarank.service.settings import Settings
from gigarank.types import Score, Window

RECEIVED = 1_000.0  # time.monotonic() seconds
DOCUMENTS = ["Paris is a city.", "the red planet is Mars", "a red car"]
ASKED = {"query": "red planet", "documents": DOCUMENTS}
ORDER = [1, 2, 0]


class Scripted(FakeBackend):
    """By its text, a document is `late`, `broken`, `cut` or `wide`; `logits` gives others theirs. Keeps works and waits."""

    def __init__(self, logits: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.logits = dict(logits or {})
        self.works: list[Work] = []
        self.models_asked: list[str] = []
        self.waits: list[float] = []

    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        self.works.append(work)
        self.models_asked.append(model)
        self.waits.append(wait_s)
        result = await super().score(model, work, wait_s)
        pairs = zip(work.searches, result.outcomes, strict=True)
        outcomes = tuple(
            tuple(self._outcome(text, one) for text, one in zip(search.documents, some, strict=True)) for search, some in pairs
        )
        return replace(result, outcomes=outcomes)

    def _outcome(self, text: str, outcome: Outcome) -> Outcome:
        assert isinstance(outcome, Score)
        if text == "late":
            return Unscored(outcome.index)
        if text == "broken":
            param = f"documents[{outcome.index}]"
            return Failure(outcome.index, InvalidInput(f"{param}: does not fit", param=param, limit=5, received=9))
        if text == "wide":
            return replace(outcome, window=Window(1, 3, 10, 30))
        if text in self.logits:
            return replace(outcome, logit=self.logits[text])
        return replace(outcome, truncated=True) if text == "cut" else outcome


def found(path: str, method: str = "POST") -> tuple[Route, dict[str, str]]:
    """The route of a path and its parameters, as a router finds it."""
    for route in ROUTES:
        pattern = re.sub(r"\\{(\w+):path\\}", r"(?P<\1>.+)", re.escape(route.path))
        if route.method == method and (match := re.fullmatch(pattern, path)):
            return route, match.groupdict()
    raise LookupError(path)


def call_of(body: Any, path: str = "/v1/rerank", backend: ScoringBackend | None = None, **rest: Any) -> Call:
    known: dict[str, Any] = {
        "request_id": "req-1",
        "headers": {},
        "parameters": {},
        "query": {},
        "settings": Settings(),
        "received": RECEIVED,
        "created": 1_764_000_000,
        "urgency": Urgency(),
    }
    return Call(body=body, path=path, backend=backend or Scripted(), **(known | rest))


def answer_of(body: Any, path: str = "/v1/rerank", backend: ScoringBackend | None = None, **rest: Any) -> Answer:
    """The endpoint's answer; raises what it raises."""
    route, parameters = found(path)

    async def run() -> Answer:
        return await route.endpoint(call_of(body, path, backend, parameters=parameters, **rest))

    return asyncio.run(run())


def ask(body: Any, path: str = "/v1/rerank", backend: ScoringBackend | None = None, **rest: Any) -> tuple[int, Any]:
    """Status and body, of an answer or of an error."""
    try:
        answer = answer_of(body, path, backend, **rest)
    except GigarankError as error:
        status, _, rendered = render(error, found(path)[0].style, "req-1")
        return status, rendered
    return answer.status, answer.body


def body_of(body: Any, path: str = "/v1/rerank", backend: ScoringBackend | None = None, **rest: Any) -> Any:
    """The body of an answer that must be none of an error."""
    answer = answer_of(body, path, backend, **rest)
    assert answer.status == 200, answer.body
    return answer.body


def work_of(body: Any, path: str = "/v1/rerank", **rest: Any) -> Work:
    """What the backend was asked."""
    backend = Scripted()
    body_of(body, path, backend, **rest)
    (work,) = backend.works
    return work


def order(body: Any) -> list[int]:
    return [result["index"] for result in body["results"]]
