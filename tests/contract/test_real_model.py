"""The same client packages against `gigarank serve` itself, with a small model of random weights behind it."""

import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO, cast

import pytest

from contract.conftest import KEY, stopped
from contract.environments import GROUPS, Outcome, ask
from gigarank.bench.checkpoint import write_checkpoint
from gigarank.prompt import QWEN3_V1
from hosting import SHAPE

pytestmark = pytest.mark.contract

FEWEST = {"cohere5": 9, "haystack": 5, "langchain": 5, "litellm": 15, "llama_index": 7, "sdks": 17}
"""Every client ranks, and those that can pass an instruction on."""


def served(model: Path, state: Path, *keys: str) -> tuple[subprocess.Popen[str], str]:
    """`gigarank serve` once the model is ready, and its address."""
    options = [word for key in keys for word in ("--api-key", key)]
    command = [str(Path(sys.executable).with_name("gigarank")), "serve", "--port", "0", "--model", f"small={model}", *options]
    known = {name: value for name, value in os.environ.items() if not name.startswith("GIGARANK_")}
    process = subprocess.Popen(
        command, env={**known, "GIGARANK_STATE_DIR": str(state)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    log = cast(TextIO, process.stderr)
    first = log.readline()
    if " at http://" not in first:
        pytest.fail(f"the server did not start: {first}{process.communicate(timeout=10)[1][-1_500:]}")
    address = "http://" + first.split(" at http://")[1].split()[0]
    threading.Thread(target=log.read, daemon=True).start()
    end = time.monotonic() + 60.0
    while not is_ready(address):
        assert time.monotonic() < end, "the model was not ready in a minute"
        time.sleep(0.1)
    return process, address


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/ready", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Of a server that asks for KEY, and of one that is open."""
    model = tmp_path_factory.mktemp("model")
    write_checkpoint(model, SHAPE, QWEN3_V1, 1)
    keyed, address = served(model, tmp_path_factory.mktemp("state"), KEY)
    unkeyed, open_address = served(model, tmp_path_factory.mktemp("state"))
    yield address, open_address
    stopped(keyed)
    stopped(unkeyed)


@pytest.fixture(scope="module")
def outcomes(installed: Callable[[str], None], addresses: tuple[str, str]) -> Callable[[str], list[Outcome]]:
    def of(group: str) -> list[Outcome]:
        installed(group)
        names = {"GIGARANK_URL": addresses[0], "GIGARANK_OPEN_URL": addresses[1], "GIGARANK_API_KEY": KEY}
        return ask(group, {**names, "GIGARANK_MODEL": "small", "GIGARANK_CHECKS": "ranks instruction"})

    return of


@pytest.mark.parametrize("group", GROUPS)
def test_every_client_ranks_with_a_model(outcomes: Callable[[str], list[Outcome]], group: str) -> None:
    found = outcomes(group)
    wrong = [f"{outcome.client} | {outcome.check}: {outcome.error}" for outcome in found if outcome.error is not None]
    assert not wrong, "\n".join(wrong)
    assert len(found) >= FEWEST[group]
