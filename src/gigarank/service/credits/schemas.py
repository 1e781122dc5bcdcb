"""Values of credit: a price, what it makes of a use, a grant, what is held, what was used."""

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from gigarank.engine.work import Tier
from gigarank.errors import InvalidInput
from gigarank.service.credits.money import usd
from gigarank.types import JsonObject

Unit = Literal["tokens", "documents"]
_SIZES: dict[Unit, int] = {"tokens": 1_000_000, "documents": 1_000}
SHARED_MODEL = "*"


@dataclass(frozen=True, slots=True)
class Price:
    """`micros`: of a million tokens, or of a thousand documents. `model` "*": of any model without a price of its own."""

    id: str
    model: str
    tier: Tier
    unit: Unit
    micros: int
    valid_from: int

    def of(self, documents: int, tokens: int) -> int:
        """Micro-dollars, rounded up."""
        return -(-(documents if self.unit == "documents" else tokens) * self.micros // _SIZES[self.unit])

    def shown(self) -> JsonObject:
        return {
            "price_id": self.id,
            "model": self.model,
            "tier": self.tier,
            "unit": f"{_SIZES[self.unit]} {self.unit}",
            "price_micros": self.micros,
            "price_usd": usd(self.micros),
            "valid_from": self.valid_from,
        }


@dataclass(frozen=True, slots=True)
class Grant:
    """Credit that was given. Of several, the one with the lowest `priority` is spent first, then the first to expire."""

    amount_micros: int
    reason: str = "grant"
    priority: int = 100
    expires: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """What is held of an account and a key while a request runs. `most_of_...`: how many each may have at once."""

    id: str
    account_id: str
    key_id: str
    amount_micros: int
    owner: str
    most_of_account: int | None = None
    most_of_key: int | None = None
    batch_id: str | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """A request that was served. `id` is its hold's."""

    id: str
    request_id: str
    account_id: str
    key_id: str
    model: str
    route: str
    tier: Tier
    documents: int
    tokens: int
    amount_micros: int
    price_id: str
    latency_ms: int
    batch_id: str | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """What does not add up, a sentence each; none is how it should be."""

    accounts: int
    problems: tuple[str, ...]

    def shown(self) -> JsonObject:
        return {"object": "audit", "accounts": self.accounts, "problems": list(self.problems), "sound": not self.problems}


def read_unit(given: Any) -> Unit:
    """Raises InvalidInput."""
    return cast(Unit, _one_of(given, "per", get_args(Unit)))


def read_tier(given: Any) -> Tier:
    """Raises InvalidInput."""
    return cast(Tier, _one_of(given, "tier", get_args(Tier)))


def _one_of(given: Any, param: str, allowed: tuple[str, ...]) -> Any:
    if given not in allowed:
        shown = str(given)[:40]
        message = f"{param}: one of {', '.join(allowed)}; received {shown!r}"
        raise InvalidInput(message, param=param, limit=", ".join(allowed), received=shown)
    return given
