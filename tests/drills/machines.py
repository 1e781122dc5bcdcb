"""Drills of the machine itself: a disk that is full, and a clock that jumps.

The clock is libfaketime's (Debian's package faketime): the server's wall clock jumps, and its monotonic one does not, as when
an operator or NTP sets it. The disk is a small tmpfs under the state directory, which needs root.
"""

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batching import BOUNDARY, form, lines
from drills.load import Load
from drills.network import Impossible, provide
from drills.stage import Stage
from drills.verdict import Verdict, judge
from houses import Server

_PATIENCE_S = 120.0
_LINES = 100
_HOUR_S = 3_600


@contextmanager
def _small(folder: Path, mebibytes: int) -> Iterator[None]:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Impossible(f"no small disk: {done.stderr.strip() or 'mount needs root'}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def disk_full(stage: Stage) -> Verdict:
    """The disk of the state directory, filled to its last byte in the middle of a batch, and emptied again."""
    with _small(stage.folder / "state", 8):
        house, key = stage.house()
        server = stage.start(house, "--backend", "fake:0.02")
        filler, ended = house.folder / "filler", ""
        with Load(lambda: server.url, key, stage.clients, _PATIENCE_S) as load:
            calm = load.further(stage.requests)
            batch = _batch(server, key)
            _fill(filler)
            load.until(lambda: 503 in load.statuses())
            refused = _upload(server, key)[0]
            filler.unlink()
            load.further(stage.requests)
            end = time.monotonic() + 120.0
            while ended != "completed" and time.monotonic() < end:
                ended = _told(server, key, f"/v1/batches/{batch}")[1]["status"]
        verdict = judge("disk_full", house, load, calm, note=f"a batch of {_LINES} lines {ended}")
        paid = house.rows("SELECT count(*) FROM usage WHERE batch_id IS NOT NULL")[0][0]
        faults = (
            () if (refused, ended, paid) == (503, "completed", _LINES) else (f"upload {refused}, batch {ended}, {paid} paid",)
        )
        server.end(signal.SIGTERM)
        return verdict.but(*faults)


def _batch(server: Server, key: str) -> str:
    made = _upload(server, key)[1]["id"]
    wanted = {"input_file_id": made, "endpoint": "/v1/rerank", "completion_window": "24h"}
    return str(_told(server, key, "/v1/batches", json.dumps(wanted).encode())[1]["id"])


def _upload(server: Server, key: str) -> tuple[int, Any]:
    content_type = f"multipart/form-data; boundary={BOUNDARY}"
    return _told(server, key, "/v1/files", form(lines(_LINES), purpose="batch"), content_type)


def _told(server: Server, key: str, path: str, body: bytes | None = None, content_type: str = "") -> tuple[int, Any]:
    named = {"x-api-key": key, "content-type": content_type or "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(server.url + path, body, named), timeout=30) as reply:
            return int(reply.status), json.loads(reply.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while stream.write(b"\0" * size):
                    pass
            except OSError:
                continue


def _library() -> str:
    provide("faketime", "faketime")
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise Impossible("no libfaketime here: install the package faketime")
    return str(found[0])


def clock_jumps(stage: Stage) -> Verdict:
    """Two hours and two days forward, a day back, and as it is. A token of five minutes is over as long as the clock says so;
    a kept answer is given again, but not two days later."""
    file, library = stage.folder / "clock", _library()
    _set(file, 0)
    house, key = stage.house()
    house.admin("account", "limits", "a@example.org", "--requests-per-minute", "1000000")
    house.more = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1"}
    house.more["FAKETIME_DONT_FAKE_MONOTONIC"] = house.more["DONT_FAKE_MONOTONIC"] = "1"
    server = stage.start(house, "--backend", "fake:0.02")
    house.more = {}
    token = _told(server, key, "/v1/key/token", b'{"expires_in": 300}')[1]["token"]
    with Load(lambda: server.url, key, stage.clients) as load:
        calm, told = load.further(stage.requests), [_both(server, key, token)]
        for seconds in (2 * _HOUR_S, 48 * _HOUR_S, -24 * _HOUR_S, 0):
            _set(file, seconds)
            load.further(stage.requests)
            told.append(_both(server, key, token))
    paid = sum(status == 200 for _, status in told) + 2  # the kept one: at first, and two days later
    verdict = judge("clock_jumps", house, load, calm, also=paid, note="+2 h, +2 d, -1 d, back")
    server.end(signal.SIGTERM)
    right = told == [(200, 200), (200, 401), (200, 401), (200, 200), (200, 200)]
    return verdict.but("" if right else f"kept answer and token: {told}")


def _both(server: Server, key: str, token: str) -> tuple[int, int]:
    """The status of a request that is sent again and again, and of one with the token."""
    return server.rank(key, idempotency_key="again"), server.rank(token)


def _set(file: Path, seconds: int) -> None:
    """Whole at once: the server reads it with every look at the clock."""
    new = file.with_suffix(".new")
    new.write_text(f"{seconds:+d}\n")
    new.replace(file)
