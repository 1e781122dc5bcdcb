"""What a model of the catalogue is, where it may go from there, and how it is shown."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from gigarank import catalogue as known
from gigarank.errors import InvalidInput
from gigarank.types import JsonObject

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from gigarank.service.credits.schemas import Price

State = Literal["proposed", "benchmarking", "onboarding", "live", "retired"]
STATES: tuple[State, ...] = get_args(State)
MOVES: Mapping[State, Sequence[State]] = {
    "proposed": ("benchmarking", "retired"),
    "benchmarking": ("onboarding", "proposed", "retired"),
    "onboarding": ("live", "benchmarking", "proposed", "retired"),
    "live": ("retired",),
    "retired": ("proposed",),
}
MOST_VOTES = 50
"""Models that an account may ask for at a time."""
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_LIMIT = "OWNER/NAME, as the hub spells it, or a name of `gigarank models`"


@dataclass(frozen=True, slots=True)
class Retirement:
    """`at`: Unix seconds, from when on it is not served. `instead`: what to ask then."""

    at: int
    instead: str | None


def read_model(given: Any) -> str:
    """The one name of a known model, or a hub id. Raises InvalidInput."""
    text = given.strip() if isinstance(given, str) else ""
    model = known.find(text) if text else None
    if model is not None:
        return model.name
    if not _HUB_ID.fullmatch(text) or ".." in text or "--" in text:
        shown = given[:80] if isinstance(given, str) else given
        raise InvalidInput(f"model: {_LIMIT} is expected; received {shown!r}", param="model", limit=_LIMIT, received=shown)
    return text


def read_state(given: str) -> State:
    for state in STATES:
        if given == state:
            return state
    listed = ", ".join(STATES)
    raise InvalidInput(f"state: one of {listed} is expected; received {given[:40]!r}", param="state", limit=listed)


def day_of(moment: int | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).date().isoformat()


def retired(name: str, retirement: Retirement) -> str:
    """For whoever asks it."""
    instead = "" if retirement.instead is None else f"; ask {retirement.instead} instead"
    return f"model: {name} is not served since {day_of(retirement.at)}{instead}"


def entry(row: "RowMapping", price: "Price | None") -> JsonObject:
    """`row`: with its `votes`. `price`: of a live one."""
    return {
        "object": "catalogue_model",
        "model": row["name"],
        "state": row["state"],
        "since": row["changed"],
        "created": row["created"],
        "votes": row["votes"],
        "reason": row["reason"],
        "retires": day_of(row["retires"]),
        "instead": row["instead"],
        "specs": specs(row["name"]),
        "price": None if price is None else price.shown(),
        "figures": json.loads(row["figures"]) if row["figures"] else [],
    }


def specs(name: str) -> JsonObject | None:
    """What is known of a model before anybody measured it; None for one that nobody wrote down."""
    model = known.find(name)
    if model is None:
        return None
    told = {"repository": model.repository, "kind": model.kind, "parameters": model.parameters, "licence": model.licence}
    shape = asdict(model.shape)
    return {
        **told,
        "context_tokens": model.context_tokens,
        "summary": model.summary,
        "published": model.published,
        "shape": shape,
    }
