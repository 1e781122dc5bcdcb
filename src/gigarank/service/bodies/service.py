"""Bodies of requests: kept where their account or key asked for it, and no longer. Each function is a part of one transaction.

Knows no HTTP. Invariants: nothing is kept of whoever did not ask for it, nor where the server's `max_body_days` is 0; whoever
says that less is kept has less from then on.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, RowMapping

from gigarank.errors import InvalidInput
from gigarank.service.accounts.service import hold_open
from gigarank.service.bodies import repository
from gigarank.service.bodies.schemas import Asked, Seen, no_log
from gigarank.service.ids import new_id
from gigarank.service.keys import repository as keys
from gigarank.service.tenant import Tenant
from gigarank.types import JsonObject

_DAY_S = 86_400


def keep(connection: Connection, tenant: Tenant, seen: Seen, now: int) -> None:
    """What the key says counts, else what the account says."""
    terms = repository.terms_of(connection, tenant.account_id) if seen.days else {}
    days = min(seen.days, terms.get(tenant.key_id, terms.get(tenant.account_id, 0)))
    if not days:
        return
    repository.add(
        connection,
        id=new_id("log"),
        account_id=tenant.account_id,
        key_id=tenant.key_id,
        request_id=seen.request_id,
        route=seen.route,
        status=seen.status,
        request=seen.request[: seen.most_bytes],
        response=seen.response[: seen.most_bytes],
        request_bytes=len(seen.request),
        response_bytes=len(seen.response),
        created=now,
        expires=now + days * _DAY_S,
    )


def set_terms(connection: Connection, account_id: str, asked: Asked, now: int) -> JsonObject:
    """Raises InvalidInput for a key that is not the account's, AccessDenied where the account was deleted. What is kept for
    longer ends sooner; 0 days are now."""
    hold_open(connection, account_id, ("active", "suspended"))
    if asked.key_id is not None:
        key = keys.by_id(connection, asked.key_id)
        if key is None or key.account_id != account_id:
            message = f"key_id: no key {asked.key_id[:60]!r} of this account"
            raise InvalidInput(message, param="key_id", received=asked.key_id[:60])
    repository.set_terms(connection, account_id, asked.key_id or account_id, asked.days)
    terms = repository.terms_of(connection, account_id)
    which = {"account_id": account_id} | ({} if asked.key_id is None else {"key_id": asked.key_id})
    others = [name for name in terms if name != account_id] if asked.key_id is None else []
    repository.shorten(connection, which, others, terms.get(asked.key_id or account_id, terms.get(account_id, 0)))
    repository.forget(connection, now)
    return terms_shown(connection, account_id)


def terms_shown(connection: Connection, account_id: str) -> JsonObject:
    """`days` None: nothing was said, and so nothing is kept."""
    terms = repository.terms_of(connection, account_id)
    days = terms.pop(account_id, None)
    told = [{"key_id": key_id, "days": each} for key_id, each in terms.items()]
    return {"object": "logging", "account_id": account_id, "days": days, "keys": told}


def find(connection: Connection, which: Mapping[str, str]) -> RowMapping:
    """`which`: an `id`, and an `account_id` for all but the operator. Raises ObjectNotFound."""
    row = repository.one(connection, which)
    if row is None:
        raise no_log(which["id"])
    return row
