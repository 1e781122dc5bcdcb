"""Rows of kept bodies, and of who wants them kept. Knows SQL and no rule."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, select, update

from gigarank.service.db import erased
from gigarank.service.offer_tables import bodies, body_terms
from gigarank.service.statements import Statement, ask

_DAY_S = 86_400
_TERMS = Statement(
    select(body_terms.c.id, body_terms.c.days).where(body_terms.c.account_id == bindparam("account")).order_by(body_terms.c.id)
)
_LIGHT = [column for column in bodies.c if column.name not in ("request", "response")]


def terms_of(connection: Connection, account_id: str) -> dict[str, int]:
    """Days, by the id of the account or of one of its keys."""
    (found,) = ask(connection, _TERMS({"account": account_id}))
    return {row["id"]: row["days"] for row in found.rows}


def set_terms(connection: Connection, account_id: str, whose: str, days: int | None) -> None:
    connection.execute(delete(body_terms).where(body_terms.c.id == whose))
    if days is not None:
        connection.execute(insert(body_terms).values(id=whose, account_id=account_id, days=days))


def add(connection: Connection, **values: Any) -> None:
    connection.execute(insert(bodies).values(**values))


def one(connection: Connection, which: Mapping[str, str]) -> RowMapping | None:
    """With its bodies."""
    return connection.execute(select(bodies).where(*_are(which))).mappings().first()


def page(connection: Connection, which: Mapping[str, str], after: str | None, most: int) -> Sequence[RowMapping]:
    """Without their bodies, the newest first; `after`: behind that one."""
    wanted = select(*_LIGHT).where(*_are(which))
    if after is not None:
        same = (bodies.c.id == after, bodies.c.account_id == which["account_id"])
        last = select(bodies.c.created).where(*same).scalar_subquery()
        wanted = wanted.where((bodies.c.created < last) | ((bodies.c.created == last) & (bodies.c.id < after)))
    return connection.execute(wanted.order_by(bodies.c.created.desc(), bodies.c.id.desc()).limit(most)).mappings().all()


def of_requests(connection: Connection, account_id: str, requests: Sequence[str]) -> dict[str, list[str]]:
    """The ids of what is kept, by request: several where a client gave its requests one name."""
    mine = select(bodies.c.request_id, bodies.c.id).where(bodies.c.account_id == account_id)
    found: dict[str, list[str]] = {}
    for request_id, log_id in connection.execute(mine.where(bodies.c.request_id.in_(requests)).order_by(bodies.c.id)):
        found.setdefault(request_id, []).append(log_id)
    return found


def shorten(connection: Connection, which: Mapping[str, str], but: Sequence[str], days: int) -> None:
    """What is kept longer than so many days ends then; not what the keys `but` asked."""
    longer = bodies.c.expires > bodies.c.created + days * _DAY_S
    kept = update(bodies).where(*_are(which), bodies.c.key_id.not_in(but), longer)
    connection.execute(kept.values(expires=bodies.c.created + days * _DAY_S))


def remove(connection: Connection, which: Mapping[str, str]) -> int:
    return _deleted(connection, _are(which))


def forget(connection: Connection, now: int) -> int:
    return _deleted(connection, [bodies.c.expires <= now])


def _deleted(connection: Connection, conditions: list[Any]) -> int:
    count = connection.execute(delete(bodies).where(*conditions)).rowcount
    if count:
        erased(connection)
    return count


def _are(which: Mapping[str, str]) -> list[Any]:
    return [bodies.c[name] == value for name, value in which.items()]
