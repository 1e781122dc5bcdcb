"""One question to a chat model behind the OpenAI protocol, asked again where asking again can help.

POST {base}/chat/completions with httpx2. Knows no prompts. Invariant: an answer is a JSON object out of the model's text; the
key goes into one header and nowhere else, no error's text included.
"""

import json
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx2

from gigarank.errors import InvalidInput, ModelUnavailable

_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
_REFUSED = (400, 401, 403, 404, 405, 422)
_LONGEST_WAIT_S = 60.0
_FENCED = re.compile(r"\{.*\}", re.S)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and whom to ask. `url` is the base, as clients of OpenAI take it, such as http://127.0.0.1:8000/v1. `tries` bounds
    the requests for one question; waits between them double from `first_wait_s`, or are what Retry-After says."""

    url: str
    model: str
    key: str = field(default="", repr=False)
    temperature: float = 0.7
    max_tokens: int = 400
    timeout_s: float = 120.0
    tries: int = 5
    first_wait_s: float = 1.0


class NoAnswer(Exception):  # noqa: N818 - it is no error of the run: the question is left for the next one
    """What came back cannot be used, however often it was asked; the text says why."""


class Chat:
    """A client of one endpoint. Thread-safe."""

    def __init__(self, endpoint: Endpoint, sleep: Callable[[float], None] = time.sleep) -> None:
        if not endpoint.url.startswith(("http://", "https://")):
            raise InvalidInput(f"url: must begin with http:// or https://, not {endpoint.url!r}", param="url")
        self.endpoint = endpoint
        self._sleep = sleep
        headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
        self._client = httpx2.Client(timeout=endpoint.timeout_s, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def ask(self, prompt: str, seed: int) -> Mapping[str, Any]:
        """The JSON object in the answer. Raises NoAnswer where it holds none or the endpoint fails `tries` times, and
        ModelUnavailable where it refuses: the next question would be refused too."""
        said = "nothing was asked"
        for attempt in range(self.endpoint.tries):
            wait = self.endpoint.first_wait_s * 2**attempt
            try:
                reply = self._post(prompt, seed + attempt)
            except httpx2.HTTPError as error:
                said = f"{type(error).__name__}: {error}"
            else:
                if reply.status_code == httpx2.codes.OK:
                    try:
                        return _object_in(reply)
                    except ValueError as error:
                        said, wait = str(error), 0.0
                else:
                    said = _require_hope(reply)
                    wait = _retry_after(reply, wait)
            if attempt + 1 < self.endpoint.tries:
                self._sleep(min(wait, _LONGEST_WAIT_S) * (1 + random.random() / 4))
        raise NoAnswer(f"{self.endpoint.tries} tries, the last: {said}")

    def _post(self, prompt: str, seed: int) -> httpx2.Response:
        body = {
            "model": self.endpoint.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": self.endpoint.temperature,
            "max_tokens": self.endpoint.max_tokens,
            "seed": seed,
        }
        return self._client.post(f"{self.endpoint.url.rstrip('/')}/chat/completions", json=body)


def _require_hope(reply: httpx2.Response) -> str:
    """What an error's answer says. Raises ModelUnavailable for one that asking again would not change."""
    said = f"status {reply.status_code}: {reply.text[:200]}"
    if reply.status_code in _AGAIN:
        return said
    hint = "; is the key in the environment?" if reply.status_code in (401, 403) else ""
    raise ModelUnavailable(f"{reply.request.url}: refused, {said}{hint}", param="url", received=reply.status_code)


def _retry_after(reply: httpx2.Response, otherwise: float) -> float:
    try:
        return max(float(reply.headers.get("retry-after", "")), 0.0)
    except ValueError:
        return otherwise


def _object_in(reply: httpx2.Response) -> Mapping[str, Any]:
    """The JSON object in the first choice's text, with or without a fence around it."""
    try:
        content = reply.json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"no chat completion came back: {reply.text[:200]!r}") from error
    found = _FENCED.search(content or "")
    try:
        value = json.loads(found[0], strict=False) if found else None  # models write line feeds into strings
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"the model's answer holds no JSON object: {content!r:.200}")
    return value
