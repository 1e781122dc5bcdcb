"""Errors in the superset shape."""

from typing import Any

from gigarank.errors import GigarankError

ERROR_SCHEMA: dict[str, Any] = {"type": "object", "required": ["error", "message", "detail"]}


def render(error: GigarankError, style: str, request_id: str) -> tuple[int, dict[str, str], Any]:
    shown = {"message": error.message, "type": "invalid_request_error", "param": error.param, "code": error.code}
    shown |= {"limit": error.limit, "received": error.received}
    return error.status, {}, {"error": shown, "message": error.message, "detail": error.message, "request_id": request_id}
