"""Short-lived tokens that a key makes: what they may do stands in them, under an HMAC, and nowhere else.

A token is its key's: it spends what the key may spend, counts in the key's limits, and ends with it. Knows no database.
Invariant: a token that `read` accepts was written here, and is not over; a secret that was replaced makes no token good for
longer than tokens last.
"""

import base64
import hmac
import json
from dataclasses import dataclass
from typing import cast

from gigarank.errors import Unauthorized
from gigarank.service.keys.secrets import Secrets
from gigarank.service.tenant import Scope

PREFIX = "grt_"
USUAL_S, MOST_S = 600, 24 * 3_600
MOST_MODELS = 50
_PURPOSE = "token "  # no key begins so: what is signed for one thing is good for no other


@dataclass(frozen=True, slots=True)
class Token:
    """`expires`: Unix seconds. `models` None: those of the key."""

    key_id: str
    expires: int
    scopes: tuple[Scope, ...]
    models: tuple[str, ...] | None


def is_token(text: str) -> bool:
    return text.startswith(PREFIX)


def write(secrets: Secrets, token: Token) -> str:
    fields = [token.key_id, token.expires, token.scopes, token.models]
    content = base64.urlsafe_b64encode(json.dumps(fields, separators=(",", ":")).encode()).decode().rstrip("=")
    return f"{PREFIX}{content}.{secrets.current(_PURPOSE + content)[1]}"


def read(secrets: Secrets, text: str, now: int) -> Token:
    """Raises Unauthorized for one that was not written here, and for one that is over."""
    content, _, sign = text.removeprefix(PREFIX).partition(".")
    known = secrets.fresh(_PURPOSE + content, now - MOST_S) if content.isascii() and sign.isascii() else ()
    if not any(hmac.compare_digest(sign, digest) for digest in known):
        raise _unreadable()
    key_id, expires, scopes, models = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
    if expires <= now:
        raise Unauthorized("the token has expired: make another one with its key", param="authorization", limit=expires)
    return Token(key_id, expires, cast(tuple[Scope, ...], tuple(scopes)), None if models is None else tuple(models))


def _unreadable() -> Unauthorized:
    return Unauthorized("the token is mistyped or cut, or none of this server's", param="authorization")
