"""Pages that a server with accounts makes from its database, by their names in routes.py.

Invariant: what is asked of the database for one page is one transaction.
"""

import json
from collections.abc import Callable

from sqlalchemy import Connection, RowMapping

from gigarank import catalogue as known
from gigarank.service.accounts.cookies import cookie_of, csrf_token
from gigarank.service.call import Answer, Call
from gigarank.service.catalogue import repository
from gigarank.service.catalogue.schemas import day_of
from gigarank.service.credits.money import usd
from gigarank.service.credits.prices import prices_of
from gigarank.service.credits.schemas import Price
from gigarank.service.desk import Desk, HostedEndpoint, HostedEndpoints
from gigarank.service.offered import default_model, find_model
from gigarank.service.web.catalogue_pages import (
    Offers,
    show_home,
    show_markdown,
    show_model,
    show_models,
    show_models_markdown,
    site_of,
)
from gigarank.service.web.listing import Offer
from gigarank.service.web.playground_pages import answered


def _with_offers(show: Callable[[Call, Offers], Answer]) -> HostedEndpoint:
    async def endpoint(desk: Desk, call: Call) -> Answer:
        names = [state.name for state in call.backend.models()]
        return show(call, await desk.database.run(lambda one: offers(one, names, desk.now)))

    return endpoint


def offers(connection: Connection, served: list[str], now: int) -> Offers:
    """By name, of all known models and those that are served."""
    names = sorted({*(model.name for model in known.MODELS), *served})
    rows = {row["name"]: row for row in repository.named(connection, names)}
    prices = prices_of(connection, names, "default", now)
    return {name: _offer(rows.get(name), _price(prices.get(name))) for name in names}


def _offer(row: RowMapping | None, price: str) -> Offer:
    if row is None:
        return Offer(price=price)
    figures = json.loads(row["figures"]) if row["figures"] else []
    return Offer(row["state"], row["votes"], price, figures, day_of(row["retires"]))


def _price(price: Price | None) -> str:
    if price is None:
        return "no price yet"
    shown = usd(price.micros).rstrip("0")
    per = "million tokens" if price.unit == "tokens" else "thousand documents"
    return f"${shown + '0' * (2 - len(shown.partition('.')[2]))} per {per}"


def _show_model(call: Call, told: Offers) -> Answer:
    token = cookie_of(call.headers, site_of(call.settings).startswith("https://"))
    return show_model(call, told, {"csrf": csrf_token(token) if token else ""})


async def _played(desk: Desk, call: Call) -> Answer:
    states = call.backend.models()
    names = [state.name for state in states]
    prices = await desk.database.run(lambda one: prices_of(one, names, "default", desk.now))

    def price(asked: str, documents: int, tokens: int) -> str:
        state = find_model(states, asked) if asked else default_model(states, call.settings.default_model, "reranker")
        return "" if state is None or state.name not in prices else f"${usd(prices[state.name].of(documents, tokens))}"

    return await answered(call, price)


HOSTED_PAGES: HostedEndpoints = {
    "home_page": _with_offers(show_home),
    "models_page": _with_offers(show_models),
    "model_page": _with_offers(_show_model),
    "playground_run": _played,
    "model_markdown": _with_offers(show_markdown),
    "models_markdown": _with_offers(show_models_markdown),
}
