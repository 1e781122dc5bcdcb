"""Clusters of Ray for drills: a head, or what a server started for itself, and its replicas as their processes.

Needs the cluster extra and two processors; `Impossible` says so. Invariant: no process of a cluster outlives the drill.
"""

import importlib.util
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from drills.network import Impossible
from houses import Server

SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}
SETTINGS |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # a local cluster's own nobody is told
START_S = 180.0
"""Of a cluster and its replicas, on a machine that does other things too."""
END_S = 90.0
"""Of a server that ends its cluster."""
LOCAL = "local"
_CANARY_TOKENS = 200
T = TypeVar("T")


def require_ray() -> None:
    if missing := [name for name in ("ray", "psutil") if importlib.util.find_spec(name) is None]:
        raise Impossible(f"no {', '.join(missing)} here: pip install 'gigarank[cluster,bench]'")
    if len(os.sched_getaffinity(0)) < 2:
        raise Impossible("two replicas need two processors")


def _family(pid: int) -> list[Any]:
    """The processes below it."""
    psutil: Any = import_module("psutil")
    with suppress(psutil.NoSuchProcess):
        return list(psutil.Process(pid).children(recursive=True))
    return []


def _runs(process: Any) -> bool:
    """One that has ended, and that nobody asked how, does not."""
    psutil: Any = import_module("psutil")
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _kill(processes: Collection[Any]) -> None:
    psutil: Any = import_module("psutil")
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@contextmanager
def head(folder: Path) -> Iterator[str]:
    """The address of a cluster without replicas, as `ray start --head` gives one."""
    require_ray()
    port = 20_000 + os.getpid() % 10_000  # above those that Ray gives its workers
    words = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}", "--num-cpus=2"]
    words += ["--include-dashboard=false", "--object-store-memory=100000000", "--disable-usage-stats"]
    log = folder / "ray.log"
    with log.open("w") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, env={**os.environ, **SETTINGS}, start_new_session=True)
    try:
        end = time.monotonic() + START_S
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        family = _family(process.pid)
        process.kill()
        _kill(family)
        process.wait(30)


class Own:
    """The cluster that a server of `--cluster local` started."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.address = _address(_family(server.process.pid))

    def end(self) -> str:
        """The server is asked to end. What is wrong with how it did: its exit code, processes that are left."""
        psutil: Any = import_module("psutil")
        family = _family(self.server.process.pid)
        code = self.server.end(signal.SIGTERM, END_S)
        left = [one for one in psutil.wait_procs(family, 30)[1] if _runs(one)]
        _kill(left)
        return f"exit code {code}, {len(left)} processes are left" if code or left else ""

    def kill(self) -> None:
        if self.server.process.poll() is None:
            _kill(_family(self.server.process.pid))
            self.server.end(signal.SIGKILL)


def _address(family: Collection[Any]) -> str:
    """As Ray's own node process was told it."""
    for process in family:
        for word in process.cmdline():
            if word.startswith("--gcs-address="):
                return str(word.partition("=")[2])
    raise AssertionError("the server has started no cluster")


class Replicas:
    """Those of the cluster at `address`, as a process that joins it sees them."""

    def __init__(self, address: str, ending: ExitStack) -> None:
        words = [sys.executable, "-m", "drills.watch", address]
        env = {**os.environ, **SETTINGS, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._watch = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
        )
        ending.callback(self._end)

    def processes(self, number: int, without: Collection[int] = ()) -> dict[int, str]:
        """Waits until so many take work and no other does; by their process which options they have."""

        def all_of_them() -> dict[int, str] | None:
            told = self._told(4 * number)
            found = {one["process"]: one["fingerprint"] for one in told if one}
            return found if all(told) and len(found) == number and not set(found) & set(without) else None

        return _until(all_of_them, rest_s=0.25)

    def kill(self, victim: int) -> None:
        """With -9, while it has a part of a request."""

        def at_work() -> bool:
            return any(one and one["process"] == victim and one["tokens"] > _CANARY_TOKENS for one in self._told(4))

        _until(at_work)
        os.kill(victim, signal.SIGKILL)

    def _told(self, calls: int) -> list[dict[str, Any]]:
        """What so many calls were told; {} is one that no replica answered."""
        assert self._watch.stdin is not None and self._watch.stdout is not None
        self._watch.stdin.write(f"{calls}\n")
        self._watch.stdin.flush()
        line = self._watch.stdout.readline()
        assert line, "the process that watches the cluster has ended"
        told: list[dict[str, Any]] = json.loads(line)
        return told

    def _end(self) -> None:
        self._watch.kill()
        self._watch.communicate()


def _until(look: Callable[[], T | None], rest_s: float = 0.0) -> T:
    """What it finds. `rest_s`: between two looks, where they would keep those that are looked at from their work."""
    end = time.monotonic() + START_S
    while not (found := look()):
        assert time.monotonic() < end, f"not so in {START_S:g} s"
        time.sleep(rest_s)
    return found
