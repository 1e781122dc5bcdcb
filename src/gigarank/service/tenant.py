"""Whoever sent a key that is good, and what that key may do. Values only: no database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from gigarank.service.settings import Settings

Scope = Literal["inference", "account", "batches"]
"""inference: to ask models. account: to see the account's credit and usage. batches: to keep, read and delete files, and to
start, see and cancel batches."""
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class Limits:
    """None: not limited, or left to the account, or to the server's settings."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None

    def over(self, usual: "Limits") -> "Limits":
        """These, and the usual ones where there is none."""
        pairs = ((getattr(self, name), getattr(usual, name)) for name in self.__slots__)
        return Limits(*(own if own is not None else other for own, other in pairs))

    @classmethod
    def usual(cls, settings: Settings) -> "Limits":
        """Of whoever has none of its own."""
        return cls(*(getattr(settings, name) or None for name in cls.__slots__))

    @classmethod
    def of(cls, row: Mapping[str, Any], prefix: str = "") -> "Limits":
        return cls(*(row[prefix + name] for name in cls.__slots__))

    def values(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Tenant:
    """The limits are those in force: None is none. `models` None: all. `token_expires`: Unix seconds, of who sent a token
    that a key made."""

    account_id: str
    key_id: str
    scopes: tuple[Scope, ...]
    models: tuple[str, ...] | None
    account_limits: Limits
    key_limits: Limits
    token_expires: int | None = None
