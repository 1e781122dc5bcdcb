"""An environment of its own for every group of clients whose versions go together.

A group is a file in requirements/, pinned whole, and the script of the same name in clients/. Environments are kept in
.venv-contract/ of the repository (GIGARANK_CONTRACT_ENVIRONMENTS names another folder) for as long as the file is the same.
Knows no server.
"""

import ast
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GROUPS = tuple(sorted(path.stem for path in (HERE / "requirements").glob("*.txt")))


class NotInstalledError(Exception):
    """pip could not install a group; the message is what it said last."""


@dataclass(frozen=True)
class Outcome:
    """What one check of one client came to; `error` None where it went well."""

    client: str
    check: str
    error: str | None
    seconds: float


def folder() -> Path:
    return Path(os.environ.get("GIGARANK_CONTRACT_ENVIRONMENTS", ROOT / ".venv-contract"))


def python_of(group: str) -> Path:
    """The group's interpreter; makes the environment where it is not there or the requirements have changed.

    One process at a time makes a group's: the tests run in several, and `clear` takes away what another has half made.
    """
    requirements = HERE / "requirements" / f"{group}.txt"
    place, digest = folder() / group, hashlib.sha256(requirements.read_bytes()).hexdigest()
    python, stamp = place / "bin" / "python", place / "requirements.sha256"
    folder().mkdir(parents=True, exist_ok=True)
    with (folder() / f"{group}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text() == digest:
            return python
        venv.create(place, clear=True)
        command = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install"]
        command += ["--quiet", "--no-compile", "--no-deps"]
        done = subprocess.run([*command, "-r", str(requirements)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotInstalledError(f"{group}: {done.stderr.strip()[-600:]}")
        stamp.write_text(digest)
    return python


def prepare(groups: Iterable[str]) -> dict[str, str]:
    """Makes all environments, as many at a time as there are processors: pip itself uses one. Returns why some could not be."""

    def attempt(group: str) -> tuple[str, str]:
        try:
            python_of(group)
        except NotInstalledError as error:
            return group, str(error)
        return group, ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {group: reason for group, reason in pool.map(attempt, groups) if reason}


def ask(group: str, environment: dict[str, str], timeout_s: float = 240.0) -> list[Outcome]:
    """Runs the group's checks against the server that `environment` names."""
    script = HERE / "clients" / f"with_{group}.py"
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GIGARANK_"))}
    done = subprocess.run(
        [python_of(group), "-W", "ignore", script],
        env={**known, **environment, "PYTHONDONTWRITEBYTECODE": "", "NO_PROXY": "*", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    found = [Outcome(**json.loads(line)) for line in done.stdout.splitlines() if line.startswith('{"client"')]
    if done.returncode != 0:
        found.append(Outcome(group, "ends well", f"status {done.returncode}: {done.stderr.strip()[-1_500:]}", 0.0))
    return found


def packages_of(group: str) -> dict[str, str]:
    """Names and versions that the group pins."""
    lines = (HERE / "requirements" / f"{group}.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def imported_by(group: str) -> set[str]:
    """The top-level modules that the group's script imports."""
    tree = ast.parse((HERE / "clients" / f"with_{group}.py").read_text(encoding="utf-8"))
    plain = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    return {name.split(".")[0] for name in plain} - set(sys.stdlib_module_names)
