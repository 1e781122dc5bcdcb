"""The way in for people: a cookie, where it comes from, and who that is.

Knows the endpoints of people by their names. Invariant: an endpoint of a signed-in person runs only for a session that was good
in the database at that moment, and one that changes anything only with that session's token beside it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gigarank.errors import AccessDenied, NotSignedIn
from gigarank.service.accounts import sessions
from gigarank.service.accounts.attempts import Attempts
from gigarank.service.accounts.cookies import check_csrf, check_place, cookie_of, read_site
from gigarank.service.accounts.office import Guest, Office
from gigarank.service.accounts.oidc import Client, read_providers
from gigarank.service.accounts.passwords import Passwords
from gigarank.service.accounts.sessions import Person
from gigarank.service.call import Answer, Call, Route
from gigarank.service.credits.money import micros
from gigarank.service.desk import Desk
from gigarank.service.mail.service import Post
from gigarank.service.metering.limits import RateLimiter
from gigarank.service.people_endpoints import PEOPLE
from gigarank.service.settings import Settings
from gigarank.service.web.people_pages import PEOPLE_PAGES

_PRIVATE: Mapping[str, str] = {"cache-control": "no-store"}


def site_of(settings: Settings) -> str:
    """What links begin with. Raises InvalidInput."""
    return read_site(settings.public_url) or f"http://127.0.0.1:{settings.port}"


@dataclass(frozen=True, slots=True)
class Door:
    """`close` it."""

    settings: Settings
    passwords: Passwords
    attempts: Attempts
    letters: asyncio.Event
    free_micros: int
    low_micros: int
    oidc: Client

    @classmethod
    def of(cls, settings: Settings, limiter: RateLimiter) -> "Door":
        """Raises InvalidInput."""
        site_of(settings)
        free, low = micros(settings.free_credit_usd, "free_credit_usd"), micros(settings.low_balance_usd, "low_balance_usd")
        return cls(
            settings,
            Passwords(),
            Attempts(limiter),
            asyncio.Event(),
            free,
            low,
            Client(read_providers(settings.oidc_providers)),
        )

    @property
    def post(self) -> Post:
        return Post(site_of(self.settings), bool(self.settings.smtp_url))

    async def receive(self, desk: Desk, call: Call, route: Route) -> Answer:
        office = Office(desk, self.passwords, self.attempts, self.post, self.letters, self.free_micros, self.oidc)
        changes = route.method != "GET"
        check_place(call.headers, call.client, read_site(self.settings.public_url), changes)
        guest = Guest(call, cookie_of(call.headers, office.secure))
        if route.visitor != "anyone":
            guest = replace(guest, who=await _who(office, guest, route))
            if changes and not (route.page and route.upload):  # whose form is read by its endpoint, and the token with it
                check_csrf(call.headers, guest.token, call.body if route.page else {})
        answer = await (PEOPLE_PAGES if route.page else PEOPLE)[route.hosted](office, guest)
        return replace(answer, headers={**answer.headers, **_PRIVATE})

    def close(self) -> None:
        self.passwords.close()


async def _who(office: Office, guest: Guest, route: Route) -> Person:
    if not guest.token:
        raise NotSignedIn("sign in first: no session's cookie came with this", param="cookie")
    person = await office.desk.database.run(lambda one: sessions.find(one, guest.token, office.now))
    if route.visitor == "operator" and person.role != "operator":
        raise AccessDenied("this is for operators", param="role", limit="operator", received=person.role)
    return person
