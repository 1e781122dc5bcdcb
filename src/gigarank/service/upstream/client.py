"""One question to another server over HTTP, and whether what came back is an answer.

Knows two protocols and no balance. Invariant: what is given are as many finite or infinite numbers as were asked for, in the
order of the question, and the server has read just the tokens that it was sent; everything else is a Fault or a WorkerFailed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx2

from gigarank.engine.tally import sigmoid
from gigarank.errors import WorkerFailed
from gigarank.service.upstream.addresses import without_secret
from gigarank.types import JsonObject

_SATURATED = math.log(2.0**53 - 1)
"""The largest logit that a double's probability below 1 can tell."""
_CONNECT_S, _LOOK_S = 10.0, 10.0
_SAME = 0.02  # a probability told, and the sigmoid of the logit told: a 16-bit head rounds
_MOST_REASON = 200
_TRY_LATER = (408, 425, 429, 503)


class Fault(Exception):  # noqa: N818 - what a server did; whether the request fails of it is decided elsewhere
    """A server did not answer, or with what is no answer. `busy`: it said so itself, and is well."""

    def __init__(self, reason: str, *, busy: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.busy = busy


@dataclass(frozen=True, slots=True)
class Question:
    """`body`: the request, but for the model's name. `count`: of the numbers in its answer. `tokens`: what the server reads."""

    body: JsonObject
    count: int
    tokens: int


class Client(Protocol):
    """One server. `look` and `try_out` raise Fault; `ask` WorkerFailed too, for a question that no server would answer."""

    @property
    def name(self) -> str: ...

    @property
    def copies(self) -> int:
        """How many of its kind stand behind it, each of which may have as much on its way."""
        ...

    async def look(self) -> Mapping[str, int]:
        """The longest prompt in tokens of each model that it has; 0 where it does not tell."""
        ...

    async def try_out(self, model: str, question: Question) -> None:
        """Whether it answers as it should: asked before it is given work."""
        ...

    async def ask(self, model: str, question: Question) -> list[float]: ...

    async def close(self) -> None: ...


class _Http:
    """A server at `url`; `timeout_s` for an answer, `key` for its Authorization."""

    copies = 1

    def __init__(self, url: str, key: str, timeout_s: float) -> None:
        self.url = url
        self.name = without_secret(url)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        wait = httpx2.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s))
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
        self._client = httpx2.AsyncClient(headers=headers, timeout=wait, limits=limits)

    async def close(self) -> None:
        await self._client.aclose()

    async def post(self, url: str, body: JsonObject) -> JsonObject:
        """The answer's object. Raises Fault, WorkerFailed."""
        return _object(await self._sent("POST", url, json=body), self.name)

    async def get(self, url: str) -> JsonObject:
        return _object(await self._sent("GET", url, timeout=_LOOK_S), self.name)

    async def _sent(self, method: str, url: str, **more: Any) -> httpx2.Response:
        try:
            return await self._client.request(method, url, **more)
        except httpx2.TimeoutException as error:
            raise Fault(f"{self.name} did not answer in time") from error
        except httpx2.HTTPError as error:
            raise Fault(f"{self.name} could not be asked: {type(error).__name__}") from error


class VllmClient(_Http):
    """vLLM with a reranker in its pooling runner: POST /classify takes token ids and gives raw logits."""

    async def look(self) -> Mapping[str, int]:
        listed = (await self.get(f"{self.url}/v1/models")).get("data")
        models = listed if isinstance(listed, list) else []
        found = {str(one["id"]): one.get("max_model_len") for one in models if isinstance(one, dict) and "id" in one}
        if not found:
            raise Fault(f"{self.name} lists no models")
        return {name: longest if isinstance(longest, int) else 0 for name, longest in found.items()}

    async def try_out(self, model: str, question: Question) -> None:
        """The same prompt's logit and probability must be one another's: else the server told something else."""
        (logit,) = await self.ask(model, question)
        told = await self.post(f"{self.url}/classify", {**question.body, "model": model, "use_activation": True})
        (probability,) = _classes(told, question, self.name)
        if not math.isfinite(logit) or abs(probability - sigmoid(logit)) > _SAME:
            raise Fault(
                f"{self.name} gives {logit} where the logit should be and {probability} for its probability; it must run "
                "the model with --runner pooling and hf_overrides that make one class of both answers"
            )

    async def ask(self, model: str, question: Question) -> list[float]:
        told = await self.post(f"{self.url}/classify", {**question.body, "model": model, "use_activation": False})
        return _classes(told, question, self.name)


class RerankClient(_Http):
    """Any server with Cohere's rerank route. It makes the prompt and tells probabilities."""

    async def look(self) -> Mapping[str, int]:
        return {}

    async def try_out(self, model: str, question: Question) -> None:
        if not all(map(math.isfinite, await self.ask(model, question))):
            raise Fault(f"{self.name} gives scores that are no numbers")

    async def ask(self, model: str, question: Question) -> list[float]:
        told = await self.post(self.url, {**question.body, "model": model, "top_n": question.count})
        results = told.get("results", told.get("data"))
        found = _in_order(results, question.count, self.name)
        return [_logit(one.get("relevance_score"), self.name) for one in found]


def vllm_question(prompts: Sequence[Sequence[int]]) -> Question:
    """Whole prompts, as ids."""
    body = {"input": [list(prompt) for prompt in prompts], "add_special_tokens": False}
    return Question(body, len(prompts), sum(map(len, prompts)))


def rerank_question(query: str, documents: Sequence[str], instruction: str | None, tokens: int) -> Question:
    body: JsonObject = {"query": query, "documents": list(documents), "return_documents": False}
    return Question(body if instruction is None else {**body, "instruction": instruction}, len(documents), tokens)


def _object(response: httpx2.Response, name: str) -> JsonObject:
    status = response.status_code
    if status in _TRY_LATER:
        raise Fault(f"{name} is busy: it answered {status}", busy=True)
    if 400 <= status < 500 and status not in (401, 403, 404, 405):
        raise WorkerFailed(f"{name} refused what it was sent with {status}: {_said(response)}", received=status)
    if status != httpx2.codes.OK:
        raise Fault(f"{name} answered {status}")
    try:
        told = response.json()
    except ValueError as error:
        raise Fault(f"{name} answered with what is no JSON") from error
    if not isinstance(told, dict):
        raise Fault(f"{name} answered with JSON that is no object")
    return told


def _said(response: httpx2.Response) -> str:
    """Its own words, without what could be a text of the request."""
    try:
        told = response.json()
    except ValueError:
        return "no reason given"
    error = told.get("error") if isinstance(told, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return message[:_MOST_REASON] if isinstance(message, str) else "no reason given"


def _classes(told: JsonObject, question: Question, name: str) -> list[float]:
    found = _in_order(told.get("data"), question.count, name)
    usage = told.get("usage")
    read = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    if read != question.tokens:
        raise Fault(f"{name} has read {read} tokens of the {question.tokens} that it was sent")
    return [_class(one.get("probs"), name) for one in found]


def _class(told: Any, name: str) -> float:
    """The one class's number; null is how vLLM writes NaN."""
    if not isinstance(told, list) or len(told) != 1:
        raise Fault(f"{name} runs a model of several classes, or of none, where a reranker has one")
    if told[0] is None:
        return math.nan
    return _number(told[0], name)


def _logit(told: Any, name: str) -> float:
    probability = _number(told, name)
    if math.isnan(probability):
        return probability
    if not 0.0 <= probability <= 1.0:
        raise Fault(f"{name} gives {probability} for a relevance, which is from 0 to 1")
    if probability in (0.0, 1.0):
        return math.copysign(_SATURATED, probability - 0.5)
    return math.log(probability) - math.log1p(-probability)


def _number(told: Any, name: str) -> float:
    if isinstance(told, bool) or not isinstance(told, int | float):
        raise Fault(f"{name} gives {type(told).__name__} where a score should be")
    return float(told)


def _in_order(listed: Any, count: int, name: str) -> list[JsonObject]:
    """The entries by their index, each of 0 to count - 1 once."""
    entries = listed if isinstance(listed, list) else []
    by_place = {one.get("index"): one for one in entries if isinstance(one, dict) and isinstance(one.get("index"), int)}
    if len(entries) != count or by_place.keys() != set(range(count)):
        raise Fault(f"{name} gives {len(entries)} scores for {count} texts, or some of them twice")
    return [by_place[place] for place in range(count)]
