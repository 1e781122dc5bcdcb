"""Rows of credit. Knows SQL and no rule.

Rows are locked in one order, so that no two transactions wait for each other: the account, then the key, then the rest. What
every request does is built once, in capitals: building a statement costs more than running it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, case, delete, func, insert, or_, select, update

from gigarank.service.credits.schemas import Hold
from gigarank.service.tables import accounts, grants, keys, ledger, reservations, usage

_AMOUNT: Any = bindparam("given_amount")
_NOW: Any = bindparam("given_now")
_ACCOUNT: Any = bindparam("given_account")
_KEY: Any = bindparam("given_key")
_PERIODS = ("day", "week", "month")
_BEGIN = case(*((keys.c.cap_period == name, bindparam(f"given_{name}")) for name in _PERIODS), else_=0)
_SPENT = case((keys.c.spent_from >= _BEGIN, keys.c.spent_micros), else_=0)
_HOLD_ACCOUNT = (
    update(accounts)
    .where(accounts.c.id == _ACCOUNT, accounts.c.state == "active")
    .where(accounts.c.balance_micros - accounts.c.held_micros >= _AMOUNT)
    .where(or_(accounts.c.next_expiry.is_(None), accounts.c.next_expiry > _NOW))
    .values(held_micros=accounts.c.held_micros + _AMOUNT)
)
_HOLD_KEY = (
    update(keys)
    .where(keys.c.id == _KEY, keys.c.disabled == 0)
    .where(or_(keys.c.expires.is_(None), keys.c.expires > _NOW))
    .where(or_(keys.c.cap_micros.is_(None), _SPENT + keys.c.held_micros + _AMOUNT <= keys.c.cap_micros))
    .values(held_micros=keys.c.held_micros + _AMOUNT)
)
_PAY = (
    update(keys)
    .where(keys.c.id == _KEY)
    .values(
        held_micros=keys.c.held_micros - bindparam("given_held"),
        spent_micros=_SPENT + _AMOUNT,
        spent_from=case((keys.c.spent_from >= _BEGIN, keys.c.spent_from), else_=_BEGIN),
        last_used=_NOW,
    )
)
_OF_KEY = func.coalesce(func.sum(case((reservations.c.key_id == _KEY, 1), else_=0)), 0)
_HOLDS = select(func.count(), _OF_KEY).where(reservations.c.account_id == _ACCOUNT, reservations.c.batch_id.is_(None))
_LOCK_ACCOUNT = select(accounts).where(accounts.c.id == _ACCOUNT).with_for_update()
_SET_ACCOUNT = update(accounts).where(accounts.c.id == _ACCOUNT)
_TAKE_HOLD = delete(reservations).where(reservations.c.id == bindparam("given_hold")).returning(*reservations.c)
_NEVER = case((grants.c.expires.is_(None), 1), else_=0)
_OPEN_GRANTS = (
    select(grants)
    .where(grants.c.account_id == _ACCOUNT, grants.c.left_micros > 0)
    .order_by(grants.c.priority, _NEVER, grants.c.expires, grants.c.id)
)
_SPEND_GRANT = update(grants).where(grants.c.id == bindparam("given_grant")).values(left_micros=grants.c.left_micros - _AMOUNT)
_ADD_HOLD, _ADD_ENTRY, _ADD_USE = insert(reservations), insert(ledger), insert(usage)


def hold_account(connection: Connection, account_id: str, amount: int, now: int) -> bool:
    """The guarded update: nothing is held of an account that has not got it, is suspended, or has credit that ended."""
    given = {"given_account": account_id, "given_amount": amount, "given_now": now}
    return connection.execute(_HOLD_ACCOUNT, given).rowcount == 1


def hold_key(connection: Connection, key_id: str, amount: int, now: int, begins: Mapping[str, int]) -> bool:
    """As `hold_account`: nothing is held of a key that is disabled, expired or at its cap. `begins`: since when a day, a week
    and a month count."""
    given = {"given_key": key_id, "given_amount": amount, "given_now": now}
    return connection.execute(_HOLD_KEY, given | _given(begins)).rowcount == 1


def pay_with_key(connection: Connection, key_id: str, money: tuple[int, int], now: int, begins: Mapping[str, int]) -> None:
    """Adds to what it spent in its period. `money`: what is paid, and what was held for it."""
    amount, held = money
    given = {"given_key": key_id, "given_amount": amount, "given_held": held, "given_now": now}
    connection.execute(_PAY, given | _given(begins))


def _given(begins: Mapping[str, int]) -> dict[str, int]:
    return {f"given_{name}": begins[name] for name in _PERIODS}


def add_hold(connection: Connection, hold: Hold, expires: int, now: int) -> None:
    values = {name: getattr(hold, name) for name in ("id", "account_id", "key_id", "amount_micros", "owner", "batch_id")}
    connection.execute(_ADD_HOLD, {**values, "expires": expires, "created": now})


def holds_of(connection: Connection, account_id: str, key_id: str) -> tuple[int, int]:
    """How many the account has, and how many of them the key; a batch's requests are not counted."""
    row = connection.execute(_HOLDS, {"given_account": account_id, "given_key": key_id}).one()
    return int(row[0]), int(row[1])


def lock_account(connection: Connection, account_id: str) -> RowMapping | None:
    return connection.execute(_LOCK_ACCOUNT, {"given_account": account_id}).mappings().first()


def lock_key(connection: Connection, key_id: str) -> RowMapping:
    return connection.execute(select(keys).where(keys.c.id == key_id).with_for_update()).mappings().one()


def take_hold(connection: Connection, hold_id: str) -> RowMapping | None:
    """Removes it; None where it is gone."""
    return connection.execute(_TAKE_HOLD, {"given_hold": hold_id}).mappings().first()


def free(connection: Connection, account_id: str, key_id: str, amount: int) -> None:
    of_account = update(accounts).where(accounts.c.id == account_id)
    connection.execute(of_account.values(held_micros=accounts.c.held_micros - amount))
    connection.execute(update(keys).where(keys.c.id == key_id).values(held_micros=keys.c.held_micros - amount))


def renew(connection: Connection, owner: str, expires: int) -> None:
    connection.execute(update(reservations).where(reservations.c.owner == owner).values(expires=expires))


def stale_holds(connection: Connection, now: int) -> Sequence[tuple[str, str]]:
    """(id, account)"""
    found = select(reservations.c.id, reservations.c.account_id).where(reservations.c.expires <= now)
    return [(row.id, row.account_id) for row in connection.execute(found.order_by(reservations.c.account_id))]


def set_account(connection: Connection, account_id: str, **values: Any) -> None:
    connection.execute(_SET_ACCOUNT, {"given_account": account_id, **values})


def add_grant(connection: Connection, values: Mapping[str, Any]) -> None:
    connection.execute(insert(grants).values(**values))


def open_grants(connection: Connection, account_id: str) -> Sequence[RowMapping]:
    """Those with something left, in the order in which they are spent."""
    return connection.execute(_OPEN_GRANTS, {"given_account": account_id}).mappings().all()


def spend_grant(connection: Connection, grant_id: str, amount: int) -> None:
    connection.execute(_SPEND_GRANT, {"given_grant": grant_id, "given_amount": amount})


def add_entry(connection: Connection, values: Mapping[str, Any]) -> None:
    connection.execute(_ADD_ENTRY, dict(values))


def add_use(connection: Connection, values: Mapping[str, Any]) -> None:
    connection.execute(_ADD_USE, dict(values))


def ledger_sums(connection: Connection, account_id: str) -> dict[str, int]:
    """Micro-dollars by kind."""
    mine = select(ledger.c.kind, func.sum(ledger.c.amount_micros)).where(ledger.c.account_id == account_id)
    return {row[0]: int(row[1]) for row in connection.execute(mine.group_by(ledger.c.kind))}


def accounts_with_ended_credit(connection: Connection, now: int) -> Sequence[str]:
    found = select(accounts.c.id).where(accounts.c.next_expiry <= now).order_by(accounts.c.id)
    return list(connection.execute(found).scalars())


def sums(connection: Connection) -> Sequence[RowMapping]:
    """For every account, its own figures beside the sums that they must equal."""
    of = accounts.c.id
    parts = {
        "ledger": _sum(ledger.c.amount_micros, ledger.c.account_id == of),
        "left": _sum(grants.c.left_micros, grants.c.account_id == of),
        "reserved": _sum(reservations.c.amount_micros, reservations.c.account_id == of),
        "key_holds": _sum(keys.c.held_micros, keys.c.account_id == of),
        "debits": _sum(-ledger.c.amount_micros, (ledger.c.account_id == of) & (ledger.c.kind == "debit")),
        "used": _sum(usage.c.amount_micros, usage.c.account_id == of),
    }
    columns = [part.label(name) for name, part in parts.items()]
    wanted = select(accounts.c.id, accounts.c.balance_micros, accounts.c.held_micros, *columns).order_by(accounts.c.id)
    return connection.execute(wanted).mappings().all()


def _sum(column: Any, condition: Any) -> Any:
    return select(func.coalesce(func.sum(column), 0)).where(condition).scalar_subquery()
