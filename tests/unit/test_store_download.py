"""One file over real HTTP: whole, cut and resumed, corrupted, refused, without room."""

import hashlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gigarank.engine.download import Retries, download, open_client
from gigarank.errors import CheckpointError, ModelUnavailable

BODY = bytes(range(256)) * 2_000  # 512,000 bytes
SHA256 = hashlib.sha256(BODY).hexdigest()
PATH = "/files/thing.whl"


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    with open_client() as opened:
        yield opened


@pytest.fixture
def server(loopback: Any) -> Any:
    loopback.files[PATH] = BODY
    return loopback


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "thing.whl"


def bring(server: Any, target: Path, client: httpx2.Client, limit: int = 3) -> list[tuple[str, int, int]]:
    seen: list[tuple[str, int, int]] = []
    download(server.url + PATH, target, SHA256, client, lambda *step: seen.append(step), Retries(limit, 0.001))
    return seen


def part_of(target: Path) -> Path:
    return target.with_name("thing.whl.part")


def test_a_whole_file_arrives_and_its_progress_is_told(server: Any, target: Path, client: httpx2.Client) -> None:
    seen = bring(server, target, client)
    assert target.read_bytes() == BODY
    assert not part_of(target).exists()
    assert seen[-1] == ("thing.whl", len(BODY), len(BODY))
    done = [step[1] for step in seen]
    assert done == sorted(set(done))
    assert {step[2] for step in seen} == {len(BODY)}


def test_a_cut_transfer_goes_on_where_it_broke(server: Any, target: Path, client: httpx2.Client) -> None:
    server.cuts = [200_000, 100_000]
    seen = bring(server, target, client)
    assert target.read_bytes() == BODY
    assert server.asked_for(PATH) == [None, "bytes=200000-", "bytes=300000-"]
    assert {step[2] for step in seen} == {len(BODY)}


def test_a_later_call_resumes_what_an_earlier_one_left(server: Any, target: Path, client: httpx2.Client) -> None:
    server.cuts = [150_000, 0, 0]
    with pytest.raises(ModelUnavailable, match="failed after 150000 bytes"):
        bring(server, target, client, limit=2)
    assert part_of(target).read_bytes() == BODY[:150_000]
    assert not target.exists()
    server.asked.clear()
    server.cuts = []
    bring(server, target, client)
    assert server.asked_for(PATH) == ["bytes=150000-"]
    assert target.read_bytes() == BODY


def test_tries_without_a_new_byte_are_counted_and_end(server: Any, target: Path, client: httpx2.Client) -> None:
    server.cuts = [0] * 10
    with pytest.raises(ModelUnavailable, match=PATH):
        bring(server, target, client, limit=3)
    assert len(server.asked) == 3


def test_tries_with_new_bytes_are_not_counted(server: Any, target: Path, client: httpx2.Client) -> None:
    server.cuts = [60_000] * 8
    bring(server, target, client, limit=2)
    assert target.read_bytes() == BODY
    assert len(server.asked) == 9


def test_a_server_without_ranges_is_read_from_the_start(server: Any, target: Path, client: httpx2.Client) -> None:
    server.ranges = False
    server.cuts = [200_000]
    bring(server, target, client)
    assert target.read_bytes() == BODY
    assert server.asked_for(PATH) == [None, "bytes=200000-"]


def test_a_part_that_is_already_whole_is_taken(server: Any, target: Path, client: httpx2.Client) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(BODY)
    bring(server, target, client)
    assert target.read_bytes() == BODY
    assert server.asked_for(PATH) == [f"bytes={len(BODY)}-"]


@pytest.mark.parametrize("left", [b"of another file", BODY + b"too long"])
def test_a_part_of_another_file_is_thrown_away_once(server: Any, target: Path, client: httpx2.Client, left: bytes) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(left)
    bring(server, target, client)
    assert target.read_bytes() == BODY
    assert server.asked_for(PATH) == [f"bytes={len(left)}-", None]


def test_corrupted_bytes_are_refused_with_both_hashes(server: Any, target: Path, client: httpx2.Client) -> None:
    wrong = b"X" + BODY[1:]
    server.files[PATH] = wrong
    with pytest.raises(CheckpointError) as caught:
        bring(server, target, client)
    assert SHA256 in caught.value.message
    assert caught.value.received == hashlib.sha256(wrong).hexdigest()
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, 3)])
def test_a_refusal_is_final_and_a_fault_is_tried_again(
    server: Any, target: Path, client: httpx2.Client, status: int, requests: int
) -> None:
    server.status[PATH] = status
    with pytest.raises(ModelUnavailable, match=str(status)):
        bring(server, target, client)
    assert len(server.asked) == requests
    assert list(target.parent.iterdir()) == []


def test_no_network_is_one_clear_error(server: Any, target: Path, client: httpx2.Client) -> None:
    server.close()
    with pytest.raises(ModelUnavailable) as caught:
        bring(server, target, client)
    assert server.url in caught.value.message
    assert not target.exists()


def test_a_password_in_the_url_stays_out_of_the_error(server: Any, target: Path, client: httpx2.Client) -> None:
    server.status[PATH] = 404
    with pytest.raises(ModelUnavailable) as caught:
        download(server.url.replace("//", "//me:hunter2@") + PATH, target, SHA256, client)
    assert "hunter2" not in caught.value.message


def test_a_local_file_is_copied_and_checked(tmp_path: Path, target: Path, client: httpx2.Client) -> None:
    source = tmp_path / "a name with blanks.whl"
    source.write_bytes(BODY)
    download(source.as_uri(), target, SHA256, client)
    assert target.read_bytes() == BODY
    assert source.exists()


@contextmanager
def largest_file(limit: int) -> Iterator[None]:
    """The kernel refuses writes past `limit` bytes in a file, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_without_room_keeps_the_part_for_later(server: Any, target: Path, client: httpx2.Client) -> None:
    with largest_file(300_000), pytest.raises(ModelUnavailable) as caught:
        bring(server, target, client)
    assert caught.value.param == "GIGARANK_CACHE"
    assert str(part_of(target)) in caught.value.message
    assert not target.exists()
    bring(server, target, client)
    assert target.read_bytes() == BODY


def test_a_folder_that_is_a_file_is_one_clear_error(server: Any, tmp_path: Path, client: httpx2.Client) -> None:
    (tmp_path / "downloads").write_text("in the way")
    with pytest.raises(ModelUnavailable, match="cannot be written"):
        bring(server, tmp_path / "downloads" / "thing.whl", client)


def test_an_absent_file_of_authorities_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"absent\.pem"):
        open_client(str(tmp_path / "absent.pem"))
