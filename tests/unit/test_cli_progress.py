"""Progress: a bar with the time left on a terminal, once the work is long, and not a byte elsewhere."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import TextIO

import pytest

from gigarank.cli.progress import Bar, CountBar, DownloadBar, waiting

ERASED = "\x1b[1A\x1b[2K"  # up to the bar's line, and that line cleared


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Screen:
    """A pseudo-terminal that stands as standard error; `read` takes what was drawn so far."""

    controller: int
    stream: TextIO

    def read(self) -> str:
        self.stream.flush()
        os.set_blocking(self.controller, False)
        drawn = b""
        try:
            while chunk := os.read(self.controller, 65_536):
                drawn += chunk
        except BlockingIOError:
            pass
        return drawn.decode()


@pytest.fixture(autouse=True)
def terminal_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


@contextmanager
def terminal() -> Iterator[Screen]:
    controller, descriptor = os.openpty()
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream, redirect_stderr(stream):
        yield Screen(controller, stream)
    os.close(controller)


def test_long_work_shows_what_how_far_and_the_time_left() -> None:
    clock = Clock()
    with terminal() as screen, CountBar("ranking", clock=clock) as bar:
        clock.now = 1.5
        bar(10, 40)
        drawn = screen.read()
    assert "ranking" in drawn and "10/40" in drawn
    assert "-:--:--" in drawn  # no estimate from one step


def test_short_work_shows_nothing() -> None:
    clock = Clock()
    with terminal() as screen, CountBar("ranking", clock=clock) as bar:
        clock.now = 0.9
        bar(10, 40)
        clock.now = 5.0
        bar(40, 40)
        assert screen.read() == ""


def test_the_bar_is_gone_when_the_work_is_done() -> None:
    with terminal() as screen:
        with CountBar("ranking", delay_seconds=-1.0) as bar:
            bar(10, 40)
            bar(40, 40)
        assert screen.read().endswith(ERASED)


def test_the_bar_is_gone_when_the_work_fails() -> None:
    with terminal() as screen:
        with pytest.raises(RuntimeError), CountBar("ranking", delay_seconds=-1.0) as bar:
            bar(10, 40)
            raise RuntimeError
        assert screen.read().endswith(ERASED)


def test_a_download_has_a_bar_for_each_file() -> None:
    with terminal() as screen:
        with DownloadBar(delay_seconds=-1.0) as bar:
            bar("config.json", 500, 1_000)
            bar("model.safetensors", 1_000_000, 90_000_000)
            bar("model.safetensors", 45_000_000, 90_000_000)
        drawn = screen.read()
    assert "config.json" in drawn and "0.5/1.0 kB" in drawn
    assert "model.safetensors" in drawn and "45.0/90.0 MB" in drawn


def test_waiting_says_what_for() -> None:
    with terminal() as screen:
        with waiting("loading nano"):
            pass
        assert "loading nano" in screen.read()


@pytest.mark.parametrize("bar", [CountBar("ranking", delay_seconds=-1.0), Bar(delay_seconds=-1.0)])
def test_nothing_is_drawn_where_standard_error_is_no_terminal(bar: Bar, capfd: pytest.CaptureFixture[str]) -> None:
    with bar, waiting("loading"):
        bar.show("ranking", 1, 2)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
