"""Work that a server does for as long as it runs: whatever fails of it is logged, and the rest goes on.

Knows no work. Invariants: no error of a try gets out of `attempt`, and what ends a task or the process does; what `whole` began
has ended when it ends.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from gigarank.errors import DatabaseUnavailable
from gigarank.service.http.logs import where

_LOG = logging.getLogger(__name__)
T = TypeVar("T")


async def attempt(what: str, work: Coroutine[Any, Any, object], usual: tuple[type[Exception], ...] = ()) -> bool:
    """False where it failed, which is logged with its place; a database that does not answer said so itself, and what is
    `usual` needs no word. Whoever is cancelled meanwhile is cancelled once `work` has ended."""
    (failure,) = await asyncio.gather(work, return_exceptions=True)
    if not isinstance(failure, BaseException):
        return True
    if not isinstance(failure, Exception):
        raise failure
    if not isinstance(failure, (DatabaseUnavailable, *usual)):
        _LOG.error("%s failed, at %s", what, where(failure))
    return False


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """What it gives. Whoever is cancelled meanwhile is cancelled once it has ended, done or not: a transaction goes on whoever
    waits for it, and what it claims would be claimed after it was given back."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
