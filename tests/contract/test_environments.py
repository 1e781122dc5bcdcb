"""Environments that several processes want at once: the tests themselves run in several."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contract.environments import ROOT

pytestmark = pytest.mark.contract

MAKE = (
    "import pathlib, sys\n"
    "from contract import environments\n"
    "environments.HERE = pathlib.Path(sys.argv[1])\n"
    "print(environments.python_of('empty'))\n"
)
"""A group without packages: what is made is the environment alone, and no index is asked."""


def test_processes_that_want_one_environment_at_once_all_get_it_whole(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "empty.txt").write_text("# nothing\n")
    paths = {"PYTHONPATH": str(ROOT / "tests"), "GIGARANK_CONTRACT_ENVIRONMENTS": str(tmp_path / "made")}
    command = [sys.executable, "-c", MAKE, str(tmp_path)]
    makers = [
        subprocess.Popen(command, env={**os.environ, **paths}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [maker.communicate(timeout=120) for maker in makers]
    assert [maker.returncode for maker in makers] == [0] * 4, "\n".join(error for _, error in said)
    (python,) = {out.strip() for out, _ in said}
    assert subprocess.run([python, "-c", "print(1)"], capture_output=True, text=True, check=True).stdout == "1\n"
