"""A backend without a model: the score is how many of the query's words a document has. For tests of HTTP, and for its bench.

Invariant: deterministic, and in every field what a real backend would answer; a token is a word.
"""

import asyncio
import itertools
import math
from collections.abc import Sequence

import numpy as np

from gigarank.engine.work import Admit, Prompt, Result, Search, Timing, Turns, Work
from gigarank.errors import InvalidInput, ShuttingDown, UnknownModel
from gigarank.service.backend import Answered, Embedded, ModelState, QueueState, Urgency
from gigarank.types import Score, Usage

_MODELS = (
    ModelState("fake", ("nano", "qwen3-reranker-0.6b"), "reranker", "ready", 32_768, 1_764_000_000, "counts words"),
    ModelState("fake-embedder", ("qwen3-embedding-0.6b",), "embedder", "ready", 32_768, 1_764_000_000, "hashes words"),
)
_TEMPLATE_TOKENS = 9
_MOST_DIMENSIONS = 1_024
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0  # the fractions of its multiples fill the unit evenly, however many they are


class FakeBackend:
    """`delay_s`: how long every call takes, and up to `spread_s` more: all of that evenly, in an order that looks like none and
    is the same each time."""

    def __init__(self, delay_s: float = 0.0, spread_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.spread_s = spread_s
        self._calls = itertools.count()
        self.open = True

    async def start(self) -> None:
        self.open = True

    async def drain(self, timeout_s: float) -> None:
        self.open = False

    def ready(self) -> bool:
        return self.open

    def models(self) -> Sequence[ModelState]:
        return _MODELS

    def queues(self) -> Sequence[QueueState]:
        return [QueueState("fake", 0, 0, 0)]

    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        self._enter(model)
        outcomes = tuple(_scores(search, work.max_document_tokens) for search in work.searches)
        documents = sum(len(scores) for scores in outcomes)
        prefix = sum(len(search.query.split()) + len((search.instruction or "").split()) for search in work.searches)
        read = sum(score.tokens for scores in outcomes for score in scores)
        usage = Usage(documents, prefix, read, prefix + read + _TEMPLATE_TOKENS * documents)
        await _admitted(work.admit, usage)
        return Result(outcomes, usage, await self._compute())

    async def embed(
        self, model: str, texts: Sequence[str], *, task: str | None, dimensions: int | None, urgency: Urgency
    ) -> Embedded:
        self._enter(model)
        if not 1 <= (dimensions or 16) <= _MOST_DIMENSIONS:
            raise InvalidInput(
                f"dimensions: must be from 1 to {_MOST_DIMENSIONS}, not {dimensions}",
                param="dimensions",
                limit=_MOST_DIMENSIONS,
                received=dimensions,
            )
        rows = np.array([_hashed(text, dimensions or 16) for text in texts], dtype=np.float32)
        tokens = sum(len(text.split()) for text in texts)
        usage = Usage(len(texts), 0, tokens, tokens)
        await _admitted(urgency.admit, usage)
        return Embedded(rows, usage, await self._compute())

    async def answer(self, model: str, prompts: Sequence[Prompt], urgency: Urgency) -> list[Answered]:
        self._enter(model)
        tokens = sum(map(_length, prompts))
        await _admitted(urgency.admit, Usage(len(prompts), 0, tokens, tokens))
        timing = await self._compute()
        return [Answered("yes", "no", -0.25, -1.75, _length(prompt), timing) for prompt in prompts]

    async def _compute(self) -> Timing:
        delay_s = self.delay_s + self.spread_s * (next(self._calls) * _GOLDEN % 1.0)
        await asyncio.sleep(delay_s)
        return Timing(0.0, 0.0, delay_s * 1e3)

    def _enter(self, model: str) -> None:
        if not self.open:
            raise ShuttingDown("the server is shutting down", retry_after=1.0)
        if not any(model in (state.name, *state.aliases) for state in _MODELS):
            raise UnknownModel(f"model: no {model!r} here", param="model", received=model)


async def _admitted(admit: Admit | None, usage: Usage) -> None:
    if admit is not None:
        await asyncio.to_thread(admit, usage)


def _scores(search: Search, most: int | None) -> tuple[Score, ...]:
    asked = set(search.query.lower().split())
    return tuple(_score(index, document, asked, most) for index, document in enumerate(search.documents))


def _score(index: int, document: str, asked: set[str], most: int | None) -> Score:
    words = document.lower().split()
    read = words[:most]
    logit = 2.0 * len(asked.intersection(read)) - 1.0
    return Score(index, 1.0 / (1.0 + math.exp(-logit)), logit, len(read), len(read) < len(words))


def _length(prompt: Prompt) -> int:
    if isinstance(prompt, Turns):
        return sum(_length(text) for text, _ in prompt.pieces)
    return len(prompt.split()) if isinstance(prompt, str) else len(prompt)


def _hashed(text: str, dimensions: int) -> list[float]:
    row = [1.0] * dimensions
    for word in text.split():
        row[sum(word.encode()) % dimensions] += 1.0
    length = math.hypot(*row)
    return [value / length for value in row]
