"""Pages of people and the forms on them: an endpoint of the API does the work, and the browser is led on.

Knows pages and no HTML. Invariants: a form does what its endpoint of the API does, by the same checks, limits and messages;
what that refuses is said on the form's own page, which keeps what was typed, secrets apart.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gigarank.errors import AccessDenied, GigarankError, InvalidInput, NotSignedIn, ObjectNotFound, RateLimited, Unauthorized
from gigarank.service.accounts.cookies import CSRF_FIELD, csrf_token
from gigarank.service.accounts.office import Guest, Office, PeopleEndpoint
from gigarank.service.accounts.self_endpoints import with_tenant
from gigarank.service.call import Answer
from gigarank.service.desk import HostedEndpoint
from gigarank.service.errors import render
from gigarank.service.web.console_routes import SECTIONS, WORK
from gigarank.service.web.notices import NOTICES
from gigarank.service.web.rendering import page, see_other
from gigarank.types import JsonObject

Values = Callable[[Office, Guest], Awaitable[Mapping[str, Any]]]
Fields = Mapping[str, str]
Leads = Callable[[Guest, Answer], str | Answer]
_SECRET = ("password", "new_password", "token", "code", CSRF_FIELD)
_SHOWN = (InvalidInput, RateLimited, AccessDenied, Unauthorized)


@dataclass(frozen=True, slots=True)
class View:
    """A page. `values`: what its template needs beside the frame."""

    template: str
    values: Values

    async def __call__(self, office: Office, guest: Guest) -> Answer:
        return shown(guest, self.template, await self.values(office, guest))

    async def refused(self, office: Office, guest: Guest, error: GigarankError) -> Answer:
        """The page again, with what was typed and why it is not taken."""
        status, headers, _ = render(error, "superset", guest.call.request_id)
        frame = {**_frame(guest, guest.call.body), "error": error}
        answer = page(guest.call, self.template, {**frame, **await self.values(office, guest)}, status)
        return replace(answer, headers={**answer.headers, **headers}, error=error.code)


def shown(guest: Guest, template: str, values: Mapping[str, Any]) -> Answer:
    """A page of people."""
    return page(guest.call, template, {**_frame(guest, guest.call.query), **values})


def _frame(guest: Guest, typed: Fields) -> JsonObject:
    """What every page of people is given; see console.html."""
    given = {name: text for name, text in typed.items() if name not in _SECRET}
    notice = NOTICES.get(guest.call.query.get("done", ""))
    sections = (*SECTIONS, *WORK) if guest.who is not None and guest.who.role == "operator" else SECTIONS
    frame = {"me": guest.who, "csrf": csrf_token(guest.token), "sections": sections}
    return {**frame, "given": given, "notice": notice, "error": None}


def as_they_are(fields: Fields) -> JsonObject:
    return dict(fields)


@dataclass(frozen=True, slots=True)
class Form:
    """`endpoint` is given what `reads` makes of the fields; `leads` says where the browser goes then, or what it is shown where
    that can be shown but once. `view`: its page."""

    endpoint: PeopleEndpoint
    view: View
    leads: Leads
    reads: Callable[[Fields], JsonObject] = as_they_are

    async def __call__(self, office: Office, guest: Guest) -> Answer:
        try:
            body = self.reads(guest.call.body)
            done = await self.endpoint(office, replace(guest, call=replace(guest.call, body=body)))
        except _SHOWN as error:
            if isinstance(error, ObjectNotFound) or (isinstance(error, NotSignedIn) and guest.who is not None):
                raise
            return await self.view.refused(office, guest, error)
        led = self.leads(guest, done)
        answer = see_other(led) if isinstance(led, str) else led
        kept = {name: value for name, value in done.headers.items() if name == "set-cookie"}
        return replace(answer, headers={**answer.headers, **kept})


def to(path: str) -> Leads:
    """Always there."""
    return lambda _guest, _answer: path


def own(endpoint: HostedEndpoint) -> PeopleEndpoint:
    """An endpoint of keys, for a person's account: as if a key of it asked."""

    async def asked(office: Office, guest: Guest) -> Answer:
        return await endpoint(office.desk, with_tenant(guest))

    return asked


async def told(endpoint: PeopleEndpoint, office: Office, guest: Guest, **query: str) -> Any:
    """What an endpoint of the API answers to `query`, of which what is empty is not asked."""
    asked = {name: text for name, text in query.items() if text}
    return (await endpoint(office, replace(guest, call=replace(guest.call, query=asked)))).body


def asked(guest: Guest, *names: str) -> dict[str, str]:
    """Of the page's own query."""
    return {name: guest.call.query.get(name, "") for name in names}
