"""The files that put a server on a machine: what systemd itself says of the unit, and what the image copies and starts."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from gigarank.service.configuration import CONFIG_VARIABLE, PREFIX, SETTINGS

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "gigarank.service"
KNOWN = {setting.variable for setting in SETTINGS} | {CONFIG_VARIABLE, "GIGARANK_CACHE"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """Its program is not installed here: another that is stands in for it."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/gigarank/bin/gigarank", "/bin/true"), "utf-8")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []
    assert done.returncode == 0


def test_systemd_asks_the_server_alone_to_end_and_not_the_replicas_that_it_still_needs() -> None:
    assert "\nKillMode=mixed\n" in UNIT.read_text("utf-8")


def test_every_variable_of_ours_is_one_that_is_read() -> None:
    for file in (UNIT, ROOT / "Dockerfile"):
        named = set(re.findall(rf"\b{PREFIX}[A-Z_]+", file.read_text("utf-8")))
        assert named and named <= KNOWN, file


def test_the_image_copies_only_what_is_there_and_starts_the_server() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    copied = [part for line in lines if line.startswith("COPY ") and "--from" not in line for part in line.split()[1:-1]]
    assert copied and all((ROOT / part).exists() for part in copied)
    started = [json.loads(line.partition(" ")[2]) for line in lines if line.startswith(("ENTRYPOINT", "CMD"))]
    assert started == [["gigarank"], ["serve"]]


def test_the_image_takes_the_torch_that_the_package_allows() -> None:
    """Another would be fetched a second time, with its CUDA libraries."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (wanted,) = [dependency for dependency in project["dependencies"] if dependency.startswith("torch")]
    assert f'RUN pip install "{wanted}" --index-url' in (ROOT / "Dockerfile").read_text("utf-8")
