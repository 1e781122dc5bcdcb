"""Who somebody is elsewhere, and sign-ins that are on their way. Each function is a part of one transaction.

Invariants: an account is joined with a provider's only where the provider vouches for the address and the account's own was
verified; a sign-in on its way ends once, in the browser that began it.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.dialects.postgresql import insert as insert_postgres
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from gigarank.errors import AccessDenied, InvalidInput, NotSignedIn
from gigarank.service.accounts import repository, sessions
from gigarank.service.accounts.links import digest_of
from gigarank.service.accounts.oidc import Claims, Way
from gigarank.service.accounts.schemas import Account
from gigarank.service.accounts.signing import Entry
from gigarank.service.people_tables import identities, sign_ins
from gigarank.types import JsonObject

LIFE_S = 600
"""How long somebody may take at the provider's."""


@dataclass(frozen=True, slots=True)
class Begun:
    """`onward`: the path that the browser goes to in the end; "" is none."""

    provider: str
    way: Way
    onward: str = ""


def begin_way(connection: Connection, begun: Begun, now: int) -> None:
    way = begun.way
    values = {"digest": digest_of(way.state), "provider": begun.provider, "nonce": way.nonce, "verifier": way.verifier}
    connection.execute(insert(sign_ins).values(**values, onward=begun.onward, expires=now + LIFE_S))


def end_way(connection: Connection, provider: str, state: str, redirect_uri: str, now: int) -> Begun:
    """Of several that come back with one state, one is let in. Raises NotSignedIn."""
    taken = delete(sign_ins).where(sign_ins.c.digest == digest_of(state), sign_ins.c.provider == provider)
    row = connection.execute(taken.returning(*sign_ins.c)).mappings().first()
    if row is None or row["expires"] <= now:
        raise NotSignedIn("state: this sign-in has ended, or was not begun here: begin again", param="state")
    return Begun(provider, Way(state, row["nonce"], row["verifier"], redirect_uri), row["onward"])


def sign_in(connection: Connection, claims: Claims, entry: Entry, now: int) -> tuple[Account, str]:
    """The account, which may be new, and a session's token. Raises NotSignedIn, AccessDenied, InvalidInput."""
    account = _known(connection, claims) or _joined(connection, claims, now)
    if account is None:
        raise InvalidInput("email: the address has got an account this moment: sign in again", param="email")
    return account, sessions.start(connection, account.id, entry.device, now, entry.old_token)


def forget(connection: Connection, now: int) -> None:
    """Sign-ins that nobody came back from."""
    connection.execute(delete(sign_ins).where(sign_ins.c.expires <= now))


def of_account(connection: Connection, account_id: str) -> list[JsonObject]:
    columns = (identities.c.issuer, identities.c.subject, identities.c.created)
    rows = connection.execute(select(*columns).where(identities.c.account_id == account_id).order_by(*columns))
    return [{"issuer": row.issuer, "subject": row.subject, "created": row.created} for row in rows]


def _known(connection: Connection, claims: Claims) -> Account | None:
    mine = (identities.c.issuer == claims.issuer, identities.c.subject == claims.subject)
    account_id = connection.execute(select(identities.c.account_id).where(*mine)).scalar()
    return None if account_id is None else repository.by_id(connection, account_id)


def _joined(connection: Connection, claims: Claims, now: int) -> Account | None:
    if not claims.email:
        message = "the provider does not vouch for an address of yours: verify it there first, or sign up here"
        raise NotSignedIn(message, param="email_verified", limit=True)
    there = repository.by_email(connection, claims.email)
    if there is not None and repository.person_by_email(connection, claims.email) is None:
        message = "the address has an account that nobody has verified: ask for a new password first"
        raise AccessDenied(message, param="email", limit="a verified address")
    if there is None:
        account = repository.open_account(connection, claims.email, None, now)
    else:
        account = repository.lock(connection, there.id)
    if account is None:
        return None
    new = insert_postgres if connection.dialect.name == "postgresql" else insert_sqlite
    values = {"issuer": claims.issuer, "subject": claims.subject, "account_id": account.id, "created": now}
    connection.execute(new(identities).values(**values).on_conflict_do_nothing())  # another of theirs may have come first
    return _known(connection, claims)
