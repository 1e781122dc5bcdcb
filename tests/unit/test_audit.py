"""The dependency audit: what counts as found, and that nothing passes for audited that nobody looked at."""

import json
import runpy
import subprocess
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


def test_a_database_that_does_not_answer_in_time_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(command: list[str], **how: Any) -> None:
        raise subprocess.TimeoutExpired(command, how["timeout"])

    monkeypatch.setattr("subprocess.run", slow)
    assert main() == 0
    assert capsys.readouterr().out == "skipped: pip-audit had not looked everything up after 300 s\n"


def test_what_pip_audit_itself_writes_of_a_vulnerability_is_found() -> None:
    """Its own report, from its own values: where the database is reachable, this is what comes."""
    interface = pytest.importorskip("pip_audit._service.interface")
    written = pytest.importorskip("pip_audit._format.json")
    version = pytest.importorskip("packaging.version").Version
    hole = interface.VulnerabilityResult(id="PYSEC-9", description="", fix_versions=[version("2.1")], aliases=set())
    found = {
        interface.ResolvedDependency("holed", version("2.0")): [hole],
        interface.ResolvedDependency("fine", version("1.0")): [],
        interface.SkippedDependency("own", "not found"): [],
    }
    assert verdict(json.loads(written.JsonFormat(False, False).format(found, []))) == (1, ["holed 2.0: PYSEC-9, fixed in 2.1"])
