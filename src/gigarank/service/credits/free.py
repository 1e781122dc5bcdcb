"""Free credit: once for an account, and once for an address, whoever asks how often. A part of one transaction.

Invariant: an address that had it is known again by an HMAC, also when its account is deleted; the address is not kept.
"""

from sqlalchemy import Connection, insert, or_, select

from gigarank.service.credits import repository
from gigarank.service.credits.schemas import Grant
from gigarank.service.credits.service import grant
from gigarank.service.keys.secrets import Secrets
from gigarank.service.topup_tables import free_credits

REASON = "free credit"
_PRIORITY = 50  # before what was paid for
_PURPOSE = "address "  # no key and no token begins so


def give(connection: Connection, secrets: Secrets, account_id: str, amount_micros: int, now: int) -> bool:
    """To an account whose address is verified. False: it had it, was deleted, or there is none."""
    account = repository.lock_account(connection, account_id)
    if account is None or account["state"] == "deleted" or not amount_micros:
        return False
    digests = secrets.of_address(_PURPOSE + account["email"])
    had = or_(free_credits.c.digest.in_(digests.values()), free_credits.c.account_id == account_id)
    if connection.execute(select(free_credits.c.digest).where(had)).first() is not None:
        return False
    secret_id, digest = next(iter(digests.items()))
    connection.execute(insert(free_credits).values(digest=digest, secret_id=secret_id, account_id=account_id, created=now))
    grant(connection, account_id, Grant(amount_micros, REASON, _PRIORITY), now)
    return True


def secrets_in_use(connection: Connection) -> set[str]:
    return set(connection.execute(select(free_credits.c.secret_id).distinct()).scalars())
