"""The largest file of batch requests: 200 MiB go in, are checked, answered and fetched, and the server holds none of it."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batching import BOUNDARY, form
from gigarank.service.settings import Settings
from houses import House, Server

LINES = int(os.environ.get("GIGARANK_TEST_UPLOAD", "1500"))  # docs/reliability.md has the figures of 50,000
MOST_BYTES, MOST_LINES = Settings().max_file_bytes, Settings().max_batch_lines
GROWTH_KIB = 64 * 1024
PATIENCE_S = 90.0 + LINES / 25
BROKEN = LINES // 2
"""A line of the file that no batch may have, in the file that has one."""


@pytest.fixture
def house(gigarank_command: list[str], tmp_path: Path) -> House:
    return House(gigarank_command, tmp_path / "state")


@pytest.fixture
def server(house: House) -> Iterator[Server]:
    running = house.serve("--backend", "fake")
    yield running
    running.end(signal.SIGKILL)


@pytest.fixture
def key(house: House, server: Server) -> str:
    server.wait_until_ready()
    return str(house.admin("account", "create", "--email", "a@example.org", "--grant-usd", "1.00")["api_key"])


def request_of(number: int, size: int, method: str = "POST") -> bytes:
    """A line of so many bytes: its document is one long word."""
    body = {"query": "red", "documents": [""]}
    row = {"custom_id": f"r-{number}", "method": method, "url": "/v1/rerank", "body": body}
    body["documents"] = ["x" * (size - len(json.dumps(row)) - 1)]
    return json.dumps(row).encode() + b"\n"


def write(path: Path, count: int, size: int, broken: int = 0) -> Path:
    """A file of so many lines and exactly so many bytes, whose line `broken` asks with PUT."""
    each = size // count
    with path.open("wb") as file:
        for number in range(1, count + 1):
            more = size - each * count if number == count else 0
            file.write(request_of(number, each + more, "PUT" if number == broken else "POST"))
    assert path.stat().st_size == size
    return path


def pieces(path: Path) -> Iterator[bytes]:
    """The form that holds the file."""
    head, tail = form(b"|", purpose="batch").split(b"|")
    yield head
    with path.open("rb") as file:
        while block := file.read(1024 * 1024):
            yield block
    yield tail


def send(server: Server, key: str, path: Path) -> tuple[int, Any]:
    length = path.stat().st_size + len(form(b"", purpose="batch"))
    headers = {"x-api-key": key, "content-type": f"multipart/form-data; boundary={BOUNDARY}", "content-length": str(length)}
    return answered(urllib.request.Request(f"{server.url}/v1/files", pieces(path), headers, method="POST"))


def answered(request: urllib.request.Request) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.loads(refused.read())


def told(server: Server, key: str, path: str, body: Any = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    status, answer = answered(urllib.request.Request(server.url + path, content, {"x-api-key": key}))
    assert status == 200, answer
    return answer


def batch_of(server: Server, key: str, path: Path) -> Any:
    """The batch of that file, once it has ended."""
    status, made = send(server, key, path)
    assert (status, made.get("bytes")) == (200, path.stat().st_size), made
    wanted = {"input_file_id": made["id"], "endpoint": "/v1/rerank", "completion_window": "24h"}
    batch = told(server, key, "/v1/batches", wanted)
    end = time.monotonic() + PATIENCE_S
    while batch["status"] not in ("completed", "failed"):
        assert time.monotonic() < end, batch
        time.sleep(0.1)
        batch = told(server, key, f"/v1/batches/{batch['id']}")
    return batch


def answers(server: Server, key: str, file_id: str) -> Iterator[Any]:
    request = urllib.request.Request(f"{server.url}/v1/files/{file_id}/content", headers={"x-api-key": key})
    with urllib.request.urlopen(request, timeout=120) as reply:
        for text in reply:
            yield json.loads(text)


def peak_kib(server: Server) -> int:
    """The most memory that the server has had."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(text.split()[1] for text in status.splitlines() if text.startswith("VmHWM")))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_the_largest_file_is_answered_and_not_held(house: House, server: Server, key: str, tmp_path: Path) -> None:
    small = batch_of(server, key, write(tmp_path / "small", 40, 40 * 400))
    assert small["request_counts"] == {"total": 40, "completed": 40, "failed": 0}
    before, began = peak_kib(server), time.monotonic()
    batch = batch_of(server, key, write(tmp_path / "large", LINES, MOST_BYTES))
    assert batch["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}
    rows = list(answers(server, key, batch["output_file_id"]))
    assert sorted(row["custom_id"] for row in rows) == sorted(f"r-{number}" for number in range(1, LINES + 1))
    assert all(row["response"]["status_code"] == 200 for row in rows)
    grown, took = peak_kib(server) - before, time.monotonic() - began
    print(json.dumps({"lines": LINES, "bytes": MOST_BYTES, "before_kib": before, "grown_kib": grown, "seconds": round(took)}))
    assert grown < GROWTH_KIB
    paid = house.rows(f"SELECT count(*), count(DISTINCT request_id) FROM usage WHERE batch_id = '{batch['id']}'")
    assert paid == [(LINES, LINES)]
    assert house.admin("check")["sound"]


def test_a_spoilt_line_of_the_largest_file_is_named(server: Server, key: str, tmp_path: Path) -> None:
    batch = batch_of(server, key, write(tmp_path / "spoilt", LINES, MOST_BYTES, BROKEN))
    (error,) = batch["errors"]["data"]
    assert (batch["status"], error["line"], error["code"]) == ("failed", BROKEN, "invalid_method")
    assert f"line {BROKEN}: method: POST is expected; received 'PUT'" in error["message"]


def test_a_byte_and_a_line_too_many_are_refused_with_the_limit(house: House, server: Server, key: str, tmp_path: Path) -> None:
    status, refused = send(server, key, write(tmp_path / "large", LINES, MOST_BYTES + 1))
    error = refused["error"]
    assert (status, error["param"], error["limit"]) == (413, "file", MOST_BYTES), error
    assert f"more than {MOST_BYTES} bytes (max_file_bytes)" in error["message"]
    batch = batch_of(server, key, write(tmp_path / "many", MOST_LINES + 1, (MOST_LINES + 1) * 140))
    (found,) = batch["errors"]["data"]
    assert (batch["status"], found["code"], found["line"]) == ("failed", "too_many_requests", MOST_LINES + 1)
    assert f"more than {MOST_LINES} requests (max_batch_lines)" in found["message"]
    assert house.rows("SELECT count(*) FROM usage") == [(0,)]
