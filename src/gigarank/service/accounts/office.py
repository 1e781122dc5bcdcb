"""What the endpoints of people work at, and who stands before them.

Values only. Invariant: an Office exists only where a server keeps accounts; a Guest whose route asks for a person has one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from gigarank.errors import NotSignedIn
from gigarank.service.accounts.attempts import Attempts, client_of
from gigarank.service.accounts.oidc import Client
from gigarank.service.accounts.passwords import Passwords
from gigarank.service.accounts.sessions import Device, Person
from gigarank.service.accounts.signing import Entry
from gigarank.service.call import Answer, Call
from gigarank.service.credits import free
from gigarank.service.desk import Desk
from gigarank.service.mail.service import Post


@dataclass(frozen=True, slots=True)
class Office:
    """`letters` is set when one was left, for whoever delivers them."""

    desk: Desk
    passwords: Passwords
    attempts: Attempts
    post: Post
    letters: asyncio.Event
    free_micros: int
    oidc: Client

    def welcome(self, connection: Connection, account_id: str) -> bool:
        """The free credit of an account whose address was verified a moment ago, if it never had any."""
        return free.give(connection, self.desk.secrets, account_id, self.free_micros, self.now)

    @property
    def now(self) -> int:
        return self.desk.now

    @property
    def secure(self) -> bool:
        """Whether people come by https."""
        return self.post.site.startswith("https://")


@dataclass(frozen=True, slots=True)
class Guest:
    """`token`: the session cookie's, "" without one."""

    call: Call
    token: str
    who: Person | None = None

    @property
    def person(self) -> Person:
        if self.who is None:
            raise NotSignedIn("sign in first", param="cookie")
        return self.who

    @property
    def client(self) -> str:
        return client_of(self.call)

    @property
    def entry(self) -> Entry:
        return Entry(Device(self.call.headers.get("user-agent", ""), self.client), self.token)


PeopleEndpoint = Callable[[Office, Guest], Awaitable[Answer]]
PeopleEndpoints = Mapping[str, PeopleEndpoint]
"""By their names in people_routes.py."""
