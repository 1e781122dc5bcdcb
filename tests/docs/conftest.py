"""Tests of this kind run what the documentation shows: every fenced block of README.md and docs/, as a reader would."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

SERVE = "import sys; from gigarank.cli import main; sys.exit(main())"


@pytest.fixture(scope="session")
def served(nano_folder: Path) -> Iterator[str]:
    """The address of a `gigarank serve` with nano, for the pages that ask one."""
    command = [sys.executable, "-c", SERVE, "serve", "--model", "nano", "--port", "0", "--drain-delay-s", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stderr is not None
        address = next(word for word in process.stderr.readline().split() if word.startswith("http://"))
        reading = threading.Thread(target=process.stderr.read, daemon=True)  # its log, so that the pipe never fills
        reading.start()
        try:
            _until_ready(address)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=60)
            reading.join()


def _until_ready(address: str) -> None:
    for _ in range(1200):
        if httpx.get(f"{address}/ready", timeout=60.0).status_code == 200:
            return
        time.sleep(0.1)
    pytest.fail("the server did not become ready")
