"""Rows of accounts. Knows SQL and no rule."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_postgres
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.exc import IntegrityError

from gigarank.service.accounts.schemas import Account, Role, State
from gigarank.service.ids import new_id
from gigarank.service.tables import accounts, people
from gigarank.service.tenant import Limits


def add(connection: Connection, account_id: str, email: str, role: Role, now: int) -> None:
    values = {"id": account_id, "email": email, "role": role, "state": "active", "created": now}
    connection.execute(insert(accounts).values(**values, balance_micros=0, held_micros=0))


def by_id(connection: Connection, account_id: str) -> Account | None:
    row = connection.execute(select(accounts).where(accounts.c.id == account_id)).mappings().first()
    return None if row is None else Account.of(row)


def by_email(connection: Connection, email: str) -> Account | None:
    row = connection.execute(select(accounts).where(accounts.c.email == email)).mappings().first()
    return None if row is None else Account.of(row)


def every(connection: Connection) -> Sequence[Account]:
    rows = connection.execute(select(accounts).order_by(accounts.c.created, accounts.c.id)).mappings()
    return [Account.of(row) for row in rows]


def set_state(connection: Connection, account_id: str, state: State) -> None:
    connection.execute(update(accounts).where(accounts.c.id == account_id).values(state=state))


def set_limits(connection: Connection, account_id: str, limits: Limits) -> None:
    connection.execute(update(accounts).where(accounts.c.id == account_id).values(**limits.values()))


@dataclass(frozen=True, slots=True)
class Known:
    """An account and its person's password, a hash, if there is one."""

    account: Account
    password: str | None


def open_account(connection: Connection, email: str, password: str | None, now: int) -> Account | None:
    """An account and its person, whose address is verified. None: the address has one, perhaps since a moment ago."""
    account_id = new_id("acc")
    new = insert_postgres if connection.dialect.name == "postgresql" else insert_sqlite
    values = {"id": account_id, "email": email, "role": "user", "state": "active", "created": now}
    added = new(accounts).values(**values, balance_micros=0, held_micros=0).on_conflict_do_nothing().returning(accounts.c.id)
    if connection.execute(added).first() is None:
        return None
    set_password(connection, account_id, password, now)
    return by_id(connection, account_id)


def person_by_email(connection: Connection, email: str) -> Known | None:
    """None: nobody signs in with that address."""
    joined = select(accounts, people.c.password).join(people, people.c.account_id == accounts.c.id)
    row = connection.execute(joined.where(accounts.c.email == email)).mappings().first()
    return None if row is None else Known(Account.of(row), row["password"])


def set_password(connection: Connection, account_id: str, password: str | None, now: int) -> None:
    """And the person's row, where the account had none: whoever sets one has read what was sent to the address."""
    changed = update(people).where(people.c.account_id == account_id).values(password=password)
    if connection.execute(changed).rowcount == 0:
        connection.execute(insert(people).values(account_id=account_id, password=password, verified=now))


def set_email(connection: Connection, account_id: str, email: str) -> bool:
    """False: another account has it, and the transaction has to be given up."""
    try:
        connection.execute(update(accounts).where(accounts.c.id == account_id).values(email=email))
    except IntegrityError:
        return False
    return True


def lock(connection: Connection, account_id: str | None) -> Account | None:
    row = connection.execute(select(accounts).where(accounts.c.id == account_id).with_for_update()).mappings().first()
    return None if row is None else Account.of(row)


def page(connection: Connection, after: str, most: int) -> Sequence[Account]:
    """By id, those after one."""
    wanted = select(accounts).where(accounts.c.id > after).order_by(accounts.c.id).limit(most)
    return [Account.of(row) for row in connection.execute(wanted).mappings()]


def search(connection: Connection, part: str, after: str, most: int) -> Sequence[Account]:
    """As `page`, of those whose id or address has `part` in it."""
    found = accounts.c.email.contains(part.lower(), autoescape=True) | (accounts.c.id == part)
    wanted = select(accounts).where(accounts.c.id > after, found).order_by(accounts.c.id).limit(most)
    return [Account.of(row) for row in connection.execute(wanted).mappings()]
