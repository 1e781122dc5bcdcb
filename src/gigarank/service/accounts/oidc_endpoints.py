"""GET /v1/auth/oidc/...: to a provider and back.

Invariant: a sign-in ends in the browser that began it, whose cookie has the state that came back.
"""

import hmac
import re

from sqlalchemy import Connection

from gigarank.errors import InvalidInput, NotSignedIn
from gigarank.service.accounts import identities
from gigarank.service.accounts.cookies import cookie_of, set_cookie
from gigarank.service.accounts.identities import Begun
from gigarank.service.accounts.links import new_token
from gigarank.service.accounts.office import Guest, Office
from gigarank.service.accounts.oidc import Way
from gigarank.service.accounts.schemas import Account, read_email
from gigarank.service.accounts.sign_endpoints import session_shown
from gigarank.service.call import Answer

_SUFFIX = "-oidc"


async def list_providers(office: Office, guest: Guest) -> Answer:
    rows = [{"object": "provider", "name": name, "url": f"/v1/auth/oidc/{name}"} for name in office.oidc.trusted]
    return Answer({"object": "list", "data": rows})


async def leave(office: Office, guest: Guest) -> Answer:
    provider = office.oidc.provider(guest.call.parameters["provider"])
    await office.attempts.enter("token", guest.client)
    way = Way(new_token(), new_token(), new_token(), _back(office, provider.name))
    begun = Begun(provider.name, way, read_onward(guest.call.query.get("next", "")))
    address = await office.oidc.address(provider, way, office.now)
    await office.desk.database.run(lambda one: identities.begin_way(one, begun, office.now))
    cookie = set_cookie(way.state, office.secure, _SUFFIX, identities.LIFE_S)
    return Answer({"object": "redirect", "url": address}, status=302, headers={"location": address, "set-cookie": cookie})


async def come_back(office: Office, guest: Guest) -> Answer:
    query, provider = guest.call.query, office.oidc.provider(guest.call.parameters["provider"])
    await office.attempts.enter("token", guest.client)
    state, kept = query.get("state", ""), cookie_of(guest.call.headers, office.secure, _SUFFIX)
    if not state or not hmac.compare_digest(state.encode("utf-8", "replace"), kept.encode("utf-8", "replace")):
        raise NotSignedIn("state: this browser did not begin this sign-in", param="state")
    back = _back(office, provider.name)
    begun = await office.desk.database.run(lambda one: identities.end_way(one, provider.name, state, back, office.now))
    if not query.get("code"):
        raise NotSignedIn(f"the provider says: {query.get('error', 'no code')[:80]}", param="code")
    claims = await office.oidc.claims(provider, begun.way, query["code"], office.now)
    if claims.email:
        read_email(claims.email)

    def work(connection: Connection) -> tuple[Account, str]:
        account, session = identities.sign_in(connection, claims, guest.entry, office.now)
        if claims.email == account.email:
            office.welcome(connection, account.id)
        return account, session

    account, token = await office.desk.database.run(work)
    shown = session_shown(account.id, account.email, account.role, token)
    onward = {"location": begun.onward} if begun.onward else {}
    status = 303 if begun.onward else 200
    return Answer(shown, status=status, headers={"set-cookie": set_cookie(token, office.secure), **onward})


def _back(office: Office, name: str) -> str:
    return f"{office.post.site}/v1/auth/oidc/{name}/callback"


def read_onward(path: str) -> str:
    """A path of this site, so that nobody is sent elsewhere from here. Raises InvalidInput."""
    if path and not re.fullmatch(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,500}", path):
        raise InvalidInput("next: a path of this site is expected, as /account", param="next", limit="/...", received=path[:80])
    return path
