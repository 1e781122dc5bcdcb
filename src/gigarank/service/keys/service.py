"""Keys: issued, known again, disabled. Each function is a part of one transaction, whose connection it is given.

Knows no HTTP. Invariant: the text of a key leaves `issue` and is kept nowhere.
"""

from dataclasses import replace

from sqlalchemy import Connection

from gigarank.errors import AccessDenied, InvalidInput, ModelNotAllowed, ObjectNotFound, Unauthorized
from gigarank.service.accounts.service import hold, hold_open
from gigarank.service.credits import free
from gigarank.service.ids import new_id
from gigarank.service.keys import format as form
from gigarank.service.keys import repository, tokens
from gigarank.service.keys.schemas import Key, Terms, period
from gigarank.service.keys.secrets import Secrets
from gigarank.service.keys.tokens import Token
from gigarank.service.statements import Row
from gigarank.service.tenant import Limits, Scope, Tenant

MOST_EVER = 10_000
"""Keys that an account may make in its life: their rows stay."""
_TOUCH_S = 60  # `last_used` is this exact: not every look at an account is a write


def issue(connection: Connection, secrets: Secrets, account_id: str, terms: Terms, now: int) -> tuple[Key, str]:
    """The key, and its text, which nobody can tell again. Raises InvalidInput for an account that was deleted."""
    if hold(connection, account_id) == "deleted":
        raise InvalidInput(f"account: {account_id} was deleted", param="account", limit="active, suspended", received="deleted")
    text = form.make()
    key = Key(new_id("key"), account_id, form.shown(text), terms, False, 0, 0, None, now)
    repository.add(connection, key, *secrets.current(text))
    return key, text


def authenticate(connection: Connection, secrets: Secrets, text: str, usual: Limits, now: int) -> Tenant:
    """Who sent it. Raises Unauthorized for a key or a token that is none, is disabled or has expired; AccessDenied for an
    account that is suspended. A key that an older secret kept is kept by the current one from now on."""
    if tokens.is_token(text):
        token = tokens.read(secrets, text, now)
        return _narrowed(_admitted(connection, repository.with_account(connection, token.key_id), usual, now), token)
    if not form.is_ours(text):
        raise Unauthorized("the API key is mistyped or cut, or none of this server's", param="authorization")
    digests = secrets.digests(text)
    row = repository.by_digest(connection, digests.values())
    tenant = _admitted(connection, row, usual, now)
    current, digest = next(iter(digests.items()))
    if row is not None and row["secret_id"] != current:
        repository.set_digest(connection, tenant.key_id, current, digest)
    return tenant


def _admitted(connection: Connection, row: Row | None, usual: Limits, now: int) -> Tenant:
    if row is None or row["deleted"] is not None:
        raise Unauthorized("the API key is not known here", param="authorization")
    key = Key.of(row)
    if key.disabled:
        raise Unauthorized("the API key is disabled", param="authorization")
    if key.terms.expires is not None and key.terms.expires <= now:
        raise Unauthorized("the API key has expired", param="authorization", limit=key.terms.expires)
    if row["account_state"] != "active":
        raise AccessDenied("the account is suspended", param="authorization", received=row["account_state"])
    if key.last_used is None or now - key.last_used >= _TOUCH_S:
        repository.touch(connection, key.id, now)
    limits = Limits.of(row, "account_").over(usual)
    return Tenant(key.account_id, key.id, key.terms.scopes, key.terms.models, limits, key.terms.limits)


def _narrowed(tenant: Tenant, token: Token) -> Tenant:
    """What its key may do now, as far as the token may."""
    scopes = tuple(scope for scope in tenant.scopes if scope in token.scopes)
    return replace(tenant, scopes=scopes, models=_both(tenant.models, token.models), token_expires=token.expires)


def _both(models: tuple[str, ...] | None, others: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if models is None or others is None:
        return others if models is None else models
    return tuple(model for model in models if model in others)


def mint(secrets: Secrets, tenant: Tenant, token: Token) -> str:
    """The token's text. Raises AccessDenied for a token, which makes none, and for a scope that the key has not got;
    ModelNotAllowed for a model."""
    if tenant.token_expires is not None:
        raise AccessDenied("a token makes no tokens: send its key", param="authorization", limit="key", received="token")
    for scope in token.scopes:
        require_scope(tenant, scope)
    for model in token.models or ():
        if tenant.models is not None and model not in tenant.models:
            message = f"models: the API key may not ask {model[:80]}; it may ask {', '.join(tenant.models)}"
            raise ModelNotAllowed(message, param="models", limit=", ".join(tenant.models), received=model[:80])
    return tokens.write(secrets, token)


def require_scope(tenant: Tenant, scope: Scope) -> None:
    if scope not in tenant.scopes:
        message = f"the API key has no scope {scope}; it has {', '.join(tenant.scopes)}"
        raise AccessDenied(message, param="authorization", limit=scope, received=", ".join(tenant.scopes))


def find(connection: Connection, key_id: str) -> Key:
    """Raises InvalidInput."""
    key = repository.by_id(connection, key_id)
    if key is None:
        raise InvalidInput(f"key: no key {key_id[:60]!r}", param="key", received=key_id[:60])
    return key


def issue_own(
    connection: Connection, secrets: Secrets, account_id: str, terms: Terms, bounds: tuple[int, int]
) -> tuple[Key, str]:
    """As `issue`, of an account that is active and has not too many. `bounds`: how many, and now. Raises InvalidInput,
    AccessDenied."""
    most, now = bounds
    hold_open(connection, account_id)
    ever, count = repository.count(connection, account_id)
    if count >= most:
        message = f"keys: the account has {count}; at most {most}: delete some"
        raise InvalidInput(message, param="keys", limit=most, received=count + 1)
    if ever >= MOST_EVER:
        message = f"keys: the account has made {ever}, deleted ones among them; at most {MOST_EVER}: change one that is there"
        raise InvalidInput(message, param="keys", limit=MOST_EVER, received=ever + 1)
    return issue(connection, secrets, account_id, terms, now)


def find_own(connection: Connection, account_id: str, key_id: str) -> Key:
    """To be changed: it is locked. Raises ObjectNotFound for one that is not the account's."""
    key = repository.lock_own(connection, account_id, key_id)
    if key is None:
        raise ObjectNotFound(f"key_id: no key {key_id[:60]!r}", param="key_id", received=key_id[:60])
    return key


def acting(connection: Connection, tenant: Tenant, key_id: str, now: int) -> Tenant:
    """The account of `tenant` as if that key of its own asked models. Raises ObjectNotFound, Unauthorized, AccessDenied."""
    find_own(connection, tenant.account_id, key_id)
    admitted = _admitted(connection, repository.with_account(connection, key_id), tenant.account_limits, now)
    require_scope(admitted, "inference")
    return admitted


def change(connection: Connection, key: Key, terms: Terms, disabled: bool, now: int) -> Key:
    """`key`: as `find_own` gave it. A cap of another period counts what was spent in that."""
    repository.set_terms(connection, key.id, terms, disabled)
    if terms.cap_period != key.terms.cap_period:
        begin, _ = period(terms.cap_period, now)
        repository.set_spent(connection, key.id, repository.spent_since(connection, key, begin), begin)
    return find(connection, key.id)


def delete(connection: Connection, account_id: str, key_id: str, now: int) -> None:
    """It is refused from now on, and listed no more. Raises ObjectNotFound."""
    repository.delete(connection, find_own(connection, account_id, key_id).id, now)


def set_disabled(connection: Connection, key_id: str, disabled: bool) -> Key:
    find(connection, key_id)
    repository.set_disabled(connection, key_id, disabled)
    return find(connection, key_id)


def rotate(connection: Connection, secrets: Secrets, now: int) -> str:
    """A new secret; the old ones stay as long as a key, or an address that had free credit, is kept by them. Gives its id."""
    return secrets.rotate(repository.secrets_in_use(connection), free.secrets_in_use(connection), now)
