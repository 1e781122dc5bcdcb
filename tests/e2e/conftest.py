"""End to end: the program itself in its own process, as a shell starts it, with real pipes, signals and terminals.

`gigarank` is the installed console script; `overlap` is the same program with a stand-in for the model (overlap.py).
"""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from os import environ
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from browsing import chromium, opened
from houses import Server
from stands import Stand, stand_in

Program = Callable[..., subprocess.CompletedProcess[str]]

OVERLAP = [sys.executable, str(Path(__file__).with_name("overlap.py"))]
GIGARANK = [sys.executable, "-c", "import sys; from gigarank.cli import main; sys.exit(main())"]


def _program(command: list[str]) -> Program:
    def run(*arguments: str, stdin: str | bytes = "", env: Mapping[str, str] | None = None) -> object:
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [*command, *arguments], input=raw, capture_output=True, timeout=120, env={**environ, **(env or {})}, check=False
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run  # type: ignore[return-value]


@pytest.fixture(scope="session")
def overlap() -> Program:
    return _program(OVERLAP)


@pytest.fixture(scope="session")
def gigarank() -> Program:
    return _program(GIGARANK)


@pytest.fixture(scope="session")
def overlap_command() -> list[str]:
    """For tests that need the process itself: its signals, its terminal, its closed pipes."""
    return OVERLAP


@pytest.fixture(scope="session")
def gigarank_command() -> list[str]:
    return GIGARANK


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Of a module: as long as it is open Playwright runs an event loop on this thread, and nobody else can."""
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with opened(browser) as made:
        yield made


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand_in(tmp_path_factory.mktemp("stand")) as made:
        yield made


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Those that a test has started are added by it, and end with it."""
    running: list[Server] = []
    yield running
    for server in running:
        server.end(signal.SIGKILL)
