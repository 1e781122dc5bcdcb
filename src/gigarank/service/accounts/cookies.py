"""The session's cookie and what keeps other sites from using it: where a request is from, and a token beside it.

Knows headers and no database. Invariant: a request that changes anything, sent by a page of another site, is refused twice: by
where it says it is from, and by the token that such a page cannot know; docs/decisions/0008.
"""

import hashlib
import hmac
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from gigarank.errors import AccessDenied, InvalidInput
from gigarank.service.accounts.addresses import is_own
from gigarank.service.accounts.sessions import LIFE_S

CSRF_HEADER, CSRF_FIELD = "x-csrf-token", "csrf_token"
_NAME, _SECURE_NAME = "gigarank", "__Host-gigarank"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def read_site(public_url: str) -> str:
    """Without its last slash; "" stays. Raises InvalidInput: people sign in over https, or on the server's own machine."""
    try:
        parts = urlsplit(public_url)
    except ValueError:
        parts = urlsplit("")
    right = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.netloc))
    if public_url and not (right and parts.netloc and public_url.rstrip("/") == f"{parts.scheme}://{parts.netloc}"):
        message = f"public_url: https://HOST, or http:// with a loopback address, is expected; received {public_url[:80]!r}"
        raise InvalidInput(message, param="public_url", limit="https://HOST", received=public_url[:80])
    return public_url.rstrip("/")


def _is_loopback(host: str) -> bool:
    """`host`: as a URL or the header has it, perhaps with a port."""
    try:
        return urlsplit(f"//{host}").hostname in _LOOPBACK
    except ValueError:
        return False


def set_cookie(token: str, secure: bool, suffix: str = "", life_s: int = LIFE_S) -> str:
    """A header's value. No token ends the cookie. `suffix`: of another cookie than the session's."""
    name, life_s = (_SECURE_NAME if secure else _NAME) + suffix, life_s if token else 0
    return f"{name}={token}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")


def cookie_of(headers: Mapping[str, str], secure: bool, suffix: str = "") -> str:
    """The session's token, "" without one."""
    name = (_SECURE_NAME if secure else _NAME) + suffix
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return next((value for key, _, value in pairs if key == name), "")


def check_place(headers: Mapping[str, str], client: str, public_url: str, changes: bool) -> None:
    """Raises AccessDenied for a request of another site's page, and for one that comes where no cookie may go. `client`: the
    address at the connection's other end, for anybody may send any host."""
    host = headers.get("host", "")
    if not public_url and not (_is_loopback(host) and is_own(client)):
        message = "people sign in at public_url; without it, on the server's own machine alone"
        raise AccessDenied(message, param="host", limit=", ".join(_LOOPBACK), received=host[:80])
    if not changes:
        return
    origin, own = headers.get("origin"), public_url or f"http://{host}"
    if origin is not None and origin.lower() != own.lower():
        raise AccessDenied("a page of another site asks", param="origin", limit=own, received=origin[:80])
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        received = headers["sec-fetch-site"][:20]
        raise AccessDenied("a page of another site asks", param="sec-fetch-site", limit="same-origin", received=received)


def csrf_token(session_token: str) -> str:
    """Of a session, for as long as it lasts; who knows it cannot tell the session's."""
    return hashlib.sha256(b"csrf " + session_token.encode("latin-1", "replace")).hexdigest()


def check_csrf(headers: Mapping[str, str], session_token: str, form: Mapping[str, str] = MappingProxyType({})) -> None:
    """A program sends the token in a header, a form in its field."""
    given = (headers.get(CSRF_HEADER) or form.get(CSRF_FIELD, "")).encode("latin-1", "replace")
    if not hmac.compare_digest(given, csrf_token(session_token).encode()):
        message = f"{CSRF_HEADER}: the session's csrf_token is expected, as GET /v1/auth/session tells it"
        raise AccessDenied(message, param=CSRF_HEADER, limit="csrf_token")
