"""What a model costs, now and before: a versioned table. Each function is a part of one transaction.

Invariants: a price is never changed; a new one begins, and the uses of the old one keep its id. What is asked, shown and billed
is chosen by one rule, `_chosen`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from sqlalchemy import Connection, RowMapping, bindparam, insert, select

from gigarank.engine.work import Tier
from gigarank.errors import InvalidInput
from gigarank.service.credits.schemas import SHARED_MODEL, Price, Unit
from gigarank.service.statements import Row, Statement, ask
from gigarank.service.tables import prices

_REALTIME: Tier = "default"
_PRICES = Statement(
    select(prices)
    .where(prices.c.model.in_((bindparam("own"), SHARED_MODEL)), prices.c.tier.in_((bindparam("given_tier"), _REALTIME)))
    .where(prices.c.valid_from <= bindparam("now"))
    .order_by(prices.c.valid_from)
)


def set_price(connection: Connection, price: Price) -> Price:
    """Raises InvalidInput where that model and tier has a price from that second on."""
    same = (prices.c.model == price.model, prices.c.tier == price.tier, prices.c.valid_from == price.valid_from)
    if connection.execute(select(prices.c.id).where(*same)).first() is not None:
        message = f"valid_from: {price.model} ({price.tier}) has a price from {price.valid_from} on; prices are not changed"
        raise InvalidInput(message, param="valid_from", received=price.valid_from)
    values = {name: getattr(price, name) for name in Price.__slots__}
    connection.execute(insert(prices).values(**values))
    return price


def price_of(connection: Connection, model: str, tier: Tier, now: int) -> Price:
    """The model's own, else half of its realtime price, else the one of all models. Raises InvalidInput where there is none."""
    (rows,) = ask(connection, _PRICES({"own": model, "given_tier": tier, "now": now}))
    found = _chosen(_latest(rows.rows), model, tier)
    if found is None:
        raise InvalidInput(f"model: {model} has no price for the {tier} tier", param="model", received=model)
    return found


def prices_of(connection: Connection, models: Sequence[str], tier: Tier, now: int) -> Mapping[str, Price]:
    """As `price_of`, of all of them with one question; without those that have none."""
    if not models:
        return {}
    named = select(prices).where(prices.c.model.in_((*models, SHARED_MODEL)), prices.c.tier.in_((tier, _REALTIME)))
    rows = connection.execute(named.where(prices.c.valid_from <= now).order_by(prices.c.valid_from)).mappings()
    latest = _latest(rows)
    chosen = {model: _chosen(latest, model, tier) for model in models}
    return {model: price for model, price in chosen.items() if price is not None}


def _latest(rows: Iterable[RowMapping | Row]) -> Mapping[tuple[str, Tier], Price]:
    """Of rows in the order in which they begin."""
    return {(price.model, price.tier): price for price in map(_price, rows)}


def _chosen(latest: Mapping[tuple[str, Tier], Price], model: str, tier: Tier) -> Price | None:
    for name in (model, SHARED_MODEL):
        if (name, tier) in latest:
            return latest[name, tier]
        if (name, _REALTIME) in latest:
            return _half(latest[name, _REALTIME], tier)
    return None


def _half(realtime: Price, tier: Tier) -> Price:
    """With the id of the row that it is half of: what is used refers to a row that there is. An odd micro-dollar is rounded
    down, for half is what is promised, and never more."""
    return replace(realtime, tier=tier, micros=realtime.micros // 2)


def history(connection: Connection) -> Sequence[Price]:
    rows = connection.execute(select(prices).order_by(prices.c.model, prices.c.tier, prices.c.valid_from)).mappings()
    return [_price(row) for row in rows]


def _price(row: RowMapping | Row) -> Price:
    unit, tier = cast(Unit, row["unit"]), cast(Tier, row["tier"])
    return Price(row["id"], row["model"], tier, unit, row["micros"], row["valid_from"])
