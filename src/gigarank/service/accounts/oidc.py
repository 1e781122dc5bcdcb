"""Signing in with an OpenID Connect provider: discovery, the way there, and what comes back, checked.

Knows HTTP and JWT, no database and no account. Invariant: claims that leave `claims` were signed by a key that the issuer
publishes now, for this client, for this sign-in, and are not over.
"""

import base64
import hashlib
import re
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gigarank.errors import InvalidInput, NotSignedIn, ProviderUnavailable
from gigarank.service.accounts.cookies import read_site
from gigarank.types import JsonObject

_TIMEOUT_S = 10.0
_KEPT_S = 3_600  # what discovery said
_LEEWAY_S = 60  # between two clocks
_SIGNED = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384")  # no HMAC, whose key the client has, and never none


_BASIC, _POST = "client_secret_basic", "client_secret_post"


class _Bearer(httpx2.Auth):
    """An access token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["authorization"] = f"Bearer {self._token}"
        yield request


@dataclass(frozen=True, slots=True)
class Provider:
    name: str
    issuer: str
    client_id: str
    client_secret: str


@dataclass(frozen=True, slots=True)
class Way:
    """One sign-in on its way: what goes with the browser, and what stays here."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class Claims:
    """Who somebody is for an issuer. `email` is in lower case, and "" where it is not vouched for."""

    issuer: str
    subject: str
    email: str


@dataclass(slots=True)
class _Known:
    until: int
    metadata: JsonObject
    keys: KeySet | None = None


@dataclass(slots=True)
class Client:
    """`trusted`: by name."""

    trusted: dict[str, Provider]
    _known: dict[str, _Known] = field(default_factory=dict)

    def provider(self, name: str) -> Provider:
        """Raises InvalidInput."""
        if name not in self.trusted:
            listed = ", ".join(self.trusted) or "none"
            raise InvalidInput(
                f"provider: one of {listed}; received {name[:40]!r}", param="provider", limit=listed, received=name[:40]
            )
        return self.trusted[name]

    async def address(self, provider: Provider, way: Way, now: int) -> str:
        """Where the browser is sent. Raises ProviderUnavailable."""
        known = await self._discovered(provider, now)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(way.verifier.encode()).digest()).decode().rstrip("=")
        asked = {"response_type": "code", "client_id": provider.client_id, "redirect_uri": way.redirect_uri}
        asked |= {"scope": "openid email", "state": way.state, "nonce": way.nonce}
        asked |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        address = str(known.metadata["authorization_endpoint"])
        return address + ("&" if "?" in address else "?") + urlencode(asked)

    async def claims(self, provider: Provider, way: Way, code: str, now: int) -> Claims:
        """Raises NotSignedIn for what is not as it should be, ProviderUnavailable."""
        known = await self._discovered(provider, now)
        given = {"grant_type": "authorization_code", "code": code, "redirect_uri": way.redirect_uri}
        given |= {"code_verifier": way.verifier, "client_id": provider.client_id}
        answer = await self._token(provider, known, given)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise _refused("it has no id_token")
        told = await self._decoded(provider, known, token)
        found = _claims(provider, way, told, now)
        if "email" in told and "email_verified" in told:
            return found
        return replace(found, email=_vouched(await self._user(provider, known, answer, found.subject)))

    async def _token(self, provider: Provider, known: _Known, given: dict[str, str]) -> JsonObject:
        """By HTTP Basic, which is what a provider knows that does not say, else with the secret among what is posted."""
        ways = known.metadata.get("token_endpoint_auth_methods_supported", [_BASIC])
        url = str(known.metadata["token_endpoint"])
        if isinstance(ways, list) and _BASIC not in ways and _POST in ways:
            return await self._fetched(url, provider, given | {"client_secret": provider.client_secret})
        own = (quote_plus(provider.client_id), quote_plus(provider.client_secret))  # RFC 6749, 2.3.1
        return await self._fetched(url, provider, given, httpx2.BasicAuth(*own))

    async def _user(self, provider: Provider, known: _Known, answer: JsonObject, subject: str) -> JsonObject:
        """What the provider says of a person elsewhere than in the id_token, where OpenID Connect Core 5.4 puts the claims of
        the scope `email`; {} where it says nothing."""
        url, token = known.metadata.get("userinfo_endpoint"), answer.get("access_token")
        if not isinstance(url, str) or not isinstance(token, str):
            return {}
        found = await self._fetched(url, provider, auth=_Bearer(token))
        if found.get("sub") != subject:
            raise _refused("its UserInfo is another's")
        return found

    async def _decoded(self, provider: Provider, known: _Known, token: str) -> JsonObject:
        """With the keys that are known, and once again with those that are published now, should they have changed."""
        fresh = known.keys is None
        while True:
            if known.keys is None:
                fetched: Any = await self._fetched(str(known.metadata["jwks_uri"]), provider)
                known.keys = _key_set(fetched, provider)
            try:
                return jwt.decode(token, known.keys, algorithms=list(_SIGNED)).claims
            except (JoseError, ValueError) as error:
                if fresh:
                    raise _refused("its signature is not the provider's") from error
            known.keys, fresh = None, True

    async def _discovered(self, provider: Provider, now: int) -> _Known:
        known = self._known.get(provider.name)
        if known is None or known.until <= now:
            metadata = await self._fetched(f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration", provider)
            wanted = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            if metadata.get("issuer") != provider.issuer or not all(isinstance(metadata.get(name), str) for name in wanted):
                raise _away(provider, "its discovery document is another's, or none")
            known = self._known[provider.name] = _Known(now + _KEPT_S, metadata)
        return known

    async def _fetched(
        self, url: str, provider: Provider, form: dict[str, str] | None = None, auth: httpx2.Auth | None = None
    ) -> JsonObject:
        """A JSON object; a `form` is posted."""
        try:
            async with httpx2.AsyncClient(timeout=_TIMEOUT_S, auth=auth) as client:
                reply = await (client.get(url) if form is None else client.post(url, data=form))
                found = reply.json()
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise _away(provider, type(error).__name__) from error
        if form is not None and 400 <= reply.status_code < 500:
            raise _refused("it does not know the code")
        if reply.status_code != 200 or not isinstance(found, dict):
            raise _away(provider, f"it answers {reply.status_code}")
        return found


def read_providers(texts: tuple[str, ...]) -> dict[str, Provider]:
    """Raises InvalidInput, without what may be a secret."""
    found: dict[str, Provider] = {}
    for number, text in enumerate(texts):
        words = text.split()
        if len(words) != 4 or not re.fullmatch(r"[a-z0-9-]{1,32}", words[0]) or words[0] in found or not _is_issuer(words[1]):
            message = (
                f"oidc_providers[{number}]: NAME ISSUER CLIENT_ID CLIENT_SECRET is expected, each name once, issuers by https"
            )
            raise InvalidInput(message, param=f"oidc_providers[{number}]", limit="four words")
        found[words[0]] = Provider(*words)
    return found


def _is_issuer(url: str) -> bool:
    scheme, _, rest = url.partition("://")
    try:
        return bool(read_site(f"{scheme}://{rest.partition('/')[0]}")) and "#" not in url and "?" not in url
    except InvalidInput:
        return False


def _key_set(fetched: Any, provider: Provider) -> KeySet:
    try:
        return KeySet.import_key_set(fetched)
    except (JoseError, KeyError, TypeError, ValueError) as error:
        raise _away(provider, "its keys are none") from error


def _claims(provider: Provider, way: Way, told: JsonObject, now: int) -> Claims:
    essential = {name: {"essential": True} for name in ("sub", "exp", "iat")}
    right = {"iss": provider.issuer, "aud": provider.client_id, "nonce": way.nonce}
    wanted: Any = essential | {name: {"essential": True, "value": value} for name, value in right.items()}
    try:
        jwt.JWTClaimsRegistry(now=now, leeway=_LEEWAY_S, **wanted).validate(told)
    except JoseError as error:
        raise _refused(f"a claim is not as it should be: {getattr(error, 'claim', None) or error.error}") from error
    audience = told["aud"]
    if isinstance(audience, list) and len(audience) > 1 and told.get("azp") != provider.client_id:
        raise _refused("a claim is not as it should be: azp")
    return Claims(provider.issuer, str(told["sub"]), _vouched(told))


def _vouched(told: JsonObject) -> str:
    """The address, "" where the provider does not say that it is verified."""
    email = told.get("email")
    return email.strip().lower() if told.get("email_verified") is True and isinstance(email, str) else ""


def _refused(why: str) -> NotSignedIn:
    return NotSignedIn(f"what the provider sent is refused: {why}", param="code")


def _away(provider: Provider, why: str) -> ProviderUnavailable:
    return ProviderUnavailable(f"{provider.name} cannot be asked: {why}", retry_after=5.0, param="provider")
