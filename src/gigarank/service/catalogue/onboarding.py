"""Onboarding that a server starts: `gigarank admin onboard` in a process of its own, which outlives the page and the server.

Knows processes and files of the state folder, and no database: what a step found is written there by the command. Invariants:
of one state folder one model at a time is onboarded, since steps take times; that one runs is a lock which its process holds,
and so true for every server of the machine, and false once it has ended, however it did.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gigarank.errors import InvalidInput
from gigarank.service.catalogue.steps import Plan, steps_of, words_of
from gigarank.service.configuration import PREFIX
from gigarank.service.settings import Settings

FOLDER = "onboarding"
PROGRAM = (sys.executable, "-m", "gigarank")
_PASSED = ("state_dir", "database_url", "key_secrets_file", "public_url", "smtp_url", "mail_from")
"""Settings that the command needs as the server has them: in its environment, since others may read a command line."""
_SAID = 20_000


@dataclass(frozen=True, slots=True)
class Running:
    """`process`: leader of its group. `since`: Unix seconds."""

    model: str
    process: int
    since: int


class Onboarding:
    """`folder`: its own, made when something is started. `program`: what is run."""

    def __init__(self, folder: Path, program: Sequence[str] = ()) -> None:
        self._folder = folder
        self._program = program or PROGRAM
        self._lock = folder / "running"

    @classmethod
    def of(cls, settings: Settings) -> "Onboarding":
        """Raises InvalidInput where nothing can be kept."""
        if not settings.state_dir:
            raise InvalidInput("model: nothing is onboarded by a server without state_dir", param="model", limit="state_dir")
        return cls(Path(settings.state_dir) / FOLDER)

    @property
    def results(self) -> str:
        return str(self._folder / "results")

    def start(self, plan: Plan, settings: Settings) -> Running:
        """Raises InvalidInput for a plan that misses something, and while a model is onboarded."""
        steps_of(plan)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _claimed(lock):
                busy = self.running()
                message = f"model: {busy.model if busy else 'one'} is being onboarded, and one at a time is; wait, or stop it"
                raise InvalidInput(message, param="model", limit=1, received=plan.model)
            os.ftruncate(lock, 0)
            made = self._begun(plan, settings, lock)
            os.pwrite(lock, json.dumps({"model": made.model, "process": made.process, "since": made.since}).encode(), 0)
            return made
        finally:
            os.close(lock)  # the process has it still

    def running(self) -> Running | None:
        """What is onboarded at this moment."""
        try:
            lock = os.open(self._lock, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            if _locked(lock, fcntl.LOCK_SH):
                return None
            with suppress(ValueError):  # it begins, and has not written itself down
                return Running(**json.loads(os.pread(lock, 4_096, 0)))
            return Running("", 0, int(time.time()))
        finally:
            os.close(lock)

    def stop(self) -> None:
        """What is onboarded ends; its next start goes on there. Raises InvalidInput where nothing is."""
        found = self.running()
        if found is None or not found.process:
            raise InvalidInput("model: nothing is being onboarded", param="model", received=None)
        with suppress(ProcessLookupError):
            os.killpg(found.process, signal.SIGTERM)
        with self._log(found.model).open("ab") as log:
            log.write(b"stopped by an operator\n")

    def said(self, model: str) -> str:
        """What the last onboarding of a model said, its end where that is long; "" where there was none."""
        try:
            return self._log(model).read_bytes()[-_SAID:].decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _log(self, model: str) -> Path:
        return self._folder / f"{model.lower().replace('/', '--')}.log"

    def _begun(self, plan: Plan, settings: Settings, lock: int) -> Running:
        self._log(plan.model).unlink(missing_ok=True)
        with self._log(plan.model).open("ab") as log:
            process = subprocess.Popen(
                (*self._program, *words_of(plan)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **_environment(settings)},
                start_new_session=True,
                pass_fds=(lock,),
            )
        threading.Thread(target=process.wait, name="onboarding", daemon=True).start()  # so that its end leaves no zombie
        return Running(plan.model, process.pid, int(time.time()))


def _claimed(lock: int) -> bool:
    """Whoever looks whether one runs shares the lock for a moment, and is waited for; whoever runs has it alone."""
    while not _locked(lock, fcntl.LOCK_EX):
        if not _locked(lock, fcntl.LOCK_SH):
            return False
    return True


def _locked(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _environment(settings: Settings) -> Mapping[str, str]:
    told = {name: str(getattr(settings, name)) for name in _PASSED}
    site = settings.public_url or f"http://127.0.0.1:{settings.port}"
    return {PREFIX + name.upper(): text for name, text in {**told, "public_url": site}.items() if text}
