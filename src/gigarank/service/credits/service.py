"""The ledger: grant, reserve, settle or release, expire, sweep, audit. Each function is a part of one transaction.

Knows no HTTP and no clock. Invariants: what is reserved was there, and cannot be reserved twice; a hold ends once, settled or
released; the ledger only grows, and its sum is the balance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, RowMapping

from gigarank.errors import (
    AccessDenied,
    GigarankError,
    InsufficientCredit,
    InvalidInput,
    RateLimited,
    SpendLimitReached,
    Unauthorized,
)
from gigarank.service.credits import repository
from gigarank.service.credits.money import usd
from gigarank.service.credits.schemas import Audit, Grant, Hold, Use
from gigarank.service.ids import new_id
from gigarank.service.keys.schemas import Key, begins, period
from gigarank.service.statements import Ask, Row, ask, first

HOLD_S = 60
"""A hold that nobody renewed for so long is the sweeper's: its process has ended."""
_RETRY_S = 0.25  # until a request of the same account or key may have ended


def grant(connection: Connection, account_id: str, given: Grant, now: int) -> str:
    """Adds credit and gives the grant's id. Raises InvalidInput for an amount or an expiry that is none, and for an account
    that was deleted: nobody could spend it."""
    if given.amount_micros <= 0:
        raise InvalidInput("amount: must be above 0", param="amount", limit=0, received=given.amount_micros)
    if given.expires is not None and given.expires <= now:
        raise InvalidInput("expires: is over", param="expires", limit=now, received=given.expires)
    account = _lock(connection, account_id)
    if account["state"] == "deleted":
        raise InvalidInput(f"account: {account_id} was deleted", param="account", limit="active, suspended", received="deleted")
    grant_id = new_id("grant")
    values = {name: getattr(given, name) for name in Grant.__slots__}
    repository.add_grant(
        connection, {"id": grant_id, "account_id": account_id, "left_micros": given.amount_micros, "created": now, **values}
    )
    ask(connection, _entry((account_id, grant_id), given.amount_micros, now))
    ends = [end for end in (account["next_expiry"], given.expires) if end is not None]
    balance = account["balance_micros"] + given.amount_micros
    repository.set_account(connection, account_id, balance_micros=balance, next_expiry=min(ends, default=None))
    return grant_id


def reserve(connection: Connection, hold: Hold, now: int) -> None:
    """Holds it. Raises InsufficientCredit, SpendLimitReached, RateLimited, AccessDenied, Unauthorized, and holds nothing."""
    amount = hold.amount_micros
    if not repository.hold_account(connection, hold.account_id, amount, now):
        account = _lock(connection, hold.account_id)
        if account["next_expiry"] is not None and account["next_expiry"] <= now:
            account = _expire(connection, account, now)
        free = account["balance_micros"] - account["held_micros"]
        if account["state"] != "active":
            raise AccessDenied("the account is suspended", param="authorization", received=account["state"])
        if free < amount:
            raise _insufficient(amount, free, account["held_micros"])
        repository.set_account(connection, hold.account_id, held_micros=account["held_micros"] + amount)
    key, held = ask(
        connection,
        repository.hold_key(hold.key_id, amount, now, begins(now)),
        repository.add_hold(hold, now + HOLD_S, now),
    )
    if not key.count:
        raise _key_refusal(connection, hold, now)
    if not held.count:
        raise _too_many(connection, hold)


def settle(connection: Connection, use: Use, now: int) -> None:
    """Ends the hold with a debit and its row of usage. A hold that the sweeper took is no reason to serve for nothing: the
    credit must be there still. Of an account that was deleted meanwhile nothing is kept that its client chose. Raises
    InsufficientCredit; a use that was settled before is a defect of the caller."""
    found, hold, grants = repository.settling(connection, use.account_id, use.id)
    account = _there(found, use.account_id)
    held = 0 if hold is None else hold["amount_micros"]
    free = account["balance_micros"] - account["held_micros"] + held
    if free < use.amount_micros:
        raise _insufficient(use.amount_micros, free, account["held_micros"] - held)
    ask(
        connection,
        *_debit(replace(use, request_id=use.id) if account["state"] == "deleted" else use, grants, now),
        repository.set_money(use.account_id, account["balance_micros"] - use.amount_micros, account["held_micros"] - held),
        repository.pay_with_key(use.key_id, (use.amount_micros, held), now, begins(now)),
    )


def release(connection: Connection, hold_id: str, account_id: str) -> bool:
    """Ends the hold without a debit. False: it had ended before."""
    _lock(connection, account_id)
    hold = first(connection, repository.take_hold(hold_id))
    if hold is None:
        return False
    repository.free(connection, hold["account_id"], hold["key_id"], hold["amount_micros"])
    return True


def sweep(connection: Connection, now: int) -> int:
    """Releases the holds of processes that have ended, and ends credit that has expired. Gives how many holds there were."""
    released = sum(release(connection, hold_id, account) for hold_id, account in repository.stale_holds(connection, now))
    for account_id in repository.accounts_with_ended_credit(connection, now):
        _expire(connection, _lock(connection, account_id), now)
    return released


def audit(connection: Connection) -> Audit:
    """The health check: does everything add up?"""
    rows = repository.sums(connection)
    return Audit(len(rows), tuple(problem for row in rows for problem in _problems(row)))


def _problems(row: RowMapping) -> list[str]:
    pairs = (
        ("balance_micros", "ledger", "sum of the ledger"),
        ("balance_micros", "left", "sum of what is left of the grants"),
        ("held_micros", "reserved", "sum of the reservations"),
        ("held_micros", "key_holds", "sum of what its keys hold"),
        ("debits", "used", "sum of the usage"),
    )
    return [
        f"{row['id']}: {name} is {row[name]}, the {what} {row[other]}" for name, other, what in pairs if row[name] != row[other]
    ]


def _lock(connection: Connection, account_id: str) -> Row:
    return _there(repository.lock_account(connection, account_id), account_id)


def _there(account: Row | None, account_id: str) -> Row:
    if account is None:
        raise InvalidInput(f"account: no account {account_id[:80]!r}", param="account", received=account_id[:80])
    return account


def _key_refusal(connection: Connection, hold: Hold, now: int) -> GigarankError:
    key = repository.lock_key(connection, hold.key_id)
    terms = Key.of(key).terms
    begin, end = period(terms.cap_period, now)
    if key["disabled"] or (terms.expires is not None and terms.expires <= now):
        return Unauthorized("the API key is disabled or has expired", param="authorization")
    cap = terms.cap_micros or 0
    spent = key["spent_micros"] if key["spent_from"] >= begin else 0
    until = "" if end is None else f"; it begins anew in {end - now} s"
    return SpendLimitReached(
        f"the API key may spend {usd(cap)} USD ({terms.cap_period}), has spent {usd(spent)} and holds "
        f"{usd(key['held_micros'])}; this request costs {usd(hold.amount_micros)}{until}",
        param="authorization",
        limit=usd(cap),
        received=usd(hold.amount_micros),
    )


def _too_many(connection: Connection, hold: Hold) -> RateLimited:
    """The account's row is locked by now, so that the counts are those for which the hold was refused."""
    of_account, of_key = repository.holds_of(connection, hold.account_id, hold.key_id)
    whose, most, running = "account", hold.most_of_account, of_account
    if most is None or running < most:
        whose, most, running = "API key", hold.most_of_key, of_key
    message = f"concurrent_requests: the {whose} has {running} requests running; at most {most}"
    return RateLimited(message, retry_after=_RETRY_S, param="concurrent_requests", limit=most, received=running + 1)


def _debit(use: Use, grants: Sequence[Row], now: int) -> Iterator[Ask]:
    """From the grants in their order, and the row of usage, whose key makes sure that it happens once."""
    values = {name: getattr(use, name) for name in Use.__slots__}
    yield repository.add_use({**values, "created": now, "day": _day(now)})
    rest = use.amount_micros
    for one in grants:
        if not rest:
            return
        taken = min(rest, one["left_micros"])
        yield repository.spend_grant(one["id"], taken)
        yield _entry((use.account_id, one["id"]), -taken, now, use.id)
        rest -= taken


def _expire(connection: Connection, account: Row, now: int) -> Row:
    """Ends grants that are over, as far as nothing of them is held; the rest is ended once that is settled."""
    account_id, free = account["id"], account["balance_micros"] - account["held_micros"]
    ended, ends = 0, []
    for one in repository.open_grants(connection, account_id):
        if one["expires"] is None:
            continue
        taken = min(one["left_micros"], free - ended) if one["expires"] <= now else 0
        if taken:
            ask(connection, repository.spend_grant(one["id"], taken), _entry((account_id, one["id"]), -taken, now))
            ended += taken
        if taken < one["left_micros"]:
            ends.append(one["expires"])
    balance = account["balance_micros"] - ended
    repository.set_account(connection, account_id, balance_micros=balance, next_expiry=min(ends, default=None))
    return _lock(connection, account_id)


def _entry(grant: tuple[str, str], amount: int, now: int, usage_id: str | None = None) -> Ask:
    """`grant`: (account, grant). What comes in is a grant, what goes is a debit, or an expiry where nothing was used."""
    account_id, grant_id = grant
    kind = "grant" if amount > 0 else "expiry" if usage_id is None else "debit"
    values = {"id": new_id("entry"), "account_id": account_id, "grant_id": grant_id, "usage_id": usage_id}
    return repository.add_entry({**values, "kind": kind, "amount_micros": amount, "created": now})


def _day(now: int) -> str:
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def _insufficient(amount: int, free: int, held: int) -> InsufficientCredit:
    running = f", beside {usd(held)} held by running requests" if held else ""
    message = f"this request costs {usd(amount)} USD and the account has {usd(max(free, 0))}{running}: add credit"
    return InsufficientCredit(message, param="credit", limit=usd(max(free, 0)), received=usd(amount))
