"""The end of an account. A part of one transaction.

Invariants: its keys and sessions have ended at once; nothing is left that says whose it was; ledger, grants and usage stay, so
that the sums hold. Files go when they are next tidied up. Of what an account may have without end, a piece goes with it, and
the rest piece by piece: nobody waits for a large one.
"""

from typing import Any

from sqlalchemy import Column, Connection, delete, func, select, update

from gigarank.service.accounts import letters, repository
from gigarank.service.accounts.sessions import Person, confirm
from gigarank.service.batches.schemas import OPEN
from gigarank.service.catalogue import repository as models
from gigarank.service.db import erased
from gigarank.service.mail import repository as mail
from gigarank.service.mail.service import Post
from gigarank.service.offer_tables import bodies, body_terms, model_votes
from gigarank.service.people_tables import identities
from gigarank.service.tables import accounts, batches, files, keys, links, people, repeats, sessions, usage

GONE = "deleted"
_ROWS, _TEXTS = 1_000, 50  # in a transaction


def delete_account(connection: Connection, post: Post, account_id: str, now: int, person: Person | None = None) -> None:
    """The account is locked before all that it has: whatever begins for it locks it too, and comes before or not at all. Raises
    NotSignedIn where `person` asks and is not let in any more."""
    account = repository.lock(connection, account_id)
    if account is None or account.state == GONE:
        return
    if person is not None:
        confirm(connection, person)
    erased(connection)
    mine = update(batches).where(batches.c.account_id == account_id)
    connection.execute(mine.values(metadata=None, errors=None))
    connection.execute(mine.where(batches.c.state.in_(OPEN)).values(state="cancelling", cancelling_at=now))
    ended = {"digest": keys.c.id, "disabled": 1, "deleted": now, "name": GONE, "models": None}
    connection.execute(update(keys).where(keys.c.account_id == account_id).values(**ended))
    wanted = models.asked_by(connection, account_id)
    for table in (sessions, links, people, body_terms, model_votes, identities):
        connection.execute(delete(table).where(table.c.account_id == account_id))
    for model in wanted:
        models.drop_unwanted(connection, model)
    connection.execute(delete(links).where(links.c.email == account.email))
    connection.execute(update(files).where(files.c.account_id == account_id).values(filename=GONE, expires=now))
    no_limits = dict.fromkeys(account.limits.values())
    values = {"email": f"{GONE} {account_id}", "state": GONE, **no_limits}
    connection.execute(update(accounts).where(accounts.c.id == account_id).values(**values))
    _erase(connection, account_id, "")
    mail.remove_of(connection, account.email)
    post.leave(connection, letters.account_deleted(post.site, account.email), now)


def erase_more(connection: Connection) -> bool:
    """A piece of what is left of accounts that were deleted. False: there is none."""
    left = select(accounts.c.id, accounts.c.leaving).where(accounts.c.leaving.is_not(None)).order_by(accounts.c.id).limit(1)
    row = connection.execute(left.with_for_update(skip_locked=True)).first()
    if row is None:
        return False
    _erase(connection, row.id, row.leaving)
    return True


def _erase(connection: Connection, account_id: str, after: str) -> None:
    """Texts, and whose the rows of usage behind `after` were."""
    mine = select(usage.c.id).where(usage.c.account_id == account_id, usage.c.id > after).order_by(usage.c.id)
    last = connection.execute(select(func.max(mine.limit(_ROWS).subquery().c.id))).scalar()
    if last is not None:
        named = update(usage).where(usage.c.account_id == account_id, usage.c.id > after, usage.c.id <= last)
        connection.execute(named.values(request_id=usage.c.id))
    texts = [_drop(connection, bodies.c.id, account_id), _drop(connection, repeats.c.name, account_id)]
    leaving = last if last is not None else after if any(texts) else None
    connection.execute(update(accounts).where(accounts.c.id == account_id).values(leaving=leaving))
    erased(connection)


def _drop(connection: Connection, named: Column[str], account_id: str) -> int:
    """A piece of an account's rows of a table with texts, of which they are the names."""
    table: Any = named.table
    some = select(named).where(table.c.account_id == account_id).limit(_TEXTS)
    return connection.execute(delete(table).where(table.c.account_id == account_id, named.in_(some))).rowcount
