"""What a result was made with: the code, the packages, the machine's clock, and one hash over what the scores depend on.

Knows the program's own files and git; measures nothing. Invariant: two runs that could give other scores have other keys.
"""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gigarank
from gigarank.engine import fusion
from gigarank.evaluation import metrics, significance
from gigarank.evaluation.store import Provenance
from gigarank.types import Numerics

PACKAGES = ("gigarank", "torch", "tokenizers", "safetensors", "numpy", "bm25s", "usearch", "pytrec-eval-terrier", "mteb")
SCORING = ("gigarank", "torch", "tokenizers", "safetensors", "numpy")
"""Those of PACKAGES that compute a score; the others compute candidates and figures."""

MACHINE = ("cpu", "cpu_capability", "gpu")
"""What of a machine's description its arithmetic depends on."""

_GIT_SECONDS = 10


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe(machine: dict[str, Any], started: str) -> Provenance:
    """The provenance of a task that ends now. `machine` is the caller's description of where it ran."""
    return Provenance(gigarank.__version__, commit(), packages(), machine, started, now())


@cache
def packages() -> dict[str, str]:
    """Python and each package that a result depends on, where it is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str | None:
    """The commit of the checkout that gigarank runs from, "+changed" where its files differ from it; None without one."""
    folder = Path(gigarank.__file__).parent
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    head = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", ".")
    return None if head is None else head + ("+changed" if changed else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=_GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def numerics_of(numerics: Numerics, max_pair_tokens: int) -> dict[str, Any]:
    """How the model computes, as far as scores depend on it."""
    return {
        "device": numerics.device,
        "dtype": numerics.dtype,
        "linear": numerics.linear,
        "attention": numerics.attention,
        "deterministic": numerics.deterministic,
        "tolerance": numerics.tolerance,
        "max_pair_tokens": max_pair_tokens,
    }


def scored_by(machine: Mapping[str, Any]) -> list[Any]:
    """The program, the packages and the arithmetic that scores come from. The commit is noted in a result, not asked for."""
    found = packages()
    return [gigarank.__version__, [found.get(name) for name in SCORING], [machine.get(name) for name in MACHINE]]


@cache
def metrics_version() -> str:
    """A hash over the code that turns scores into figures, and the packages around it."""
    digest = hashlib.sha256(repr(sorted(packages().items())).encode())
    files = [Path(str(module.__file__)) for module in (fusion, metrics, significance)]
    for file in (*files, Path(__file__).with_name("figures.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
