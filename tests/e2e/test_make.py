"""`make run`, as a newcomer types it: the example is ranked, then the server answers, and a signal ends it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answer(url: str, body: bytes | None = None, seconds: float = 120.0) -> bytes:
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as reply:
                content: bytes = reply.read()
                return content
        except OSError:
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.2)


@pytest.mark.nano
def test_make_run_ranks_the_example_and_then_serves(nano_folder: Path, tmp_path: Path) -> None:
    port = free_port()
    gigarank = Path(sys.executable).with_name("gigarank")
    command = ["make", "--no-print-directory", "--assume-old=.venv/installed", "run", f"GIGARANK={gigarank}"]
    env = {**os.environ, "GIGARANK_PORT": str(port), "GIGARANK_STATE_DIR": str(tmp_path)}
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as made:
        try:
            answer(f"http://127.0.0.1:{port}/ready")
            question = json.dumps({"query": "what do plants eat", "documents": ["light", "stones"]}).encode()
            ranked = json.loads(answer(f"http://127.0.0.1:{port}/v1/rerank", question))
        finally:
            os.killpg(made.pid, signal.SIGTERM)
        printed, said = made.communicate(timeout=60)
    assert len(ranked["results"]) == 2 and ranked["model"] == "nano"
    assert printed.splitlines()[1].startswith("1\t")  # behind the folder of the model
    assert f"serving nano at http://127.0.0.1:{port}" in said
    assert "Traceback" not in said


def test_the_server_is_installed_with_the_base_run() -> None:
    setup = (ROOT / "scripts" / "setup").read_text(encoding="utf-8")
    assert '-e ".[${extra:-serve}]"' in setup
