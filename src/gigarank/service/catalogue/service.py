"""The catalogue's life: asked for, moved from state to state, retired. Each function is a part of one transaction.

Knows no HTTP. Invariants: a model goes only where its state lets it; an account has one vote for a model, whatever races; when
a model becomes live, whoever asked for it is told in the same transaction.
"""

import json
from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping

from gigarank import catalogue as known
from gigarank.errors import InvalidInput, ObjectNotFound
from gigarank.service.accounts.service import hold_open
from gigarank.service.catalogue import repository
from gigarank.service.catalogue.schemas import MOST_VOTES, MOVES, Retirement, State, entry, retired
from gigarank.service.credits.prices import prices_of
from gigarank.service.mail.service import Letter, Post
from gigarank.types import JsonObject


def show(connection: Connection, name: str, now: int) -> JsonObject:
    return _shown(connection, [_found(connection, name)], now)[0]


def page(connection: Connection, after: str | None, most: int | None, now: int) -> list[JsonObject]:
    """The most wanted first, behind the model `after`; None: from the first one on, and all of them."""
    return _shown(connection, repository.page(connection, after, most), now)


def propose(connection: Connection, name: str, now: int) -> JsonObject:
    """It stays in its state where it is there already, and it stays there."""
    repository.add(connection, name, now)
    repository.keep(connection, name)
    return show(connection, name, now)


def ask(connection: Connection, name: str, account_id: str, now: int) -> JsonObject:
    """An account's vote, once. Raises InvalidInput for a model that is served, and where the account asks for too many;
    AccessDenied for one that has ended. The account is locked before models, as whoever deletes it does."""
    hold_open(connection, account_id)
    row = None
    while row is None:  # whoever was the only one to ask for it may take that back a moment before
        repository.add(connection, name, now)
        row = repository.lock(connection, name)
    if row["state"] == "live":
        raise InvalidInput(f"model: {row['name']} is served", param="model", limit="not served", received=row["name"])
    if repository.vote(connection, name, account_id, now) and repository.votes_of(connection, account_id) > MOST_VOTES:
        message = f"model: the account asks for {MOST_VOTES} models that are not served, and for no more: take one back"
        raise InvalidInput(message, param="model", limit=MOST_VOTES, received=MOST_VOTES + 1)
    return show(connection, name, now)


def take_back(connection: Connection, name: str, account_id: str, now: int) -> JsonObject:
    """Raises ObjectNotFound where the account did not ask for it. The model is locked before the vote, as `ask` does."""
    if repository.lock(connection, name) is None or not repository.unvote(connection, name, account_id):
        raise ObjectNotFound(f"model: the account did not ask for {name[:200]!r}", param="model", received=name[:200])
    shown = show(connection, name, now)
    repository.drop_unwanted(connection, name)
    return shown


def move(connection: Connection, name: str, state: State, post: Post, now: int) -> JsonObject:
    """Raises ObjectNotFound, and InvalidInput for a state that cannot follow."""
    row = _locked(connection, name)
    allowed: Sequence[State] = MOVES[row["state"]]
    if state not in allowed:
        message = f"state: {row['name']} is {row['state']}, and may become {', '.join(allowed)}; received {state}"
        raise InvalidInput(message, param="state", limit=", ".join(allowed), received=state)
    repository.change(connection, name, state=state, changed=now, reason=None, retires=now if state == "retired" else None)
    if state == "live":
        repository.change(connection, name, instead=None)
        _tell(connection, row["name"], post, now)
    return show(connection, name, now)


def retire(connection: Connection, name: str, retirement: Retirement, now: int) -> JsonObject:
    """A live model is served until then. Raises ObjectNotFound, and InvalidInput for one that is not live."""
    row = _locked(connection, name)
    if row["state"] != "live":
        message = f"model: {row['name']} is {row['state']}, and only what is live has a day on which it is retired"
        raise InvalidInput(message, param="model", limit="live", received=row["state"])
    repository.change(connection, name, retires=retirement.at, instead=retirement.instead)
    return show(connection, name, now)


def note(connection: Connection, name: str, reason: str | None, figure: JsonObject | None = None) -> None:
    """Why a step failed; or what it found, in the place of what such a step found before."""
    row = _locked(connection, name)
    kept = [one for one in json.loads(row["figures"] or "[]") if figure is None or one["step"] != figure["step"]]
    figures = json.dumps([*kept, *([] if figure is None else [figure])])
    repository.change(connection, name, reason=None if reason is None else reason[:500], figures=figures)


def explain(connection: Connection, asked: str) -> str | None:
    """What is known of a model that is not served; None for one that is nowhere or live."""
    name = known.find(asked)
    row = repository.find(connection, asked if name is None else name.name)
    if row is None or row["state"] == "live":
        return None
    if row["state"] == "retired":
        return retired(row["name"], Retirement(row["retires"], row["instead"]))
    return (
        f"model: {row['name']} is not served yet: it is {row['state']}, and {row['votes']} ask for it; "
        "ask for it too with POST /v1/catalogue, an account's key"
    )


def retirements(connection: Connection) -> dict[str, Retirement]:
    """By the model's name in lower case: those that have a day, past or to come."""
    return {row["id"]: Retirement(row["retires"], row["instead"]) for row in repository.retiring(connection)}


def _tell(connection: Connection, name: str, post: Post, now: int) -> None:
    body = f"You asked for {name}. It is served now: {post.site}/v1/catalogue/{name}\n"
    for address in repository.voters(connection, name):
        post.leave(connection, Letter(address, f"{name} is served now", body), now)


def _shown(connection: Connection, rows: Sequence[RowMapping], now: int) -> list[JsonObject]:
    prices = prices_of(connection, [row["name"] for row in rows if row["state"] == "live"], "default", now)
    return [entry(row, prices.get(row["name"])) for row in rows]


def _found(connection: Connection, name: str) -> RowMapping:
    row = repository.find(connection, name)
    if row is None:
        raise _unknown(name)
    return row


def _locked(connection: Connection, name: str) -> RowMapping:
    row = repository.lock(connection, name)
    if row is None:
        raise _unknown(name)
    return row


def _unknown(name: str) -> ObjectNotFound:
    message = f"model: no {name[:200]!r} in the catalogue; ask for it with POST /v1/catalogue"
    return ObjectNotFound(message, param="model", received=name[:200])
