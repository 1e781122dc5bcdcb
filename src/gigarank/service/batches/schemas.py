"""A file and a batch, as their rows say and as OpenAI's clients read them."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from gigarank.errors import InvalidInput, ObjectNotFound
from gigarank.service.openai.fields import Fields, as_fields, wrong_type
from gigarank.types import JsonObject

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

Purpose = Literal["batch", "batch_output"]
Ending = Literal["completed", "expired", "cancelled", "failed"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
ENDPOINTS = ("/v1/rerank", "/v1/score", "/v1/embeddings", "/v1/decisions")
OPEN = ("validating", "in_progress", "finalizing", "cancelling")
WINDOW_S = 24 * 3_600
WINDOW = "24h"
LEAST_LIFE_S, MOST_LIFE_S = 3_600, 30 * 24 * 3_600
_EVENTS = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
_MOST_METADATA, _MOST_NAME, _MOST_VALUE = 16, 64, 512


def file_shown(row: "RowMapping") -> JsonObject:
    return {
        "id": row["id"],
        "object": "file",
        "bytes": row["bytes"],
        "created_at": row["created"],
        "expires_at": row["expires"],
        "filename": row["filename"],
        "purpose": row["purpose"],
        "status": "processed",
        "status_details": None,
    }


def batch_shown(row: "RowMapping") -> JsonObject:
    errors = None if row["errors"] is None else {"object": "list", "data": json.loads(row["errors"])}
    tokens = row["tokens"]
    return {
        "id": row["id"],
        "object": "batch",
        "endpoint": row["endpoint"],
        "model": row["model"],
        "errors": errors,
        "input_file_id": row["input_file_id"],
        "completion_window": WINDOW,
        "status": row["state"],
        "output_file_id": row["output_file_id"],
        "error_file_id": row["error_file_id"],
        "created_at": row["created"],
        "expires_at": row["expires_at"],
        **{f"{event}_at": row[f"{event}_at"] for event in _EVENTS},
        "request_counts": {name: row[name] for name in ("total", "completed", "failed")},
        "usage": {
            "input_tokens": tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": tokens,
        },
        "metadata": None if row["metadata"] is None else json.loads(row["metadata"]),
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """A batch that a client asks for. `output_seconds`: how long its files are kept, None for as long as usual."""

    endpoint: str
    input_file_id: str
    metadata: JsonObject | None
    output_seconds: int | None


def read_batch(body: Any) -> Asked:
    """Raises InvalidInput."""
    fields = as_fields(body, "")
    for name in ("input_file_id", "endpoint", "completion_window"):
        fields.required_text(name)
    fields.choice("completion_window", (WINDOW,))
    endpoint = fields.choice("endpoint", ENDPOINTS) or ""
    return Asked(endpoint, fields.required_text("input_file_id")[:80], _metadata(fields), _output_seconds(fields))


def _output_seconds(fields: Fields) -> int | None:
    if fields.value("output_expires_after") is None:
        return None
    wanted = as_fields(fields.value("output_expires_after"), "output_expires_after")
    wanted.choice("anchor", ("created_at",))
    wanted.given("seconds")
    return wanted.integer("seconds", LEAST_LIFE_S, MOST_LIFE_S)


def _metadata(fields: Fields) -> JsonObject | None:
    if fields.value("metadata") is None:
        return None
    given = as_fields(fields.value("metadata"), "metadata").values
    if len(given) > _MOST_METADATA:
        message = f"metadata: {len(given)} pairs; at most {_MOST_METADATA}"
        raise InvalidInput(message, param="metadata", limit=_MOST_METADATA, received=len(given))
    for name, value in given.items():
        if not isinstance(value, str):
            raise wrong_type(f"metadata.{name[:64]}", "string", value)
        if len(name) > _MOST_NAME or len(value) > _MOST_VALUE:
            message = f"metadata: names of at most {_MOST_NAME} characters and values of at most {_MOST_VALUE}"
            raise InvalidInput(message, param="metadata", limit=_MOST_VALUE, received=max(len(name), len(value)))
    return dict(given)


def not_found(kind: str, name: str) -> ObjectNotFound:
    return ObjectNotFound(f"{kind}: no {kind} {name[:60]!r} of this account", param=f"{kind}_id", received=name[:60])
