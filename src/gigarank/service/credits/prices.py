"""What a model costs, now and before: a versioned table. Each function is a part of one transaction.

Invariant: a price is never changed; a new one begins, and the uses of the old one keep its id.
"""

from collections.abc import Mapping, Sequence
from typing import cast

from sqlalchemy import Connection, RowMapping, bindparam, insert, select

from gigarank.engine.work import Tier
from gigarank.errors import InvalidInput
from gigarank.service.credits.schemas import SHARED_MODEL, Price, Unit
from gigarank.service.statements import Row, Statement, ask
from gigarank.service.tables import prices

_PRICES = Statement(
    select(prices)
    .where(prices.c.model.in_((bindparam("own"), SHARED_MODEL)), prices.c.tier == bindparam("given_tier"))
    .where(prices.c.valid_from <= bindparam("now"))
    .order_by(prices.c.valid_from.desc())
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
    """The model's own, else the one of all models. Raises InvalidInput where there is neither."""
    (rows,) = ask(connection, _PRICES({"own": model, "given_tier": tier, "now": now}))
    found = [_price(row) for row in rows.rows]
    own = [price for price in found if price.model == model]
    if not found:
        raise InvalidInput(f"model: {model} has no price for the {tier} tier", param="model", received=model)
    return (own or found)[0]


def prices_of(connection: Connection, models: Sequence[str], tier: Tier, now: int) -> Mapping[str, Price]:
    """As `price_of`, of all of them with one question; without those that have none."""
    if not models:
        return {}
    named = select(prices).where(prices.c.model.in_((*models, SHARED_MODEL)), prices.c.tier == tier)
    rows = connection.execute(named.where(prices.c.valid_from <= now).order_by(prices.c.valid_from)).mappings()
    found = [_price(row) for row in rows]
    latest = {price.model: price for price in found}
    shared = {model: latest[SHARED_MODEL] for model in models if SHARED_MODEL in latest}
    return shared | {model: latest[model] for model in models if model in latest}


def history(connection: Connection) -> Sequence[Price]:
    rows = connection.execute(select(prices).order_by(prices.c.model, prices.c.tier, prices.c.valid_from)).mappings()
    return [_price(row) for row in rows]


def _price(row: RowMapping | Row) -> Price:
    unit, tier = cast(Unit, row["unit"]), cast(Tier, row["tier"])
    return Price(row["id"], row["model"], tier, unit, row["micros"], row["valid_from"])
