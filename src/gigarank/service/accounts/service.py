"""Accounts: made, found, suspended. Each function is a part of one transaction, whose connection it is given.

Knows no HTTP. Invariant: an e-mail address has one account, whoever writes it in whatever case.
"""

from sqlalchemy import Connection

from gigarank.errors import AccessDenied, InvalidInput
from gigarank.service.accounts import repository
from gigarank.service.accounts.schemas import Account, Role, State, read_email
from gigarank.service.ids import new_id
from gigarank.service.tenant import Limits


def create(connection: Connection, email: str, now: int, role: Role = "user") -> Account:
    """Raises InvalidInput where the address has an account already."""
    address = read_email(email)
    if repository.by_email(connection, address) is not None:
        raise InvalidInput(f"email: {address} has an account already", param="email", received=address)
    account_id = new_id("acc")
    repository.add(connection, account_id, address, role, now)
    return find(connection, account_id)


def find(connection: Connection, name: str) -> Account:
    """By id or e-mail address; raises InvalidInput."""
    found = repository.by_id(connection, name) or repository.by_email(connection, name.strip().lower())
    if found is None:
        raise InvalidInput(f"account: no account {name[:80]!r}", param="account", received=name[:80])
    return found


def hold(connection: Connection, account_id: str) -> State:
    """Its state, which nobody changes before the transaction ends."""
    account = repository.lock(connection, account_id)
    return "deleted" if account is None else account.state


def hold_open(connection: Connection, account_id: str, states: tuple[State, ...] = ("active",)) -> None:
    """As `hold`. Raises AccessDenied for another state."""
    state = hold(connection, account_id)
    if state not in states:
        message = "the account was deleted" if state == "deleted" else f"the account is {state}"
        raise AccessDenied(message, param="authorization", limit=", ".join(states), received=state)


def set_state(connection: Connection, name: str, state: State) -> Account:
    account = find(connection, name)
    if account.state == "deleted":
        raise InvalidInput(f"account: {account.id} was deleted", param="account", received=account.id)
    repository.set_state(connection, account.id, state)
    return find(connection, account.id)


def set_limits(connection: Connection, name: str, limits: Limits) -> Account:
    """None leaves the limit to the server's settings."""
    account = find(connection, name)
    repository.set_limits(connection, account.id, limits)
    return find(connection, account.id)
