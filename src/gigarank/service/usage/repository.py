"""Rows of usage, read. Knows SQL and no rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, case, func, select

from gigarank.service.tables import accounts, keys, usage
from gigarank.service.tenant import Tenant

_GROUPS: Mapping[str, Sequence[ColumnElement[Any]]] = {
    "day": (usage.c.day,),
    "account": (usage.c.account_id, accounts.c.email.label("email")),
    "key": (usage.c.key_id, keys.c.name.label("key_name")),
    "model": (usage.c.model,),
    "tier": (usage.c.tier,),
}
_SUMS = (
    func.count().label("requests"),
    func.sum(usage.c.documents).label("documents"),
    func.sum(usage.c.tokens).label("tokens"),
    func.sum(usage.c.amount_micros).label("amount_micros"),
)
_REQUEST = ("id", "request_id", "created", "key_id", "model", "route", "tier", "documents", "tokens", "amount_micros")


@dataclass(frozen=True, slots=True)
class Filter:
    """`first` and `last`: days, as 2026-11-26, both included. None: any."""

    first: str
    last: str
    account_id: str | None = None
    key_id: str | None = None
    model: str | None = None

    def of(self, wanted: Select[Any]) -> Select[Any]:
        found = wanted.where(usage.c.day >= self.first, usage.c.day <= self.last)
        for name in ("account_id", "key_id", "model"):
            if (value := getattr(self, name)) is not None:
                found = found.where(usage.c[name] == value)
        return found


def summed(connection: Connection, which: Filter, groups: Sequence[str], most: int) -> Sequence[RowMapping]:
    """A row a group, of at most `most`."""
    columns = [column for group in groups for column in _GROUPS[group]]
    wanted = which.of(select(*columns, *_SUMS))
    wanted = wanted.join(accounts, usage.c.account_id == accounts.c.id).join(keys, usage.c.key_id == keys.c.id)
    return connection.execute(wanted.group_by(*columns).order_by(*columns).limit(most)).mappings().all()


def requests(connection: Connection, which: Filter, after: str | None, most: int) -> Sequence[RowMapping]:
    """The newest first; `after`: those that come after that one."""
    wanted = which.of(select(*(usage.c[name] for name in _REQUEST), usage.c.latency_ms))
    if after is not None:
        last = select(usage.c.created).where(usage.c.id == after, usage.c.account_id == which.account_id).scalar_subquery()
        wanted = wanted.where((usage.c.created < last) | ((usage.c.created == last) & (usage.c.id < after)))
    return connection.execute(wanted.order_by(usage.c.created.desc(), usage.c.id.desc()).limit(most)).mappings().all()


def spent_since(connection: Connection, tenant: Tenant, begins: Mapping[str, int]) -> RowMapping:
    """Micro-dollars of a key since each of the moments, under its name, and in `total`."""
    amount = usage.c.amount_micros
    parts = {name: case((usage.c.created >= begin, amount), else_=0) for name, begin in begins.items()} | {"total": amount}
    columns = [func.coalesce(func.sum(part), 0).label(name) for name, part in parts.items()]
    mine = select(*columns).where(usage.c.account_id == tenant.account_id, usage.c.key_id == tenant.key_id)
    return connection.execute(mine).mappings().one()
