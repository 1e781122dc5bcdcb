"""Calls of the OpenAI endpoints without a web framework: a body in, the answer's body out.

The backend is the service's own fake; `Blind` is one that cannot read some documents, for what happens then.
"""

import asyncio
import time
from dataclasses import replace
from typing import Any

from gigarank.engine.work import Failure, Outcome, Prompt, Result, Unscored, Work
from gigarank.errors import InvalidInput
from gigarank.service.backend import Answered, ModelState, ScoringBackend, Urgency
from gigarank.service.call import Answer, Call, Endpoint
from gigarank.service.fake import FakeBackend
from gigarank.service.settings import Settings


def call_of(body: Any, backend: ScoringBackend | None = None, **rest: Any) -> Call:
    known: dict[str, Any] = {
        "request_id": "r-1",
        "headers": {},
        "path": "/v1/x",
        "parameters": {},
        "query": {},
        "settings": Settings(),
        "received": time.monotonic(),
        "created": 1_764_000_000,
        "urgency": Urgency(),
    }
    return Call(body=body, backend=backend or FakeBackend(), **(known | rest))


def answer_of(endpoint: Endpoint, body: Any, backend: ScoringBackend | None = None, **rest: Any) -> Answer:
    async def run() -> Answer:
        return await endpoint(call_of(body, backend, **rest))

    return asyncio.run(run())


def body_of(endpoint: Endpoint, body: Any, backend: ScoringBackend | None = None, **rest: Any) -> Any:
    return answer_of(endpoint, body, backend, **rest).body


class Recording(FakeBackend):
    """Keeps what it was asked; `states` replaces its models, `answered` what it answers to prompts."""

    def __init__(self, states: tuple[ModelState, ...] | None = None, answered: Answered | None = None) -> None:
        super().__init__()
        self.states = states or tuple(super().models())
        self.answered = answered
        self.models_asked: list[str] = []
        self.works: list[Work] = []
        self.waits: list[float] = []
        self.prompts: list[Prompt] = []
        self.tasks: list[str | None] = []
        self.urgencies: list[Urgency] = []

    def models(self) -> tuple[ModelState, ...]:
        return self.states

    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        self.models_asked.append(model)
        self.works.append(work)
        self.waits.append(wait_s)
        return await super().score("fake", work, wait_s)

    async def embed(self, model: str, texts: Any, *, task: str | None, dimensions: int | None, urgency: Urgency) -> Any:
        self.models_asked.append(model)
        self.tasks.append(task)
        self.urgencies.append(urgency)
        return await super().embed("fake-embedder", texts, task=task, dimensions=dimensions, urgency=urgency)

    async def answer(self, model: str, prompts: Any, urgency: Urgency) -> list[Answered]:
        self.models_asked.append(model)
        self.prompts += prompts
        self.urgencies.append(urgency)
        answers = await super().answer("fake", prompts, urgency)
        return answers if self.answered is None else [self.answered for _ in answers]


class Blind(FakeBackend):
    """Fails documents that say `unreadable`, and never comes to those that say `late`."""

    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        result = await super().score(model, work, wait_s)
        documents = work.searches[0].documents
        seen = (_seen(index, documents[index], outcome) for index, outcome in enumerate(result.outcomes[0]))
        return replace(result, outcomes=(tuple(seen),))


def _seen(index: int, document: str, outcome: Outcome) -> Outcome:
    if "unreadable" in document:
        return Failure(index, InvalidInput("documents: does not fit", param="documents"))
    return Unscored(index) if "late" in document else outcome
