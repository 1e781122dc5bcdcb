"""What an account is, as its rows say and as the API and the operator's commands show it."""

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from sqlalchemy import RowMapping

from gigarank.errors import InvalidInput
from gigarank.service.credits.money import usd
from gigarank.service.mail.address import is_address
from gigarank.service.tenant import Limits
from gigarank.types import JsonObject

State = Literal["active", "suspended", "deleted"]
Role = Literal["user", "operator"]


@dataclass(frozen=True, slots=True)
class Account:
    id: str
    email: str
    role: Role
    state: State
    balance_micros: int
    held_micros: int
    limits: Limits
    created: int

    @classmethod
    def of(cls, row: RowMapping) -> "Account":
        return cls(
            row["id"],
            row["email"],
            cast(Role, row["role"]),
            cast(State, row["state"]),
            row["balance_micros"],
            row["held_micros"],
            Limits.of(dict(row)),
            row["created"],
        )

    def shown(self) -> JsonObject:
        return {
            "object": "account",
            "account_id": self.id,
            "email": self.email,
            "role": self.role,
            "state": self.state,
            "created": self.created,
            **credit_shown(self.balance_micros, self.held_micros),
            "limits": self.limits.values(),
        }


def credit_shown(balance_micros: int, held_micros: int) -> JsonObject:
    """`available` is what a request may still take."""
    free = balance_micros - held_micros
    return {
        "balance_micros": balance_micros,
        "held_micros": held_micros,
        "available_micros": free,
        "balance_usd": usd(balance_micros),
        "available_usd": usd(free),
    }


def read_email(value: Any) -> str:
    """In lower case; raises InvalidInput. Whether somebody reads what is sent there, only a message can tell."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if not is_address(text):
        raise InvalidInput("email: an address as name@host is expected", param="email", limit="name@host", received=value)
    return text


def read_role(given: Any) -> Role:
    """Raises InvalidInput."""
    if given not in get_args(Role):
        message = f"role: one of {', '.join(get_args(Role))}; received {str(given)[:40]!r}"
        raise InvalidInput(message, param="role", limit=", ".join(get_args(Role)), received=str(given)[:40])
    return cast(Role, given)
