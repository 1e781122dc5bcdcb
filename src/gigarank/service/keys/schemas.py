"""What a key is: its row, its terms, and the period that its cap counts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from gigarank.errors import InvalidInput
from gigarank.service.credits.money import usd
from gigarank.service.tenant import SCOPES, Limits, Scope
from gigarank.types import JsonObject

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

Period = Literal["total", "day", "week", "month"]
PERIODS: tuple[Period, ...] = get_args(Period)


@dataclass(frozen=True, slots=True)
class Terms:
    """What whoever makes a key says of it. `models` None: all. `expires`: Unix seconds."""

    name: str = "default"
    scopes: tuple[Scope, ...] = SCOPES
    models: tuple[str, ...] | None = None
    expires: int | None = None
    cap_micros: int | None = None
    cap_period: Period = "total"
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    account_id: str
    shown_as: str
    terms: Terms
    disabled: bool
    spent_micros: int
    spent_from: int
    last_used: int | None
    created: int

    @classmethod
    def of(cls, row: "RowMapping | Mapping[str, Any]") -> "Key":
        models = row["models"]
        terms = Terms(
            row["name"],
            cast(tuple[Scope, ...], tuple(row["scopes"].split())),
            None if models is None else tuple(json.loads(models)),
            row["expires"],
            row["cap_micros"],
            cast(Period, row["cap_period"]),
            Limits.of(dict(row)),
        )
        return cls(
            row["id"],
            row["account_id"],
            row["shown"],
            terms,
            bool(row["disabled"]),
            row["spent_micros"],
            row["spent_from"],
            row["last_used"],
            row["created"],
        )

    def spent(self, now: int) -> int:
        """Micro-dollars in the period of its cap."""
        begin, _ = period(self.terms.cap_period, now)
        return self.spent_micros if self.spent_from >= begin else 0

    def described(self, now: int) -> JsonObject:
        terms = self.terms
        _, end = period(terms.cap_period, now)
        spent = self.spent(now)
        return {
            "object": "key",
            "key_id": self.id,
            "account_id": self.account_id,
            "name": terms.name,
            "begins_with": self.shown_as,
            "scopes": list(terms.scopes),
            "models": None if terms.models is None else list(terms.models),
            "disabled": self.disabled,
            "expires": terms.expires,
            "created": self.created,
            "last_used": self.last_used,
            "spent_micros": spent,
            "spent_usd": usd(spent),
            "spend_cap": None
            if terms.cap_micros is None
            else {
                "limit_micros": terms.cap_micros,
                "limit_usd": usd(terms.cap_micros),
                "period": terms.cap_period,
                "resets_at": end,
            },
            "limits": terms.limits.values(),
        }


def period(kind: Period, now: int) -> tuple[int, int | None]:
    """[begin, end) of the period of `now`, in UTC: a week begins on Monday. "total" has no end."""
    if kind == "total":
        return 0, None
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "day":
        begin, end = day, day + timedelta(days=1)
    elif kind == "week":
        begin = day - timedelta(days=day.weekday())
        end = begin + timedelta(days=7)
    else:
        begin = day.replace(day=1)
        end = (begin + timedelta(days=32)).replace(day=1)
    return int(begin.timestamp()), int(end.timestamp())


def begins(now: int) -> Mapping[str, int]:
    """Since when the day, the week and the month of `now` count."""
    return _begins(now // 86_400)


@lru_cache(maxsize=4)
def _begins(day: int) -> Mapping[str, int]:
    kinds: tuple[Period, ...] = ("day", "week", "month")
    return {kind: period(kind, day * 86_400)[0] for kind in kinds}


def read_scopes(given: Any) -> tuple[Scope, ...]:
    """Raises InvalidInput."""
    unknown = [one for one in given if one not in SCOPES]
    if unknown or not given:
        message = f"scopes: some of {', '.join(SCOPES)}; received {', '.join(map(str, unknown)) or 'none'}"
        raise InvalidInput(message, param="scopes", limit=", ".join(SCOPES), received=", ".join(map(str, unknown)))
    return tuple(dict.fromkeys(given))


def read_period(given: Any) -> Period:
    """Raises InvalidInput."""
    if given not in PERIODS:
        message = f"cap_period: one of {', '.join(PERIODS)}; received {str(given)[:40]!r}"
        raise InvalidInput(message, param="cap_period", limit=", ".join(PERIODS), received=str(given)[:40])
    return cast(Period, given)
