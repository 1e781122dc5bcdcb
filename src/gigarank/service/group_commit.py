"""Transactions of one account, one after the other, and what waits meanwhile together in the next.

Whatever changes an account locks its row, so that several at once would only wait for each other, each with a thread, a
connection and a commit of its own. Knows no table. Invariants: what is committed together is of one account, so that no two
groups wait for each other; work that fails takes no other's with it.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from gigarank.errors import DatabaseUnavailable
from gigarank.service.db import Database, Work

_MOST = 64  # of one transaction: the first of them waits until the last is done
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Waiting:
    work: Work[Any]
    future: "Future[Any]" = field(default_factory=Future)


@dataclass(slots=True)
class _Telling:
    """What is raised in the block ends here, and `group` is told of it, if `whether`."""

    group: Sequence[_Waiting]
    whether: Callable[[BaseException], bool]

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if error is not None and self.whether(error):
            for one in self.group:
                one.future.set_exception(error)
        return True


class GroupCommit:
    """Thread-safe. Work may be done twice, if the transaction of its group is given up: nothing but rows may show that."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, deque[_Waiting]] = {}  # by account, while a thread sees to it
        self._lock = threading.Lock()

    def call(self, account_id: str, work: Work[T]) -> T:
        """What `work` gives, once it is committed; not to be called from a thread of the database's, nor from an event loop."""
        result: T = self._asked(account_id, work).result()
        return result

    async def run(self, account_id: str, work: Work[T]) -> T:
        """`call`, without holding up the event loop. Cancelling the caller does not undo what has begun."""
        result: T = await asyncio.wrap_future(self._asked(account_id, work))
        return result

    def _asked(self, account_id: str, work: Work[Any]) -> "Future[Any]":
        asked = _Waiting(work)
        with self._lock:
            if account_id not in self._waiting:
                self._database.submit(lambda: self._serve(account_id))
                self._waiting[account_id] = deque()
            self._waiting[account_id].append(asked)
        return asked.future

    def _serve(self, account_id: str) -> None:
        """One group; whoever else waits for a thread comes before the next. A database that closes does all at once."""
        while group := self._next(account_id):
            self._commit([one for one in group if one.future.set_running_or_notify_cancel()])
            if not self._some(account_id):
                return
            with suppress(RuntimeError):
                self._database.submit(lambda: self._serve(account_id))
                return

    def _next(self, account_id: str) -> Sequence[_Waiting]:
        with self._lock:
            waiting = self._waiting[account_id]
            return [waiting.popleft() for _ in range(min(len(waiting), _MOST))]

    def _some(self, account_id: str) -> bool:
        """Whether there is more; if not, the next one that asks gets a thread again."""
        with self._lock:
            if not self._waiting[account_id]:
                del self._waiting[account_id]
            return account_id in self._waiting

    def _commit(self, group: Sequence[_Waiting]) -> None:
        if len(group) > 1:
            self._together(group)
        for one in group:
            if not one.future.done():
                with _Telling([one], lambda _: True):
                    one.future.set_result(self._database.transaction(one.work))

    def _together(self, group: Sequence[_Waiting]) -> None:
        """Where one of them fails nothing is done and nobody is told: each is to be done alone. Not so where the database is
        silent, or it is the commit that fails, which may have happened."""
        worked = False

        def work(connection: Connection) -> list[Any]:
            nonlocal worked
            results = [one.work(connection) for one in group]
            worked = True
            return results

        with _Telling(group, lambda error: worked or isinstance(error, DatabaseUnavailable)):
            for one, result in zip(group, self._database.transaction(work), strict=True):
                one.future.set_result(result)
