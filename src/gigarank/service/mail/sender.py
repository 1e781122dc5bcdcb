"""Whoever delivers the outbox: takes the letter that is due, sends it, and forgets it or puts it off.

Knows no HTTP. Invariants: no two servers send a letter at the same time; a letter is deleted only once a mail server has taken
it, refused it for good, or it is of no use any more; none that cannot be sent keeps another back. A process that is killed
between the mail server's yes and its own deletion sends a letter twice, under one Message-ID.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import RowMapping

from gigarank.service.db import Database
from gigarank.service.http.logs import where
from gigarank.service.lasting import attempt, whole
from gigarank.service.mail import repository
from gigarank.service.mail.smtp import Outcome

HELD_S = 300
"""Longer than a mail server is waited for."""
_IDLE_S = 5.0  # until a server looks for what nobody told it
_FIRST_S, _LONGEST_S = 15, 3_600  # between two tries
_LOG = logging.getLogger(__name__)


class Transport(Protocol):
    def deliver(self, letter: RowMapping) -> tuple[Outcome, str]: ...


@dataclass(slots=True)
class MailSender:
    """`clock`: Unix seconds. `work` is set when a letter was left."""

    database: Database
    transport: Transport
    owner: str
    clock: Callable[[], float]
    work: asyncio.Event

    async def run(self) -> None:
        """Until it is cancelled; a letter that is on its way then is waited for."""
        while True:
            self.work.clear()
            if not await attempt("mail", self._turn()):
                await self._rest()

    async def _turn(self) -> None:
        if not await whole(self.step()):
            await self._rest()

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_S):  # wait_for would forget a cancellation that comes with the event
                await self.work.wait()

    async def step(self) -> bool:
        """Sends the letter that is due. False: none was."""
        now = int(self.clock())
        letter = await self.database.run(lambda one: repository.claim(one, self.owner, now, now + HELD_S))
        if letter is None:
            return False
        outcome, said = ("refused", "its time is over") if letter["expires"] <= now else await self._delivered(letter)
        if outcome != "sent":
            _LOG.warning("mail %s: %s: %s", letter["id"], "put off" if outcome == "later" else "given up", said)
        if outcome == "later":
            next_try = now + pause_s(letter["attempts"])
            await self.database.run(
                lambda one: repository.put_off(one, letter["id"], self.owner, letter["attempts"] + 1, next_try)
            )
            return True
        await self.database.run(lambda one: repository.remove(one, letter["id"], self.owner))
        return True

    async def _delivered(self, letter: RowMapping) -> tuple[Outcome, str]:
        """A letter that cannot be sent at all must not keep the others from it."""
        (said,) = await asyncio.gather(asyncio.to_thread(self.transport.deliver, letter), return_exceptions=True)
        if isinstance(said, Exception):
            return "later", f"it failed at {where(said)}"
        if isinstance(said, BaseException):
            raise said
        return said


def pause_s(attempts: int) -> int:
    """Twice as long each time, up to an hour."""
    return min(_LONGEST_S, _FIRST_S << min(attempts, 20))
