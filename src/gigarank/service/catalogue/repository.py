"""Rows of models and of who asks for them. Knows SQL and no rule."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgres
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from gigarank.service.offer_tables import model_votes, models
from gigarank.service.tables import accounts

_COUNT = select(func.count()).where(model_votes.c.model_id == models.c.id).scalar_subquery()
_VOTES = _COUNT.label("votes")


def find(connection: Connection, name: str) -> RowMapping | None:
    """With its `votes`. Whatever the case of `name`."""
    return connection.execute(select(models, _VOTES).where(models.c.id == name.lower())).mappings().first()


def page(connection: Connection, after: str | None, most: int | None) -> Sequence[RowMapping]:
    """The most wanted first; `after`: behind that one. None: all of them."""
    wanted = select(models, _VOTES)
    if after is not None:
        last = select(func.count()).where(model_votes.c.model_id == after.lower()).scalar_subquery()
        wanted = wanted.where((last > _COUNT) | ((last == _COUNT) & (models.c.id > after.lower())))
    return connection.execute(wanted.order_by(_VOTES.desc(), models.c.id).limit(most)).mappings().all()


def named(connection: Connection, names: Sequence[str]) -> Sequence[RowMapping]:
    """Those of these names that are there, with their `votes`."""
    wanted = select(models, _VOTES).where(models.c.id.in_([name.lower() for name in names]))
    return connection.execute(wanted).mappings().all()


def retiring(connection: Connection) -> Sequence[RowMapping]:
    """Those that have a day, past or to come."""
    return connection.execute(select(models).where(models.c.retires.is_not(None))).mappings().all()


def add(connection: Connection, name: str, now: int) -> bool:
    """Proposed from now on; False where it is there already."""
    values = {"id": name.lower(), "name": name, "state": "proposed", "created": now, "changed": now}
    return _once(connection, models, values)


def keep(connection: Connection, name: str) -> None:
    """It stays, whoever asks for it or no more."""
    connection.execute(update(models).where(models.c.id == name.lower(), models.c.figures.is_(None)).values(figures="[]"))


def drop_unwanted(connection: Connection, name: str) -> None:
    """A model that was asked for, and is no more; not one that an operator put there or has looked at."""
    row = lock(connection, name)
    if row is None or row["state"] != "proposed" or row["figures"] is not None or row["changed"] != row["created"]:
        return
    nobody = ~select(model_votes.c.model_id).where(model_votes.c.model_id == row["id"]).exists()
    connection.execute(delete(models).where(models.c.id == row["id"], nobody))


def asked_by(connection: Connection, account_id: str) -> Sequence[str]:
    mine = select(model_votes.c.model_id).where(model_votes.c.account_id == account_id)
    return list(connection.execute(mine.order_by(model_votes.c.model_id)).scalars())


def lock(connection: Connection, name: str) -> RowMapping | None:
    return connection.execute(select(models).where(models.c.id == name.lower()).with_for_update()).mappings().first()


def change(connection: Connection, model: str, **values: Any) -> None:
    connection.execute(update(models).where(models.c.id == model.lower()).values(**values))


def vote(connection: Connection, name: str, account_id: str, now: int) -> bool:
    """False where the account has voted for it before."""
    return _once(connection, model_votes, {"model_id": name.lower(), "account_id": account_id, "created": now})


def unvote(connection: Connection, name: str, account_id: str) -> bool:
    mine = (model_votes.c.model_id == name.lower(), model_votes.c.account_id == account_id)
    return connection.execute(delete(model_votes).where(*mine)).rowcount == 1


def votes_of(connection: Connection, account_id: str) -> int:
    """For models that are not served."""
    open_ones = select(func.count()).select_from(model_votes.join(models, model_votes.c.model_id == models.c.id))
    mine = open_ones.where(model_votes.c.account_id == account_id, models.c.state != "live")
    return int(connection.execute(mine).scalar_one())


def voters(connection: Connection, name: str) -> Sequence[str]:
    """The addresses of whoever asked for it, and is not suspended."""
    joined = select(accounts.c.email).join(model_votes, model_votes.c.account_id == accounts.c.id)
    asked = joined.where(model_votes.c.model_id == name.lower(), accounts.c.state == "active")
    return list(connection.execute(asked.order_by(accounts.c.email)).scalars())


def _once(connection: Connection, table: Any, values: dict[str, Any]) -> bool:
    new = insert_postgres if connection.dialect.name == "postgresql" else insert_sqlite
    added = new(table).values(**values).on_conflict_do_nothing().returning(*table.primary_key)
    return connection.execute(added).first() is not None
