"""Files and batches through the real openai package, key and credits through OpenRouter's, against a server with accounts."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.environments import HERE, python_of
from houses import House

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("group", ["sdks"])
def test_openai_s_files_and_batches_and_openrouter_s_key(group: str, installed: Callable[[str], None], tmp_path: Path) -> None:
    installed(group)
    house = House([sys.executable, "-m", "gigarank"], tmp_path / "state")
    keys = [
        house.admin("account", "create", "--email", email, "--grant-usd", "1.00")["api_key"]
        for email in ("a@example.org", "b@example.org")
    ]
    server = house.serve("--backend", "fake:0.01")
    try:
        server.wait_until_ready()
        names = {"GIGARANK_URL": server.url, "GIGARANK_API_KEY": keys[0], "GIGARANK_OTHER_KEY": keys[1], "NO_PROXY": "*"}
        known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GIGARANK_"))}
        command = [str(python_of(group)), "-W", "ignore", str(HERE / "clients" / "openai_batches.py")]
        done = subprocess.run(command, env={**known, **names}, capture_output=True, text=True, timeout=200, check=False)
    finally:
        server.end(signal.SIGTERM)
    assert done.stdout == "ok\n", done.stderr[-3_000:]
    assert house.admin("check")["sound"]
