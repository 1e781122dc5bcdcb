"""Where the OpenAI endpoints live: each under /v1, and under the other prefixes that clients put before it.

Invariant: the path under /v1 comes first and is the only one that OpenAPI lists; under /api errors have integer codes, as
OpenRouter's clients expect.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gigarank.service.call import Endpoint, Route, Routes
from gigarank.service.openai import response_schemas, schemas
from gigarank.service.openai.chat import create_chat_completion
from gigarank.service.openai.completions import create_completion
from gigarank.service.openai.decisions import create_decision
from gigarank.service.openai.embeddings import create_embeddings
from gigarank.service.openai.models import list_models, show_model
from gigarank.service.openai.systemone import system_one
from gigarank.types import JsonObject

_PREFIXES = ("/v1", "", "/api/v1", "/openai/v1", "/inference/v1", "/compatible-mode/v1", "/v1/v1")


@dataclass(frozen=True, slots=True)
class _Served:
    """An endpoint: `path` stands behind every prefix, `elsewhere` are whole paths."""

    method: Literal["GET", "POST"]
    path: str
    endpoint: Endpoint
    summary: str
    request: JsonObject | None
    response: JsonObject
    elsewhere: Sequence[str] = ()


_ENDPOINTS = (
    _Served("GET", "/models", list_models, "The models, with their limits", None, response_schemas.MODEL_LIST),
    _Served("GET", "/models/{id:path}", show_model, "One model", None, response_schemas.MODEL_ENTRY),
    _Served(
        "POST",
        "/embeddings",
        create_embeddings,
        "Embed queries or documents",
        schemas.EMBEDDING_REQUEST,
        response_schemas.EMBEDDING_RESPONSE,
    ),
    _Served(
        "POST",
        "/decisions",
        create_decision,
        "Typed questions about a text, with probabilities",
        schemas.DECISION_REQUEST,
        response_schemas.DECISION_RESPONSE,
        ("/api/alpha/decisions",),
    ),
    _Served(
        "POST",
        "/systemone",
        system_one,
        "Typed questions about a state, in System One's shape",
        schemas.SYSTEM_ONE_REQUEST,
        response_schemas.SYSTEM_ONE_RESPONSE,
    ),
    _Served(
        "POST",
        "/completions",
        create_completion,
        "Yes or no to a raw prompt, with exact log-probabilities",
        schemas.COMPLETION_REQUEST,
        response_schemas.COMPLETION_RESPONSE,
    ),
    _Served(
        "POST",
        "/chat/completions",
        create_chat_completion,
        "Yes or no to messages, with exact log-probabilities",
        schemas.CHAT_REQUEST,
        response_schemas.CHAT_RESPONSE,
    ),
)


def _routes() -> Iterator[Route]:
    for served in _ENDPOINTS:
        for path in (*(prefix + served.path for prefix in _PREFIXES), *served.elsewhere):
            yield Route(
                served.method,
                path,
                served.endpoint,
                served.summary,
                "openai",
                served.request,
                served.response,
                style="integer" if path.startswith("/api/") else "superset",
                listed=path == f"/v1{served.path}",
            )


ROUTES: Routes = tuple(_routes())
