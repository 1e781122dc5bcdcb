"""The programs of examples/clients/, which docs/clients.md shows, run with the real packages against a server process."""

import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from contract.conftest import KEY
from contract.environments import ROOT, NotInstalledError, python_of

pytestmark = pytest.mark.contract

CLIENTS = ROOT / "examples" / "clients"
GROUP_OF = {
    "cohere": "sdks",
    "haystack": "haystack",
    "langchain": "langchain",
    "litellm": "litellm",
    "llama": "llama_index",
    "rerankers": "cohere5",
}
"""By a file's first word; all others are in `sdks`."""
RANKINGS = {"litellm_rerank.py": 3, "litellm_providers_rerank.py": 10}
"""Programs that rank more than once."""
BEST = "Plants turn sunlight into sugar."
PROGRAMS = sorted(path.name for path in CLIENTS.glob("*.py"))


@pytest.fixture(scope="module")
def interpreter() -> Callable[[str], Path]:
    @cache
    def of(group: str) -> Path:
        try:
            return python_of(group)
        except NotInstalledError as error:
            if os.environ.get("CI") == "true":
                pytest.fail(str(error))
            pytest.skip(f"no package index, and not installed before: {error}")

    return of


def run(command: list[str], address: str, key: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GIGARANK_"))}
    env = {**known, "GIGARANK_URL": address, "GIGARANK_API_KEY": key, "NO_PROXY": "*"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_quickstart_prints_the_right_document_first(
    interpreter: Callable[[str], Path], keyed: str, unkeyed: str, name: str
) -> None:
    python = interpreter(GROUP_OF.get(name.split("_", maxsplit=1)[0], "sdks"))
    address = unkeyed if "xinference" in name else keyed  # that client sends no key
    done = run([str(python), "-W", "ignore", str(CLIENTS / name)], address, KEY)
    assert done.returncode == 0, done.stderr[-1_500:]
    lines = done.stdout.splitlines()
    scores = [float(line.split("  ", 1)[0]) for line in lines]
    assert len(lines) == 3 * RANKINGS.get(name, 1)
    assert all(line.endswith(BEST) for line in lines[::3])
    assert all(
        scores[first : first + 3] == sorted(scores[first : first + 3], reverse=True) for first in range(0, len(lines), 3)
    )


def test_curl_gets_the_right_document_first_and_fails_without_the_key(keyed: str) -> None:
    done = run(["bash", str(CLIENTS / "curl.sh")], keyed, KEY)
    assert done.returncode == 0, done.stderr
    assert '"results":[{"index":1,' in done.stdout.replace(" ", "")
    refused = run(["bash", str(CLIENTS / "curl.sh")], keyed, "gr-wrong")
    assert refused.returncode != 0
    assert "invalid_api_key" in refused.stdout


def test_a_quickstart_is_short_and_a_wrong_key_ends_it(interpreter: Callable[[str], Path], keyed: str) -> None:
    assert len(PROGRAMS) >= 29
    for name in PROGRAMS:
        assert len((CLIENTS / name).read_text(encoding="utf-8").splitlines()) <= 20, name
    done = run([str(interpreter("sdks")), str(CLIENTS / "cohere_v2_rerank.py")], keyed, "gr-wrong")
    assert done.returncode != 0
    assert "401" in done.stderr
