"""The scripts that a newcomer runs first: what they say where something is missing, and what they leave out when asked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def run(*command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTHON")}
    return subprocess.run(
        command, env={**known, "PATH": PROGRAMS, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.fixture
def setup_script(tmp_path: Path) -> Path:
    """scripts/setup in a tree of its own, so that nothing is installed here."""
    (tmp_path / "scripts").mkdir()
    return Path(shutil.copy(ROOT / "scripts" / "setup", tmp_path / "scripts" / "setup"))


def stand_in(path: Path, body: str) -> str:
    """An interpreter that answers as told: `$2` is the code that it is given behind -c."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_setup_refuses_an_old_python_and_says_what_it_found(setup_script: Path) -> None:
    old = stand_in(setup_script.parent / "python3.9", 'case "$2" in *exit*) exit 1;; *) printf " 3.9";; esac')
    done = run(setup_script, PYTHON=old)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "gigarank needs Python 3.11 or newer; found: 3.9. Install one, or name it: PYTHON=/path/to/python make run"
    ]
    assert not (setup_script.parents[1] / ".venv").exists()


def test_setup_says_so_where_there_is_no_python(setup_script: Path) -> None:
    done = run(setup_script, PYTHON="no-such-python")
    assert done.returncode == 1
    assert "found: none" in done.stderr


def test_setup_names_the_package_that_brings_venv(setup_script: Path) -> None:
    bare = stand_in(setup_script.parent / "python3", 'case "$2" in *venv*) exit 1;; *) exit 0;; esac')
    done = run(setup_script, PYTHON=bare)
    assert done.returncode == 1
    assert done.stderr == f"{bare} has no venv module; on Debian and Ubuntu: apt install python3-venv\n"


@pytest.mark.slow
def test_setup_reports_an_installation_that_failed_and_leaves_no_stamp(setup_script: Path) -> None:
    done = run(setup_script, PYTHON=sys.executable)  # there is no pyproject.toml beside it
    assert done.returncode == 1
    assert done.stderr.endswith(
        "the installation did not finish: pip's lines above say why; run the same command to try again\n"
    )
    assert not (setup_script.parents[1] / ".venv" / "installed").exists()


def collected(*arguments: str) -> str:
    done = run(ROOT / "scripts" / "test", "--collect-only", "-q", *arguments, str(ROOT / "tests/unit/test_gemm_script.py"))
    return done.stdout


def test_quick_leaves_out_slow_tests_and_hands_on_what_pytest_takes() -> None:
    assert "2 tests collected" in collected()
    assert "2 deselected" in collected("--quick")
    assert "2 deselected" in collected("-k", "nothing_like_it")


@pytest.mark.slow
@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_where_nano_cannot_be_had_its_tests_are_skipped_but_not_in_ci(tmp_path: Path, ci: str, outcome: str) -> None:
    nowhere = {"GIGARANK_CACHE": str(tmp_path), "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1"}
    tests = str(ROOT / "tests" / "docs" / "test_examples.py")
    done = run(ROOT / "scripts" / "test", tests, "-k", "python_blocks and exactness", CI=ci, **nowhere)
    assert outcome in done.stdout.splitlines()[-1]
    assert "nano is not on this machine and could not be brought" in done.stdout
    assert done.returncode == (1 if ci else 0)
