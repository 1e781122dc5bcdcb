"""A blocking call beside the event loop, in a thread that never keeps the process from ending.

Knows nothing of what it runs. Invariant: whoever waits may stop waiting at any time; the call then ends by itself, or with
the process.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def aside(call: Callable[[], T]) -> T:
    """What `call` returns or raises. A pool's threads are waited for when the process ends; this one is not."""
    future: Future[T] = Future()
    threading.Thread(target=_run, args=(call, future), name="gigarank-aside", daemon=True).start()
    return await asyncio.wrap_future(future)


def _run(call: Callable[[], T], future: Future[T]) -> None:
    with contextlib.ExitStack() as ended:
        ended.push(lambda _kind, error, _trace: _failed(future, error))
        result = call()
        if future.set_running_or_notify_cancel():
            future.set_result(result)


def _failed(future: Future[T], error: BaseException | None) -> bool:
    if error is not None and future.set_running_or_notify_cancel():
        future.set_exception(error)
    return True
