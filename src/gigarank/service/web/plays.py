"""The playground's work: a form to requests, requests to what is shown.

Goes the way of every rerank request, with limits of its own. Knows no account and no key. Invariant: nobody's credit is
touched; what a visitor may ask is bounded by the allowance that all of them share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gigarank.engine.work import Failure, Unscored
from gigarank.errors import AccessDenied, GigarankError, InvalidInput, RequestTooLarge
from gigarank.service.call import Call
from gigarank.service.rerank.presets import PRESETS, preset
from gigarank.service.rerank.request import Ranked, RerankAnswer, read_request
from gigarank.service.rerank.service import rerank
from gigarank.service.settings import Settings
from gigarank.service.web.pasted import Documents, read_pasted
from gigarank.service.web.sentences import Part, carried, split, variants
from gigarank.types import Score

MOST_CHARACTERS = 200_000
"""Of all texts of one form."""
_PRIORITY = 10  # whoever has a key is asked first
_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One of the runs that stand side by side. `instruction` "": the model's own."""

    model: str
    instruction: str


@dataclass(frozen=True, slots=True)
class Play:
    query: str
    documents: Documents
    runs: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A result. `moved`: places up from where the document was given; `score` None: not scored, `why` says so."""

    index: int
    text: str
    score: Score | None
    moved: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """`ms`: from the request to the answer, as the model's server saw it."""

    asked: Asked
    model: str
    lines: tuple[Line, ...]
    tokens: int
    ms: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    parts: tuple[Part, ...]
    score: Score
    tokens: int
    ms: float


def read_play(fields: Mapping[str, str], settings: Settings) -> Play:
    """Raises InvalidInput, RequestTooLarge."""
    size = sum(map(len, fields.values()))
    if size > MOST_CHARACTERS:
        message = f"documents: {size} characters in all; the playground takes {MOST_CHARACTERS}"
        raise RequestTooLarge(message, param="documents", limit=MOST_CHARACTERS, received=size)
    query = fields.get("query", "").strip()
    if not query:
        raise InvalidInput("query: empty; say what you look for", param="query", limit=1, received=0)
    documents = read_pasted(fields.get("documents", ""), fields.get("form", "auto"))
    if not documents:
        raise InvalidInput("documents: none; paste at least one", param="documents", limit=1, received=0)
    if len(documents) > settings.demo_documents:
        message = f"documents: {len(documents)}; the playground takes {settings.demo_documents} (demo_documents)"
        raise RequestTooLarge(message, param="documents", limit=settings.demo_documents, received=len(documents))
    return Play(query, documents, _runs(fields))


def _runs(fields: Mapping[str, str]) -> tuple[Asked, ...]:
    first = Asked(fields.get("model", ""), _instruction(fields, ""))
    if not fields.get("compare"):
        return (first,)
    return first, Asked(fields.get("second_model") or first.model, _instruction(fields, "second_"))


def _instruction(fields: Mapping[str, str], prefix: str) -> str:
    """What was typed, else the preset that was chosen."""
    typed, name = fields.get(f"{prefix}instruction", "").strip(), fields.get(f"{prefix}preset", "")
    return typed or (preset(name, f"{prefix}preset") if name and name in PRESETS else "")


async def admit(call: Call, count: int) -> None:
    """Raises AccessDenied where visitors may not ask at all, RateLimited."""
    settings = call.settings
    keyed = bool(settings.api_keys or settings.api_keys_file) and not settings.accounts
    if keyed or call.demo is None or call.demo.most == 0:
        message = "the playground answers on servers with accounts or without keys, and where demo_requests_per_minute is not 0"
        raise AccessDenied(message, param="demo_requests_per_minute", limit=0)
    await call.demo.take(count)


async def play(call: Call, asked: Play) -> list[Run]:
    """Raises GigarankError as /v1/rerank does."""
    await admit(call, len(asked.runs))
    return [await _run(call, asked, one) for one in asked.runs]


async def explain(call: Call, asked: Play, index: int) -> Explained:
    """Of the first run's document `index`. Raises as `play`."""
    if not 0 <= index < len(asked.documents):
        raise InvalidInput(f"explain: no document {index}", param="explain", limit=len(asked.documents) - 1, received=index)
    await admit(call, 1)
    whole = replace(asked, documents=[asked.documents[index]])
    text = read_request(_as_call(call, whole, asked.runs[0])).searches[0].documents[0].text
    parts = split(text)
    answer = await _rerank(call, replace(asked, documents=list(variants(parts))), asked.runs[0])
    scores = [_score(ranked) for ranked in answer.unsorted[0]]
    logits = [score.logit for score in scores]
    return Explained(tuple(carried(parts, logits)), scores[0], answer.usage.total_tokens, _milliseconds(answer))


def _score(ranked: Ranked) -> Score:
    if isinstance(ranked.outcome, Failure):
        raise ranked.outcome.error
    if isinstance(ranked.outcome, Unscored):
        raise GigarankError("the sentences could not be scored in time")
    return ranked.outcome


async def _run(call: Call, asked: Play, one: Asked) -> Run:
    answer = await _rerank(call, asked, one)
    lines = tuple(_line(ranked, place) for place, ranked in enumerate(answer.results))
    return Run(one, answer.model, lines, answer.usage.total_tokens, _milliseconds(answer), answer.warnings)


async def _rerank(call: Call, asked: Play, one: Asked) -> RerankAnswer:
    made = _as_call(call, asked, one)
    return await rerank(made, read_request(made))


def _as_call(call: Call, asked: Play, one: Asked) -> Call:
    """What a client would have sent to /v1/rerank, behind those of others."""
    body: dict[str, Any] = {"query": asked.query, "documents": asked.documents, "model": one.model}
    if one.instruction:
        body["instruction"] = one.instruction
    return replace(call, body=body, urgency=replace(call.urgency, priority=_PRIORITY, wait_s=_WAIT_S))


def _line(ranked: Ranked, place: int) -> Line:
    score = ranked.outcome if isinstance(ranked.outcome, Score) else None
    why = ranked.outcome.error.message if isinstance(ranked.outcome, Failure) else "" if score is not None else "not in time"
    return Line(ranked.index, ranked.document.text, score, ranked.index - place, why)


def _milliseconds(answer: RerankAnswer) -> float:
    timing = answer.timing
    return timing.queued_ms + timing.tokenize_ms + timing.inference_ms


def models_of(call: Call) -> Sequence[str]:
    return [state.name for state in call.backend.models() if state.kind == "reranker"]
