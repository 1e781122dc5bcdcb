"""Client packages as they are published, unmodified, against a server process on loopback.

The checks stand in clients/ and run in the clients' own environments (environments.py); here every one of them is a test.
`scripts/contract` runs these alone and prints the table.
"""

import ast
import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from contract.conftest import KEY
from contract.environments import GROUPS, HERE, Outcome, ask, imported_by, packages_of

pytestmark = pytest.mark.contract

FEWEST = {"cohere5": 20, "haystack": 15, "langchain": 15, "litellm": 60, "llama_index": 25, "sdks": 80}
"""How many checks a group has at least: a script that ends early is not one that passes."""


@pytest.fixture(scope="module")
def asked(installed: Callable[[str], None], keyed: str, unkeyed: str) -> Callable[[str], list[Outcome]]:
    """What a group's checks came to."""

    @cache
    def outcomes(group: str) -> list[Outcome]:
        installed(group)
        names = {"GIGARANK_URL": keyed, "GIGARANK_OPEN_URL": unkeyed, "GIGARANK_API_KEY": KEY, "GIGARANK_MODEL": "fake"}
        return ask(group, names)

    return outcomes


@pytest.mark.parametrize("group", GROUPS)
def test_every_check_of_a_group(
    asked: Callable[[str], list[Outcome]], group: str, record_property: Callable[[str, object], None]
) -> None:
    outcomes = asked(group)
    for outcome in outcomes:
        record_property(f"{outcome.client} | {outcome.check}", outcome.error or "ok")
    wrong = [f"{outcome.client} | {outcome.check}: {outcome.error}" for outcome in outcomes if outcome.error is not None]
    assert not wrong, "\n".join(wrong)
    assert len(outcomes) >= FEWEST[group]


def test_a_check_that_goes_wrong_is_told(keyed: str, tmp_path: Path) -> None:
    """Against this test: a client that ranks the other way round, and one whose key is refused, fail their checks."""
    script = tmp_path / "with_wrong.py"
    script.write_text(
        "from battery import Ask, Client, alone, plain, run\n"
        "def reverse(ask): return alone(ask, 'relevance_score')[::-1]\n"
        "def refused(ask): return plain('/v1/rerank', {'query': 'q', 'documents': ['d']}, 'gr-wrong')\n"
        "run([Client('reverse', reverse), Client('refused', refused, top_n=False)])\n"
    )
    names = {"GIGARANK_URL": keyed, "GIGARANK_API_KEY": KEY, "GIGARANK_MODEL": "fake"}
    environment = {**os.environ, **names, "PYTHONPATH": str(HERE / "clients")}
    done = subprocess.run(["python3", script], env=environment, capture_output=True, text=True, check=True)
    first, second, third = done.stdout.splitlines()
    assert "order" in first
    assert "reverse" in second
    assert "401" in third


def test_no_group_brings_torch() -> None:
    """An environment of a client takes seconds; one with torch would take the time of the whole suite."""
    assert not [group for group in GROUPS if {"torch", "transformers"} & set(packages_of(group))]


def test_every_group_has_its_script_and_pins_what_it_imports() -> None:
    assert {path.stem.removeprefix("with_") for path in (HERE / "clients").glob("with_*.py")} == set(GROUPS) == set(FEWEST)
    for group in GROUPS:
        pinned = {name.lower().replace("-", "_") for name in packages_of(group)} | {"battery"}
        assert imported_by(group) <= pinned, group


def test_checks_patch_nothing() -> None:
    """The packages are used as they are: no script assigns to another module's functions."""
    for path in (HERE / "clients").glob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)}
        assert not names & {"monkeypatch", "mock", "setattr", "respx", "responses"}, path.name
