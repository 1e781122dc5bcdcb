"""Progress on standard error: a bar for scoring, one for each file of a download, a spinner while a model loads.

Knows counts only. Invariant: nothing is drawn where standard error is no terminal, nor for work that ends within
the delay.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gigarank.cli.output import is_terminal

Clock = Callable[[], float]


class Bar:
    """Bars that appear once the work has taken `delay_seconds`, with the time left, and vanish at its end."""

    def __init__(self, *columns: ProgressColumn, delay_seconds: float = 1.0, clock: Clock = time.monotonic) -> None:
        self._columns = columns
        self._clock = clock
        self._shows_from = clock() + delay_seconds
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """`what` names the bar; a new name is a new bar."""
        if not is_terminal(sys.stderr) or (self._progress is None and self._is_early(done, total)):
            return
        progress = self._started()
        if what not in self._tasks:
            self._tasks[what] = progress.add_task(what, total=total, completed=done)
        else:
            progress.update(self._tasks[what], completed=done, total=total)

    def _is_early(self, done: int, total: int) -> bool:
        return done >= total or self._clock() < self._shows_from

    def _started(self) -> Progress:
        if self._progress is None:
            console = Console(stderr=True)
            self._progress = Progress(*self._columns, console=console, transient=True, refresh_per_second=4)
            self._progress.start()
        return self._progress


class CountBar(Bar):
    """One bar over pairs or texts; what an engine calls as its `progress`."""

    def __init__(self, what: str, *, delay_seconds: float = 1.0, clock: Clock = time.monotonic) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        super().__init__(*columns, delay_seconds=delay_seconds, clock=clock)
        self._what = what

    def __call__(self, done: int, total: int) -> None:
        self.show(self._what, done, total)


class DownloadBar(Bar):
    """Bars over bytes, one a file; what the store calls while it fetches."""

    def __init__(self, *, delay_seconds: float = 0.3, clock: Clock = time.monotonic) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        super().__init__(*columns, delay_seconds=delay_seconds, clock=clock)

    def __call__(self, what: str, done: int, total: int) -> None:
        self.show(what, done, total)


@contextmanager
def waiting(message: str) -> Iterator[None]:
    """Show that something without a count is under way."""
    if not is_terminal(sys.stderr):
        yield
        return
    with Console(stderr=True).status(message):
        yield
