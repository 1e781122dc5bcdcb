"""A GigarankError as the clients of each style read it: status, headers and one JSON body.

The superset body satisfies them together: OpenAI's `error` object with its four keys (also Together's and Elasticsearch's),
Cohere's `message`, the `detail` of Jina, Voyage and Xinference, TEI's `error_type`. Knows no route. Invariant: every
GigarankError has a kind here, or inherits one; `received` is short, and never text of a document.
"""

import math
from dataclasses import dataclass
from typing import Any

from gigarank import errors
from gigarank.errors import GigarankError, TryLater
from gigarank.service.call import ErrorStyle
from gigarank.types import JsonObject

_LONGEST_SHOWN = 200  # characters


@dataclass(frozen=True, slots=True)
class _Kind:
    """OpenAI's type and code (None: null), TEI's error_type, DashScope's code; `retry` None leaves it to the status."""

    type: str
    code: str | None
    tei: str
    dashscope: str
    retry: bool | None = None


_INVALID = "invalid_request_error"
_BUSY = "service_unavailable_error"
_KINDS: dict[type[GigarankError], _Kind] = {
    GigarankError: _Kind("server_error", None, "Backend", "InternalError"),
    errors.InvalidInput: _Kind(_INVALID, "invalid_value", "Validation", "InvalidParameter"),
    errors.UnsupportedParameter: _Kind(_INVALID, "unsupported_parameter", "Validation", "InvalidParameter"),
    errors.QueryTooLong: _Kind(_INVALID, "context_length_exceeded", "Validation", "InvalidParameter"),
    errors.UnknownModel: _Kind(_INVALID, "model_not_found", "Validation", "ModelNotFound"),
    errors.ObjectNotFound: _Kind(_INVALID, "not_found", "Validation", "NotFound"),
    errors.CheckpointError: _Kind("server_error", "bad_checkpoint", "Backend", "InternalError", False),
    errors.DeviceUnavailable: _Kind("server_error", "no_device", "Backend", "InternalError", False),
    errors.NonFiniteScore: _Kind("server_error", "non_finite_score", "Backend", "InternalError", False),
    errors.WorkerFailed: _Kind("server_error", "worker_failed", "Backend", "InternalError", True),
    errors.ModelUnavailable: _Kind(_BUSY, "model_unavailable", "Unhealthy", "ServiceUnavailable", False),
    errors.RequestTooLarge: _Kind(_INVALID, "request_too_large", "Validation", "InvalidParameter"),
    errors.HeadersTooLarge: _Kind(_INVALID, "headers_too_large", "Validation", "InvalidParameter"),
    errors.Unauthorized: _Kind(_INVALID, "invalid_api_key", "Validation", "InvalidApiKey"),
    errors.NotSignedIn: _Kind(_INVALID, "not_signed_in", "Validation", "InvalidApiKey"),
    errors.InsufficientCredit: _Kind("insufficient_quota", "credit_balance_exhausted", "Validation", "Arrearage", False),
    errors.SpendLimitReached: _Kind("insufficient_quota", "project_spend_limit_exceeded", "Validation", "Arrearage", False),
    errors.AccessDenied: _Kind("permission_error", "access_denied", "Validation", "AccessDenied", False),
    errors.ModelNotAllowed: _Kind("permission_error", "model_not_allowed", "Validation", "Model.AccessDenied", False),
    errors.KeyReused: _Kind("conflict", "idempotency_key_reuse", "Validation", "Conflict", False),
    errors.RouteNotFound: _Kind(_INVALID, "not_found", "Validation", "NotFound"),
    errors.MethodNotAllowed: _Kind(_INVALID, "method_not_allowed", "Validation", "MethodNotAllowed"),
    errors.RequestTimeout: _Kind(_INVALID, "request_timeout", "Validation", "RequestTimeOut"),
    errors.ClientClosed: _Kind(_INVALID, "client_closed", "Validation", "ClientClosed", False),
    errors.DeadlineExceeded: _Kind("timeout_error", "deadline_exceeded", "Overloaded", "RequestTimeOut", False),
    TryLater: _Kind(_BUSY, "server_is_overloaded", "Overloaded", "ServiceUnavailable", True),
    errors.Overloaded: _Kind("rate_limit_error", "slow_down", "Overloaded", "Throttling", True),
    errors.RateLimited: _Kind("rate_limit_error", "rate_limit_exceeded", "Overloaded", "Throttling.RateQuota", True),
    errors.StillRunning: _Kind("conflict", "idempotency_key_in_use", "Overloaded", "Conflict", True),
    errors.DatabaseUnavailable: _Kind(_BUSY, "database_unavailable", "Unhealthy", "ServiceUnavailable", True),
    errors.StorageUnavailable: _Kind(_BUSY, "storage_unavailable", "Unhealthy", "ServiceUnavailable", True),
    errors.UpstreamUnavailable: _Kind(_BUSY, "upstream_unavailable", "Unhealthy", "ServiceUnavailable", True),
    errors.ClusterUnavailable: _Kind(_BUSY, "cluster_unavailable", "Unhealthy", "ServiceUnavailable", True),
    errors.ProviderUnavailable: _Kind(_BUSY, "provider_unavailable", "Unhealthy", "ServiceUnavailable", True),
    errors.ModelLoading: _Kind(_BUSY, "model_loading", "Unhealthy", "ServiceUnavailable", True),
    errors.ShuttingDown: _Kind(_BUSY, "server_shutting_down", "Unhealthy", "ServiceUnavailable", True),
}


def render(error: GigarankError, style: ErrorStyle, request_id: str) -> tuple[int, dict[str, str], JsonObject]:
    """Status, headers, body."""
    return error.status, _headers(error), _body(error, style, request_id)


def as_object(error: GigarankError) -> JsonObject:
    """The OpenAI object of one document's error, within an answer."""
    kind = _kind(error)
    return {"message": error.message, "type": kind.type, "param": error.param, "code": kind.code} | _bounds(error)


def _kind(error: GigarankError) -> _Kind:
    return next(_KINDS[base] for base in type(error).__mro__ if base in _KINDS)


def _headers(error: GigarankError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if isinstance(error, TryLater):
        seconds = max(0.001, error.retry_after) if math.isfinite(error.retry_after) else 1.0
        headers["retry-after"] = str(math.ceil(seconds))
        headers["retry-after-ms"] = str(math.ceil(seconds * 1e3))
    if (retry := _kind(error).retry) is not None:
        headers["x-should-retry"] = "true" if retry else "false"
    return headers


def _body(error: GigarankError, style: ErrorStyle, request_id: str) -> JsonObject:
    kind = _kind(error)
    if style == "tei":
        return {"error": error.message, "error_type": kind.tei, "code": error.status, "id": request_id} | _bounds(error)
    body: JsonObject = {"error": as_object(error) | {"request_id": request_id}}
    if style == "integer":
        body["error"]["code"] = error.status
        body["error"]["metadata"] = {"error_type": kind.code or kind.type} | _bounds(error)
    body |= {"message": error.message, "detail": error.message, "error_type": kind.tei, "id": request_id}
    if style == "dashscope":
        body |= {"code": kind.dashscope, "request_id": request_id}
    return body


def _bounds(error: GigarankError) -> JsonObject:
    return {"limit": _short(error.limit), "received": _short(error.received)}


def _short(value: Any) -> Any:
    """A value as JSON that is never long: numbers as they are, anything else as text of bounded length."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if -1e18 < value < 1e18 else "a number out of range"
    text = value if isinstance(value, str) else type(value).__name__
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


_NULLABLE_TEXT: JsonObject = {"type": ["string", "null"]}
_BOUND: JsonObject = {"type": ["string", "number", "boolean", "null"]}
ERROR_SCHEMA: JsonObject = {
    "type": "object",
    "description": "Every error; which keys a client reads depends on its dialect. `error` is a string in TEI's dialect only.",
    "required": ["error", "error_type", "id"],
    "properties": {
        "error": {
            "anyOf": [
                {
                    "type": "object",
                    "required": ["message", "type", "param", "code", "limit", "received", "request_id"],
                    "properties": {
                        "message": {"type": "string"},
                        "type": {"type": "string"},
                        "param": _NULLABLE_TEXT,
                        "code": {"type": ["string", "integer", "null"]},
                        "limit": _BOUND,
                        "received": _BOUND,
                        "request_id": {"type": "string"},
                    },
                },
                {"type": "string"},
            ]
        },
        "message": {"type": "string"},
        "detail": {"type": "string"},
        "error_type": {"type": "string"},
        "id": {"type": "string"},
    },
}
