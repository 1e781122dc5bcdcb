"""What an account says of keeping bodies, checked, and how a kept one is shown."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gigarank.errors import InvalidInput, ObjectNotFound
from gigarank.service.openai.fields import as_fields
from gigarank.types import JsonObject

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

MOST_DAYS = 3_650
_ABOUT = ("id", "request_id", "key_id", "route", "status", "created", "expires", "request_bytes", "response_bytes")


@dataclass(frozen=True, slots=True)
class Asked:
    """`days` 0: none are kept, None: as if nothing was said. `key_id` None: of the whole account."""

    days: int | None
    key_id: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that was answered. `days` and `most_bytes`: the most that the server lets anybody keep."""

    request_id: str
    route: str
    status: int
    request: bytes
    response: bytes
    days: int
    most_bytes: int


def read_terms(body: Any, most_days: int) -> Asked:
    """Raises InvalidInput, also where the server lets nobody keep bodies."""
    fields = as_fields(body, "")
    if "days" not in fields.values:
        raise InvalidInput("days: is required; null takes back what was said", param="days", received=None)
    days = fields.integer("days", 0, MOST_DAYS)
    if days is not None and days > most_days:
        reason = f"at most {most_days} on this server" if most_days else "this server keeps no bodies"
        raise InvalidInput(f"days: {reason} (max_body_days)", param="days", limit=most_days, received=days)
    return Asked(days, fields.text("key_id"))


def about(row: "RowMapping") -> JsonObject:
    return {"object": "log", **{name: row[name] for name in _ABOUT}}


def whole(row: "RowMapping") -> JsonObject:
    """`truncated`: of which only the beginning was kept."""
    cut = [name for name in ("request", "response") if len(row[name]) < row[f"{name}_bytes"]]
    texts = {name: bytes(row[name]).decode("utf-8", "replace") for name in ("request", "response")}
    return {**about(row), **texts, "truncated": cut}


def no_log(log_id: str) -> ObjectNotFound:
    return ObjectNotFound(f"log_id: no log {log_id[:60]!r} of this account", param="log_id", received=log_id[:60])
