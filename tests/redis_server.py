"""A real Redis for tests, on a socket of its own; where there is none, what needs it is skipped, and in CI fails."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "redis"


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Its address, as rate_limit_url takes it."""
    found = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    if found.returncode:
        reason = found.stderr.strip()
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    socket = folder / "s"
    kept = ("--save", "", "--appendonly", "no", "--dir", str(folder))
    command = [found.stdout.strip(), "--port", "0", "--unixsocket", str(socket), *kept]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20.0
        while not socket.exists():
            assert server.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        yield f"redis+unix://{socket}"
    finally:
        server.terminate()
        server.wait()
