"""Rows of credit. Knows SQL and no rule.

Rows are locked in one order, so that no two transactions wait for each other: the account, then the key, then the rest. What
every request does is a Statement, in capitals; those that give an Ask do nothing until it is asked, with others at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    RowMapping,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from gigarank.service.credits.schemas import Hold
from gigarank.service.statements import Ask, Row, Statement, ask, count, first
from gigarank.service.tables import accounts, grants, keys, ledger, reservations, usage

_AMOUNT: Any = bindparam("given_amount")
_NOW: Any = bindparam("given_now")
_ACCOUNT: Any = bindparam("given_account")
_KEY: Any = bindparam("given_key")
_PERIODS = ("day", "week", "month")
_BEGIN = case(*((keys.c.cap_period == name, bindparam(f"given_{name}")) for name in _PERIODS), else_=0)
_SPENT = case((keys.c.spent_from >= _BEGIN, keys.c.spent_micros), else_=0)
_HOLD_ACCOUNT = Statement(
    update(accounts)
    .where(accounts.c.id == _ACCOUNT, accounts.c.state == "active")
    .where(accounts.c.balance_micros - accounts.c.held_micros >= _AMOUNT)
    .where(or_(accounts.c.next_expiry.is_(None), accounts.c.next_expiry > _NOW))
    .values(held_micros=accounts.c.held_micros + _AMOUNT)
)
_HOLD_KEY = Statement(
    update(keys)
    .where(keys.c.id == _KEY, keys.c.disabled == 0)
    .where(or_(keys.c.expires.is_(None), keys.c.expires > _NOW))
    .where(or_(keys.c.cap_micros.is_(None), _SPENT + keys.c.held_micros + _AMOUNT <= keys.c.cap_micros))
    .values(held_micros=keys.c.held_micros + _AMOUNT)
)
_PAY = Statement(
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
_LOCK_ACCOUNT = Statement(select(accounts).where(accounts.c.id == _ACCOUNT).with_for_update())
_SET_ACCOUNT = update(accounts).where(accounts.c.id == _ACCOUNT)
_SET_MONEY = Statement(_SET_ACCOUNT, ("balance_micros", "held_micros"))
_TAKE_HOLD = Statement(delete(reservations).where(reservations.c.id == bindparam("given_hold")).returning(*reservations.c))
_NEVER = case((grants.c.expires.is_(None), 1), else_=0)
_OPEN_GRANTS = Statement(
    select(grants)
    .where(grants.c.account_id == _ACCOUNT, grants.c.left_micros > 0)
    .order_by(grants.c.priority, _NEVER, grants.c.expires, grants.c.id)
)
_SPEND_GRANT = Statement(
    update(grants).where(grants.c.id == bindparam("given_grant")).values(left_micros=grants.c.left_micros - _AMOUNT)
)
_ADD_HOLD, _ADD_ENTRY, _ADD_USE = (Statement(insert(one), one.c.keys()) for one in (reservations, ledger, usage))


def _fewer(limit: str, *of: str) -> ColumnElement[bool]:
    most: Any = bindparam(limit, type_=BigInteger)
    mine = (reservations.c[name] == bindparam(f"given_{name}") for name in of)
    running: Any = select(func.count()).select_from(reservations).where(reservations.c.batch_id.is_(None), *mine)
    return or_(most.is_(None), running.scalar_subquery() < most)


_ADD_ONE_OF_FEW = Statement(
    insert(reservations).from_select(
        reservations.c.keys(),
        select(*(bindparam(f"given_{column.name}", type_=column.type) for column in reservations.c)).where(
            _fewer("most_of_account", "account_id"), _fewer("most_of_key", "account_id", "key_id")
        ),
    )
)


def hold_account(connection: Connection, account_id: str, amount: int, now: int) -> bool:
    """The guarded update: nothing is held of an account that has not got it, is suspended, or has credit that ended."""
    given = {"given_account": account_id, "given_amount": amount, "given_now": now}
    return count(connection, _HOLD_ACCOUNT(given)) == 1


def hold_key(key_id: str, amount: int, now: int, begins: Mapping[str, int]) -> Ask:
    """As `hold_account`: nothing is held of a key that is disabled, expired or at its cap; it counts 1 or 0. `begins`: since
    when a day, a week and a month count."""
    return _HOLD_KEY({"given_key": key_id, "given_amount": amount, "given_now": now, **_given(begins)})


def pay_with_key(key_id: str, money: tuple[int, int], now: int, begins: Mapping[str, int]) -> Ask:
    """Adds to what it spent in its period. `money`: what is paid, and what was held for it."""
    amount, held = money
    return _PAY({"given_key": key_id, "given_amount": amount, "given_held": held, "given_now": now, **_given(begins)})


def _given(begins: Mapping[str, int]) -> dict[str, int]:
    return {f"given_{name}": begins[name] for name in _PERIODS}


def add_hold(hold: Hold, expires: int, now: int) -> Ask:
    """It counts 0, and adds nothing, where the account or the key has as many holds as it may have. Whoever asks has locked the
    account, so that nobody else of it is counting."""
    values = {name: getattr(hold, name) for name in ("id", "account_id", "key_id", "amount_micros", "owner", "batch_id")}
    values |= {"expires": expires, "created": now}
    if hold.most_of_account is None and hold.most_of_key is None:
        return _ADD_HOLD(values)
    most = {"most_of_account": hold.most_of_account, "most_of_key": hold.most_of_key}
    return _ADD_ONE_OF_FEW({f"given_{name}": value for name, value in values.items()} | most)


def holds_of(connection: Connection, account_id: str, key_id: str) -> tuple[int, int]:
    """How many the account has, and how many of them the key; a batch's requests are not counted."""
    row = connection.execute(_HOLDS, {"given_account": account_id, "given_key": key_id}).one()
    return int(row[0]), int(row[1])


def lock_account(connection: Connection, account_id: str) -> Row | None:
    return first(connection, _LOCK_ACCOUNT({"given_account": account_id}))


def settling(connection: Connection, account_id: str, hold_id: str) -> tuple[Row | None, Row | None, Sequence[Row]]:
    """The account, which is locked; the hold, which is removed; and the open grants."""
    account, hold, open_ones = ask(
        connection,
        _LOCK_ACCOUNT({"given_account": account_id}),
        take_hold(hold_id),
        _OPEN_GRANTS({"given_account": account_id}),
    )
    return account.first, hold.first, open_ones.rows


def lock_key(connection: Connection, key_id: str) -> RowMapping:
    return connection.execute(select(keys).where(keys.c.id == key_id).with_for_update()).mappings().one()


def take_hold(hold_id: str) -> Ask:
    """Removes it, and finds it unless it is gone."""
    return _TAKE_HOLD({"given_hold": hold_id})


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


def set_money(account_id: str, balance_micros: int, held_micros: int) -> Ask:
    return _SET_MONEY({"given_account": account_id, "balance_micros": balance_micros, "held_micros": held_micros})


def set_account(connection: Connection, account_id: str, **values: Any) -> None:
    connection.execute(_SET_ACCOUNT, {"given_account": account_id, **values})


def add_grant(connection: Connection, values: Mapping[str, Any]) -> None:
    connection.execute(insert(grants).values(**values))


def open_grants(connection: Connection, account_id: str) -> Sequence[Row]:
    """Those with something left, in the order in which they are spent."""
    (found,) = ask(connection, _OPEN_GRANTS({"given_account": account_id}))
    return found.rows


def spend_grant(grant_id: str, amount: int) -> Ask:
    return _SPEND_GRANT({"given_grant": grant_id, "given_amount": amount})


def add_entry(values: Mapping[str, Any]) -> Ask:
    return _ADD_ENTRY(values)


def add_use(values: Mapping[str, Any]) -> Ask:
    return _ADD_USE(values)


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
