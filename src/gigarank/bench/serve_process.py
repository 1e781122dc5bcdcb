"""The measured server as a process of its own: started, pinned to a core, watched, and ended.

Knows a server by its command and its /ready. Invariant: whatever happens, no process is left behind, and this process is
back on the cores that it had.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import aiohttp

from gigarank.bench.serve_summary import Usage
from gigarank.errors import DeviceUnavailable, ModelUnavailable

PROGRAM = (sys.executable, "-c", "import sys; from gigarank.cli import main; sys.exit(main())")
READY_S = 300.0
_SAMPLE_S = 0.1


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def one_core_each(wanted: bool) -> Iterator[Sequence[int]]:
    """Children started inside run on the first of the cores that this process has; leave it with `to_the_other`."""
    if not wanted:
        yield ()
        return
    had = sorted(os.sched_getaffinity(0))
    if len(had) < 2:
        raise DeviceUnavailable("one core for the server and one for the generator: this process has one core")
    os.sched_setaffinity(0, had[:1])
    try:
        yield had
    finally:
        os.sched_setaffinity(0, had)


def to_the_other(cores: Sequence[int]) -> None:
    """This process to the cores that the server does not have; nothing where none were divided."""
    if cores:
        os.sched_setaffinity(0, cores[1:])


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], *, first_line: bool = False) -> Iterator[tuple[Any, str]]:
    """The process as psutil sees it, and its first line of output where that is waited for."""
    pipe = subprocess.PIPE if first_line else subprocess.DEVNULL
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=pipe, stderr=subprocess.DEVNULL) as child:
        try:
            line = child.stdout.readline().decode().strip() if child.stdout else ""
            yield import_module("psutil").Process(child.pid), line
        finally:
            child.terminate()
            try:
                child.wait(timeout=40.0)
            except subprocess.TimeoutExpired:
                child.kill()


async def until_ready(url: str, process: Any) -> None:
    """Returns when /ready says 200. Raises ModelUnavailable where the server ended, or took longer than READY_S."""
    before = time.monotonic() + READY_S
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < before and process.is_running() and process.status() != "zombie":
            with suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"{url}/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise ModelUnavailable("the server did not become ready; start `gigarank serve` yourself to see why")


def usage(process: Any) -> Usage:
    """The process with its children, now."""
    family = [process, *process.children(recursive=True)]
    times = [one.cpu_times() for one in family]
    resident = sum(one.memory_info().rss for one in family)
    return Usage(time.perf_counter(), sum(each.user + each.system for each in times), resident)


async def watch(process: Any, usages: list[Usage]) -> None:
    """Appends a Usage ten times a second until it is cancelled, the last as it ends."""
    try:
        while True:
            usages.append(usage(process))
            await asyncio.sleep(_SAMPLE_S)
    finally:
        usages.append(usage(process))
