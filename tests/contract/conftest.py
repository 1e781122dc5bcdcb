"""Tests of this kind let other people's software ask a real server on loopback: client packages as they are published, each
in an environment of its own, and bodies as products send them."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO, cast

import pytest

from contract.environments import GROUPS, prepare

KEY = "gr-contract-key"
STAND = Path(__file__).parent / "stand.py"


def started(*keys: str) -> tuple[subprocess.Popen[str], str]:
    """A server process and its address."""
    process = subprocess.Popen(
        [sys.executable, STAND, *keys], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    address = cast(TextIO, process.stdout).readline().strip()
    if not address:
        _, said = process.communicate(timeout=10)
        pytest.fail(f"the server did not start: {said[-2_000:]}")
    threading.Thread(target=cast(TextIO, process.stderr).read, daemon=True).start()  # its log, so that the pipe never fills
    return process, address


def stopped(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


@pytest.fixture(scope="session")
def installed(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Makes the environments of all groups whose tests were chosen; then says of one that it is there, or ends the test."""
    parameters = [
        item.callspec.params
        for item in request.session.items
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
    ]
    missing = prepare(sorted({str(each["group"]) for each in parameters if each.get("group") in GROUPS}))

    def require(group: str) -> None:
        if group in missing and os.environ.get("CI") == "true":
            pytest.fail(missing[group])
        if group in missing:
            pytest.skip(f"no package index, and not installed before: {missing[group]}")

    return require


@pytest.fixture(scope="session")
def keyed() -> Iterator[str]:
    """The address of a server that asks for KEY."""
    process, address = started(KEY)
    yield address
    stopped(process)


@pytest.fixture(scope="session")
def unkeyed() -> Iterator[str]:
    """The address of a server that is open."""
    process, address = started()
    yield address
    stopped(process)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of clients and what they came to: with scripts/contract, or when one failed."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    table: dict[str, list[str]] = {}
    for report in reports:
        for name, came_to in getattr(report, "user_properties", ()):
            if " | " in name:
                client, check = name.split(" | ", 1)
                table.setdefault(client, []).append(check if came_to == "ok" else f"{check} FAILED")
    if table and terminalreporter.config.getoption("--table", default=False):
        terminalreporter.section("clients")
        for client, checks in table.items():
            verdict = "FAILED" if any(check.endswith("FAILED") for check in checks) else "ok"
            terminalreporter.line(f"{client:45} {verdict:6} {len(checks):3}  {', '.join(checks)}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", action="store_true", help="print what every client's checks came to")
