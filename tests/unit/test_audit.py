"""The dependency audit: what counts as found, and that nothing passes for audited that nobody looked at."""

import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "audit.py"))
verdict, main = SCRIPT["verdict"], SCRIPT["main"]

FINE = {"name": "fine", "version": "1.0", "vulns": []}
UNKNOWN = {"name": "own", "version": "2.0", "skip_reason": "Dependency not found on PyPI and could not be audited: own (2.0)"}
HOLED = {"name": "holed", "version": "3.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1", "4.0"]}, {"id": "PYSEC-2"}]}


def report(*packages: dict[str, Any]) -> dict[str, Any]:
    return {"dependencies": list(packages), "fixes": []}


def test_a_vulnerability_fails_with_its_name_and_its_cure() -> None:
    assert verdict(report(FINE, UNKNOWN, HOLED)) == (
        1,
        ["holed 3.0: PYSEC-1, fixed in 3.1, 4.0", "holed 3.0: PYSEC-2, fixed in no version yet"],
    )


def test_what_was_looked_up_and_what_was_not_is_said() -> None:
    assert verdict(report(FINE, UNKNOWN)) == (0, ["1 packages without a known vulnerability", "not looked up: own"])
    assert verdict(report(FINE)) == (0, ["1 packages without a known vulnerability"])


def test_without_the_database_it_says_skipped() -> None:
    """pip-audit itself ends with 0 where it finds no package at all in its database."""
    assert verdict(report(UNKNOWN)) == (0, ["skipped: none of 1 packages could be looked up in the advisory database"])


def test_without_pip_audit_it_says_skipped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main() == 0
    assert capsys.readouterr().out == "skipped: pip-audit is not installed\n"
