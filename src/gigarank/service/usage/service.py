"""What was used, summed and listed. Each function is a part of one transaction.

Knows no HTTP. Invariant: the sums are those of the rows of usage, of which there is one for every request that was paid for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from gigarank.errors import InvalidInput
from gigarank.service.keys.schemas import begins
from gigarank.service.tenant import Tenant
from gigarank.service.usage import repository
from gigarank.service.usage.repository import Filter
from gigarank.service.usage.schemas import shown
from gigarank.types import JsonObject

MOST_ROWS = 10_000
_COLUMNS = {
    "day": ("day",),
    "account": ("account_id", "email"),
    "key": ("key_id", "key_name"),
    "model": ("model",),
    "tier": ("tier",),
}


@dataclass(frozen=True, slots=True)
class Spent:
    """Micro-dollars of a key: this day, this week from Monday, this month, all in UTC; and ever."""

    day: int
    week: int
    month: int
    total: int


def spent_of_key(connection: Connection, tenant: Tenant, now: int) -> Spent:
    row = repository.spent_since(connection, tenant, begins(now))
    return Spent(*(int(row[name]) for name in Spent.__slots__))


def summed(connection: Connection, which: Filter, groups: Sequence[str]) -> list[JsonObject]:
    """A row a group, in the order of the groups. Raises InvalidInput where there are too many."""
    found = repository.summed(connection, which, groups, MOST_ROWS + 1)
    if len(found) > MOST_ROWS:
        message = f"group_by: more than {MOST_ROWS} rows; ask for fewer days or groups, or for one key or model"
        raise InvalidInput(message, param="group_by", limit=MOST_ROWS, received=f"more than {MOST_ROWS}")
    return [shown(dict(row)) for row in found]


def columns_of(groups: Sequence[str]) -> list[str]:
    """What a row of `summed` holds."""
    named = [name for group in groups for name in _COLUMNS[group]]
    return [*named, "requests", "documents", "tokens", "amount_micros", "amount_usd"]


def requests(connection: Connection, which: Filter, after: str | None, limit: int) -> tuple[list[JsonObject], bool]:
    """The newest first, and whether there are more."""
    found = repository.requests(connection, which, after, limit + 1)
    return [shown(dict(row)) for row in found[:limit]], len(found) > limit
