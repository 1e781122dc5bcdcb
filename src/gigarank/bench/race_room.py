"""Where a contestant of the race lives: an environment of its own, and a process that is asked in lines of JSON.

An environment sees the packages of this one behind its own, so that torch is not there twice. Knows pip and pipes; no scores.
Invariant: whatever goes wrong with a contestant is one PeerFailed that says what, and its process is gone.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import gigarank

INSTALL_S, LOAD_S = 7_200.0, 1_800.0
_MOST_REASON = 300  # characters


class PeerFailed(Exception):  # noqa: N818 - a contestant's end, which the race goes on without
    """A contestant cannot be set up, or has stopped answering; the message says why."""


def environment(place: Path, name: str, requirements: Sequence[str], without: Sequence[str] = ()) -> Path:
    """The interpreter of the environment `name` below `place`, made where it is missing; this one's where nothing is required.
    `without`: packages that the requirements ask for and the contestant does not use. Raises PeerFailed, also for what would
    bring another torch or CUDA."""
    if not requirements:
        return Path(sys.executable)
    folder = place / name
    wanted = "\n".join([*requirements, *(f"without {package}" for package in without)])
    python, stamp = folder / "bin" / "python", folder / "installed"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    _called([sys.executable, "-m", "venv", str(folder)])
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    (Path(paths["purelib"]) / "behind.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    found = chosen(json.loads(_called([*pip, "--dry-run", "--report", "-", *requirements])), without)
    refuse_large(found)
    if found:
        _called([*pip, "--no-deps", *(f"{package}=={version}" for package, version in found.items())])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def chosen(report: dict[str, Any], without: Sequence[str]) -> dict[str, str]:
    """The packages that pip's report of an installation lists, with their versions, without those that are not wanted."""
    listed = {str(one["metadata"]["name"]).lower(): str(one["metadata"]["version"]) for one in report["install"]}
    return {name: version for name, version in listed.items() if name not in without}


def refuse_large(names: Iterable[str]) -> None:
    """Raises PeerFailed where another torch, or CUDA's libraries, are among the packages."""
    large = [name for name in names if name in ("torch", "triton") or name.startswith(("nvidia-", "cuda-"))]
    if large:
        raise PeerFailed(
            f"would install {', '.join(large[:3])}{' and more' if large[3:] else ''}, gigabytes that a CPU has no use for"
        )


def _called(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=INSTALL_S)
    except subprocess.TimeoutExpired as error:
        raise PeerFailed(f"the installation took more than {INSTALL_S:g} s") from error
    if done.returncode:
        raise PeerFailed(f"the installation failed: {last_words(done.stderr) or f'exit code {done.returncode}'}")
    return done.stdout


def last_words(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_MOST_REASON] if lines else ""


class PeerProcess:
    """A contestant's process. `log` takes its standard error."""

    def __init__(self, command: Sequence[str], log: Path, threads: int) -> None:
        source = str(Path(gigarank.__file__).parents[1])
        known = {"PYTHONPATH": source, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        self._log = log
        with log.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **known},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # what it starts goes with it
            )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        """Its lines, and an empty one when there will be no more."""
        with self._process.stdout or os.fdopen(os.dup(0)) as out:
            for line in out:
                self._lines.put(line)
        self._lines.put("")

    def ask(self, question: dict[str, Any] | None, timeout_s: float) -> dict[str, Any]:
        """The next line's value, after `question` where there is one. Raises PeerFailed."""
        try:
            if question is not None and self._process.stdin is not None:
                self._process.stdin.write(json.dumps(question) + "\n")
                self._process.stdin.flush()
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty as error:
            self.close()
            raise PeerFailed(f"no answer within {timeout_s:g} s") from error
        except (OSError, ValueError):  # it has ended, or was closed, and why stands in its log
            line = ""
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError as error:
            self.close()
            said = last_words(self._log.read_text(encoding="utf-8", errors="replace"))
            raise PeerFailed(said or f"ended with code {self._process.returncode}, and said nothing") from error
        return answer

    def close(self) -> None:
        """Ends the process and what it started."""
        if self._process.returncode is None:  # not waited for yet, so its number is nobody else's
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stdin is not None:
            with suppress(OSError):  # what it was not told yet, it need not know
                self._process.stdin.close()
