"""The outbox: a letter is a row, written in the transaction of what it tells. Knows no SMTP.

Invariant: what is told has happened, and what has happened is told: both are committed or neither is.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from gigarank.service.ids import new_id
from gigarank.service.mail import repository

KEPT_S = 3 * 24 * 3_600
"""How long a letter is tried."""


@dataclass(frozen=True, slots=True)
class Letter:
    """Plain text. `life_s`: after so long it is of no use."""

    recipient: str
    subject: str
    body: str
    life_s: int = KEPT_S


@dataclass(frozen=True, slots=True)
class Post:
    """Where letters are left. `site` is what links begin with. A server that `sends` none writes none down."""

    site: str
    sends: bool

    def leave(self, connection: Connection, letter: Letter, now: int) -> None:
        if not self.sends:
            return
        values = {"recipient": letter.recipient, "subject": letter.subject, "body": letter.body}
        repository.add(connection, id=new_id("mail"), **values, next_try=now, expires=now + letter.life_s, created=now)
