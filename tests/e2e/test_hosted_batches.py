"""A batch whose server is killed in the middle, again and again: each line is answered and paid for exactly once."""

import json
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from batching import BOUNDARY, form, lines
from houses import House, Server

LINES = 120
SEGMENT = 32


@pytest.fixture
def house(gigarank_command: list[str], tmp_path: Path) -> House:
    return House(gigarank_command, tmp_path / "state")


def asked(server: Server, key: str, path: str, body: bytes | None = None, content_type: str = "application/json") -> bytes:
    request = urllib.request.Request(server.url + path, body, {"x-api-key": key, "content-type": content_type})
    with urllib.request.urlopen(request, timeout=20) as reply:
        content: bytes = reply.read()
    return content


def told(server: Server, key: str, path: str, body: Any = None) -> Any:
    return json.loads(asked(server, key, path, None if body is None else json.dumps(body).encode()))


def test_killed_in_the_middle_each_line_is_answered_and_paid_for_once(house: House, servers: list[Server]) -> None:
    key = house.admin("account", "create", "--email", "a@example.org", "--grant-usd", "1.00")["api_key"]

    def started() -> Server:
        servers.append(house.serve("--backend", "fake:0.1"))
        servers[-1].wait_until_ready()
        return servers[-1]

    server = started()
    upload = form(lines(LINES), purpose="batch")
    made = json.loads(asked(server, key, "/v1/files", upload, f"multipart/form-data; boundary={BOUNDARY}"))
    wanted = {"input_file_id": made["id"], "endpoint": "/v1/rerank", "completion_window": "24h"}
    batch_id = told(server, key, "/v1/batches", wanted)["id"]
    for least in (1, SEGMENT + 1):
        end = time.monotonic() + 60.0
        while told(server, key, f"/v1/batches/{batch_id}")["request_counts"]["completed"] < least:
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.15)  # into the next segment
        server.end(signal.SIGKILL)
        server = started()
    end = time.monotonic() + 60.0
    while (batch := told(server, key, f"/v1/batches/{batch_id}"))["status"] != "completed":
        assert time.monotonic() < end and batch["status"] in ("in_progress", "finalizing")
        time.sleep(0.05)
    assert batch["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}
    rows = [json.loads(text) for text in asked(server, key, f"/v1/files/{batch['output_file_id']}/content").splitlines()]
    assert sorted(row["custom_id"] for row in rows) == sorted(f"r-{number}" for number in range(LINES))
    while kept(house) != {made["id"], batch["output_file_id"]}:  # a batch is done a moment before its segments are deleted
        assert time.monotonic() < end
        time.sleep(0.05)
    server.end(signal.SIGKILL)
    uses = house.rows("SELECT request_id, amount_micros, batch_id FROM usage")
    assert sorted(use[0] for use in uses) == sorted(row["response"]["request_id"] for row in rows)
    assert {use[1:] for use in uses} == {(1, batch_id)}
    house.admin("sweep", "--in-seconds", "60")
    account = house.admin("account", "show", "a@example.org")
    assert (account["held_micros"], account["balance_micros"]) == (0, 1_000_000 - LINES)
    assert house.admin("check")["sound"]


def kept(house: House) -> set[str]:
    return {path.name for path in (house.folder / "files").iterdir() if path.is_file()}


def peak_kib(process_id: int) -> int:
    """The most memory that the process has had."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(next(text.split()[1] for text in status.splitlines() if text.startswith("VmHWM")))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_file_of_64_mib_goes_in_and_out_without_being_held(house: House, servers: list[Server]) -> None:
    key = house.admin("account", "create", "--email", "a@example.org")["api_key"]
    servers.append(house.serve("--backend", "fake"))
    server = servers[0]
    server.wait_until_ready()
    content = b"0123456789abcdef" * (4 * 1024 * 1024)
    assert asked(server, key, "/v1/files", form(b"x", purpose="batch"), f"multipart/form-data; boundary={BOUNDARY}")
    before = peak_kib(server.process.pid)
    upload = form(content, purpose="batch")
    made = json.loads(asked(server, key, "/v1/files", upload, f"multipart/form-data; boundary={BOUNDARY}"))
    assert made["bytes"] == len(content)
    assert asked(server, key, f"/v1/files/{made['id']}/content") == content
    assert peak_kib(server.process.pid) - before < 24 * 1024
