"""Files: uploaded in pieces, kept in a folder or in a bucket, found by their account, read in pieces, deleted and forgotten."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from asgi import Visit
from batching import BODY, BOUNDARY, Client, Works, form, line, lines, uploading
from gigarank.errors import InvalidInput, MissingFile
from gigarank.service.batches import files as domain
from gigarank.service.batches.lines import lines as split
from gigarank.service.batches.segment import MOST_BYTES, MOST_LINES, taken
from gigarank.service.batches.storage import FolderStore, Spool, Store, drop, finish, open_store, pieces
from gigarank.service.db import Database
from gigarank.service.migrations import migrate
from gigarank.service.settings import Settings
from gigarank.service.tables import files

DAY = 86_400


@pytest.fixture
def works(database: Database, database_url: str, tmp_path: Path) -> Works:
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True)
    return Works(replace(settings, max_file_bytes=100_000, max_stored_bytes=250_000), database)


def test_a_file_comes_in_pieces_and_goes_in_pieces(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gigarank.service.batches.endpoints.BLOCK", 1_000)

    async def work(client: Client) -> None:
        content = b"\r\n--x\r\n" + os.urandom(50_000)
        for number in (1, 3, 700):
            reply = await client.send(uploading(form(content, filename='a"b.jsonl', purpose="batch"), client.key, number))
            assert (reply.status, reply.json["bytes"], reply.json["purpose"]) == (200, len(content), "batch"), reply.body
            got = await client.get(f"/v1/files/{reply.json['id']}/content")
            assert got.body == content and got.headers["content-length"] == str(len(content))
            head = await client.send(Visit("HEAD", f"/v1/files/{reply.json['id']}/content", {}))
            assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(content)))
            assert (await client.delete(f"/v1/files/{reply.json['id']}")).json["deleted"] is True
            assert (await client.get(f"/v1/files/{reply.json['id']}")).status == 404
            assert (await client.delete(f"/v1/files/{reply.json['id']}")).status == 404
        assert works.stored() == []

    works.do(work)


def test_files_are_listed_in_pages_by_purpose(works: Works) -> None:
    async def work(client: Client) -> None:
        made = {await client.upload(lines(1)) for _ in range(3)}
        first = (await client.get("/v1/files?limit=2")).json
        second = (await client.get(f"/v1/files?limit=2&after={first['last_id']}&purpose=batch&order=desc")).json
        assert {one["id"] for one in first["data"] + second["data"]} == made
        assert (first["has_more"], second["has_more"]) == (True, False)
        assert (await client.get("/v1/files?purpose=batch_output")).json["data"] == []
        for query, param in (("limit=0", "limit"), ("limit=10001", "limit"), ("purpose=x", "purpose"), ("order=asc", "order")):
            reply = await client.get(f"/v1/files?{query}")
            assert (reply.status, reply.error["param"]) == (400, param)

    works.do(work)


def test_a_file_whose_time_is_over_is_not_listed_though_it_is_still_kept(works: Works) -> None:
    async def work(client: Client) -> None:
        made = [await client.upload(lines(1)) for _ in range(3)]
        listed = [one["id"] for one in (await client.get("/v1/files")).json["data"]]
        assert set(listed) == set(made)
        over = listed[1]
        works.database.transaction(
            lambda one: one.execute(update(files).where(files.c.id == over).values(expires=int(time.time()) - 1))
        )
        assert (await client.get(f"/v1/files/{over}")).status == 404
        first = (await client.get("/v1/files?limit=1")).json
        second = (await client.get(f"/v1/files?limit=1&after={first['last_id']}")).json
        assert [one["id"] for one in first["data"] + second["data"]] == [listed[0], listed[2]]
        assert (first["has_more"], second["has_more"]) == (True, False)
        assert [one["id"] for one in (await client.get(f"/v1/files?after={over}")).json["data"]] == [listed[2]]

    works.do(work)


def test_another_account_s_files_and_batches_are_not_there(works: Works) -> None:
    other = works.another("b@example.org")

    async def work(client: Client) -> None:
        batch = await client.ended((await client.create(lines(2)))["id"])
        theirs = Client(client.app, other.key)
        names = [f"/v1/files/{batch[name]}" for name in ("input_file_id", "output_file_id")]
        for path in (*names, *(f"{name}/content" for name in names), f"/v1/batches/{batch['id']}"):
            assert ((await client.get(path)).status, (await theirs.get(path)).status) == (200, 404)
        assert (await theirs.delete(names[0])).status == 404
        assert (await theirs.post(f"/v1/batches/{batch['id']}/cancel")).status == 404
        taking = {"input_file_id": batch["input_file_id"], "endpoint": "/v1/rerank", "completion_window": "24h"}
        assert (await theirs.post("/v1/batches", taking)).status == 404
        for path in (
            "/v1/files",
            "/v1/batches",
            f"/v1/files?after={batch['output_file_id']}",
            f"/v1/batches?after={batch['id']}",
        ):
            assert (await theirs.get(path)).json["data"] == []

    works.do(work)


async def statuses(client: Client, file_id: str, batch_id: str) -> list[int]:
    """Of all that there is of files and batches, with a file and a batch that the account has; deleting comes last."""
    asked = {"input_file_id": file_id, "endpoint": "/v1/rerank", "completion_window": "24h"}
    replies = [
        await client.send(uploading(form(b"{}", purpose="batch"), client.key)),
        *[await client.get(path) for path in ("/v1/files", f"/v1/files/{file_id}", f"/v1/files/{file_id}/content")],
        *[await client.get(path) for path in ("/v1/batches", f"/v1/batches/{batch_id}")],
        await client.post("/v1/batches", {**asked, "input_file_id": "file-none"}),
        await client.post(f"/v1/batches/{batch_id}/cancel"),
        await client.delete(f"/v1/files/{file_id}"),
    ]
    return [reply.status for reply in replies]


SERVED = [200, 200, 200, 200, 200, 200, 404, 400, 200]  # no such file to ask, and a batch that has ended


def test_a_token_reaches_files_and_batches_only_if_it_asks_to(works: Works) -> None:
    async def work(client: Client) -> None:
        batch = await client.ended((await client.create(lines(1)))["id"])
        ids = (batch["input_file_id"], batch["id"])

        async def token(**body: Any) -> Client:
            return Client(client.app, (await client.post("/v1/key/token", body)).json["token"])

        for refused in (await token(), await token(scopes=["inference", "account"])):
            assert await statuses(refused, *ids) == [403] * 9
            assert (await refused.post("/v1/rerank", BODY)).status == 200
        reply = await (await token()).get("/v1/files")
        assert reply.error["message"] == "the API key has no scope batches; it has inference"
        assert await statuses(await token(scopes=["batches", "inference"]), *ids) == SERVED

    works.do(work)


def test_a_key_without_the_scope_neither_reaches_files_nor_makes_a_token_that_does(works: Works) -> None:
    asks = works.another("b@example.org", scopes=("inference", "account"))

    async def work(client: Client) -> None:
        batch = await client.ended((await client.create(lines(1)))["id"])
        other = Client(client.app, asks.key)
        assert await statuses(other, batch["input_file_id"], batch["id"]) == [403] * 9
        refused = await other.post("/v1/key/token", {"scopes": ["inference", "batches"]})
        assert (refused.status, refused.error["message"]) == (
            403,
            "the API key has no scope batches; it has inference, account",
        )
        assert await statuses(client, batch["input_file_id"], batch["id"]) == SERVED  # a key that was told nothing has it

    works.do(work)


def test_to_start_a_batch_takes_the_scope_to_ask_models_too(works: Works) -> None:
    keeps = works.another("b@example.org", scopes=("batches",))

    async def work(client: Client) -> None:
        asked = {"input_file_id": await client.upload(lines(1)), "endpoint": "/v1/rerank", "completion_window": "24h"}
        reply = await client.post("/v1/batches", asked)
        assert (reply.status, reply.error["message"]) == (403, "the API key has no scope inference; it has batches")
        assert (await client.get("/v1/batches")).json["data"] == []

    works.do(work, keeps.key)


def bare(body: bytes, content_type: str = f"multipart/form-data; boundary={BOUNDARY}") -> Visit:
    return Visit("POST", "/v1/files", {"content-length": str(len(body)), "content-type": content_type}, [body])


def test_what_is_no_upload_is_refused_and_leaves_nothing(works: Works) -> None:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    wrong: list[tuple[Visit, int, str]] = [
        (bare(b"{}", "application/json"), 400, "content-type"),
        (bare(b"x", "multipart/form-data"), 400, "content-type"),
        (bare(b"nonsense"), 400, "body"),
        (
            bare(
                form(b"x")[:-20],
            ),
            400,
            "purpose",
        ),
        (bare(form(b"x")), 400, "purpose"),
        (bare(form(b"x", purpose="fine-tune")), 400, "purpose"),
        (bare(form(b"x", purpose="batch", **{"expires_after[seconds]": "60"})), 400, "expires_after"),
        (bare(form(b"x", purpose="batch", **{"expires_after[seconds]": "soon"})), 400, "expires_after"),
        (bare(form(b"x", purpose="batch", **{"expires_after[anchor]": "now"})), 400, "expires_after[anchor]"),
        (bare(f'{head}"purpose"\r\n\r\nbatch\r\n--{BOUNDARY}--\r\n'.encode()), 400, "file"),
        (bare(form(b"x")[: -len(BOUNDARY) - 6] + form(b"y", purpose="batch")), 400, "file"),
        (bare(form(b"x", purpose="b" * 1_001)), 400, "purpose"),
        (bare(form(b"x", filename="n" * 5_000, purpose="batch")), 400, "body"),
        (bare(form(b"x", purpose="batch", **{f"f{number}": "" for number in range(20)})), 400, "body"),
        (bare(form(b"x" * 100_001, purpose="batch")), 413, "file"),
        (bare(form(b"x" * 200_000, purpose="batch")), 413, "file"),
    ]

    async def work(client: Client) -> None:
        for number, (request, status, param) in enumerate(wrong):
            reply = await client.send(request)
            assert (reply.status, reply.error["param"]) == (status, param), (number, reply.body)
        unannounced = bare(form(b"x" * 200_000, purpose="batch"))
        unannounced.headers = {"transfer-encoding": "chunked", "content-type": unannounced.headers["content-type"]}
        assert (await client.send(unannounced)).status == 413
        assert works.stored() == []

    works.do(work)


def test_an_account_has_so_much_room(works: Works) -> None:
    async def work(client: Client) -> None:
        first = await client.upload(b"x" * 90_000)
        await client.upload(b"x" * 90_000)
        full = await client.send(uploading(form(b"x" * 90_000, purpose="batch"), client.key))
        assert (full.status, full.error["limit"]) == (413, 250_000)
        assert "max_stored_bytes" in full.error["message"]
        await client.delete(f"/v1/files/{first}")
        await client.upload(b"x" * 90_000)

    works.do(work)


def test_a_client_that_leaves_in_its_upload_leaves_nothing(works: Works) -> None:
    async def work(client: Client) -> None:
        request = bare(form(b"x" * 1_000, purpose="batch")[:500])
        request.stalls, request.leaves = True, asyncio.Event()
        request.leaves.set()
        assert (await client.send(request)).status == 499
        assert works.stored() == []

    works.do(work)
    works.settings = replace(works.settings, body_timeout_s=0.1)

    async def stall(client: Client) -> None:
        request = bare(form(b"x" * 1_000, purpose="batch")[:500])
        request.stalls = True
        assert (await client.send(request)).status == 408
        assert works.stored() == []

    works.do(stall)


@pytest.mark.parametrize("header", ["content-length", "transfer-encoding"])
def test_what_is_on_its_way_has_its_room(works: Works, header: str) -> None:
    works.settings = replace(works.settings, max_file_bytes=1_000_000, max_stored_bytes=1_500_000)
    content = form(b"x" * 900_000, purpose="batch")

    async def work(client: Client) -> None:
        begun = bare(content[:1_000])
        begun.headers = {**begun.headers, "content-length": str(len(content))}
        if header != "content-length":
            begun.headers = {"content-type": begun.headers["content-type"], header: "chunked"}
        begun.stalls, begun.leaves = True, asyncio.Event()
        coming = asyncio.create_task(client.send(begun))
        async with asyncio.timeout(20):
            while not works.database.transaction(lambda one: one.execute(select(files)).first()):
                await asyncio.sleep(0.01)
        assert (await client.get("/v1/files")).json["data"] == []
        full = await client.send(bare(content))
        assert (full.status, full.error["limit"]) == (413, 1_500_000)
        await client.upload(b"x" * 400_000)
        begun.leaves.set()
        assert (await coming).status == 499
        await client.upload(b"x" * 900_000)
        sizes = works.database.transaction(lambda one: one.execute(select(files.c.bytes)).scalars().all())
        assert sorted(sizes) == [400_000, 900_000]

    works.do(work)


def test_what_a_batch_reads_is_not_deleted_before_its_end(works: Works) -> None:
    works.backend.delay_s = 0.05

    async def work(client: Client) -> None:
        made = await client.create(lines(40))
        reply = await client.delete(f"/v1/files/{made['input_file_id']}")
        assert (reply.status, reply.error["limit"]) == (400, made["id"])
        await client.ended(made["id"])
        assert (await client.delete(f"/v1/files/{made['input_file_id']}")).status == 200

    works.do(work)


def test_files_are_forgotten_when_their_time_is_over(works: Works, tmp_path: Path) -> None:
    async def work(client: Client) -> list[str]:
        return [await client.upload(lines(1), **{"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"})] + [
            await client.upload(lines(1)) for _ in range(3)
        ]

    short, usual, gone, pending = works.do(work)
    now = int(time.time())

    def change(file_id: str, **values: Any) -> None:
        works.database.transaction(lambda one: one.execute(update(files).where(files.c.id == file_id).values(**values)))

    change(gone, state="gone")
    change(pending, state="pending", created=now - DAY)
    store = FolderStore(tmp_path / "files")
    domain.tidy(works.database, store, now)
    assert works.stored() == sorted([short, usual])
    domain.tidy(works.database, store, now + 3_700)
    assert works.stored() == [usual]
    domain.tidy(works.database, store, now + 31 * DAY)
    assert works.stored() == []
    assert works.database.transaction(lambda one: one.execute(select(files)).all()) == []


def test_a_file_whose_bytes_are_away_is_a_503_and_not_a_half_answer(works: Works, tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        file_id = await client.upload(lines(1))
        (tmp_path / "files" / file_id).unlink()
        reply = await client.get(f"/v1/files/{file_id}/content")
        assert (reply.status, reply.error["code"]) == (503, "storage_unavailable")
        assert reply.headers["retry-after"] == "5"

    works.do(work)


# The stores, one as the other.


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """moto's server in a process of its own, and a bucket in it."""
    code = "import sys; from moto.server import main; main(['-p', '0'])"
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-u", "-c", code], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    address = ""
    while not (found := re.search(r"http://127\.0\.0\.1:\d+", address)):
        address = process.stderr.readline()
        assert process.poll() is None
    yield found[0]
    process.kill()
    process.wait(10)
    process.stderr.close()


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "folder":
        return open_store(Settings(state_dir=str(tmp_path)))
    return in_bucket(request.getfixturevalue("bucket"), monkeypatch)


def in_bucket(address: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    import boto3  # noqa: PLC0415  # only here

    values = {"ENDPOINT_URL": address, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    boto3.client("s3").create_bucket(Bucket="kept")
    return open_store(Settings(files_url="s3://kept/some/where/"))


def test_a_store_keeps_replaces_reads_parts_and_deletes(store: Store, tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    for content in (b"x" * 3_000_000 + b"end", b"0123456789"):
        stream = spool.new()
        stream.write(content)
        source = finish(stream)
        store.put("file-1", source)
        drop(stream)
        assert not source.exists()
        assert b"".join(pieces(store, "file-1")) == content
    assert [store.read("file-1", *part) for part in ((0, 3), (8, 5), (10, 5), (99, 1))] == [b"012", b"89", b"", b""]
    store.delete("file-1")
    store.delete("file-1")
    with pytest.raises(MissingFile, match="files cannot be kept or read"):
        store.read("file-1", 0, 1)


def test_a_batch_is_done_over_a_bucket(bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    in_bucket(bucket, monkeypatch)
    url = f"sqlite:///{tmp_path / 'x.db'}"
    database = Database(url)
    migrate(database)
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=url, accounts=True, files_url="s3://kept/x")
    works = Works(settings, database)

    async def work(client: Client) -> None:
        batch = await client.ended((await client.create(lines(40) + line("bad", {})))["id"])
        assert batch["request_counts"] == {"total": 41, "completed": 40, "failed": 1}
        assert len(await client.rows(batch["output_file_id"])) == 40
        assert len(await client.rows(batch["error_file_id"])) == 1

    works.do(work)
    assert (len(works.uses()), works.stored()) == (40, [])
    database.close()


@pytest.mark.parametrize("url", ["ftp://x", "s3://", "/a/folder"])
def test_a_place_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="files_url: s3://BUCKET/PREFIX is expected"):
        open_store(Settings(files_url=url))


def test_a_bucket_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.delitem(sys.modules, "gigarank.service.batches.s3", raising=False)
    with pytest.raises(InvalidInput, match=r"pip install 'gigarank\[s3\]'"):
        open_store(Settings(files_url="s3://kept"))


def test_what_ended_processes_left_in_the_spool_goes_after_a_day(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    old, new = (Path(spool.new().name) for _ in range(2))
    os.utime(old, (time.time() - 2 * DAY,) * 2)
    Spool(str(tmp_path))
    assert [path.name for path in (tmp_path / "files" / "incoming").iterdir()] == [new.name]


# Lines.


def reading(content: bytes) -> Any:
    return lambda offset, size: content[offset : offset + min(size, 7)]


@pytest.mark.parametrize("content", [b"a\nbb\n\n  \nccc", b"a\r\nbb\r\n", b"", b"\n", b"a" * 50])
def test_lines_are_the_same_from_wherever_they_are_read(content: bytes) -> None:
    every = list(split(reading(content), 0, 0, 100))
    assert [(one.number, one.text) for one in every] == [
        (number, text) for number, text in enumerate(content.split(b"\n"), 1) if text.strip()
    ]
    for place, one in enumerate(every):
        assert list(split(reading(content), one.end, one.number, 100)) == every[place + 1 :]


def test_a_line_is_as_long_as_a_body_may_be() -> None:
    for content, number in ((b"a\n" + b"b" * 101, 2), (b"b" * 101 + b"\na", 1)):
        with pytest.raises(InvalidInput, match="more than 100 bytes") as raised:
            list(split(reading(content), 0, 0, 100))
        assert raised.value.received == number


def test_a_segment_is_so_many_lines_or_bytes() -> None:
    small = list(split(reading(b"a\n" * 100), 0, 0, 100))
    assert [len(taken(iter(small))), len(taken(iter(small[:3]))), taken(iter(()))] == [MOST_LINES, 3, []]
    large = [replace(one, text=b"x" * (MOST_BYTES // 2)) for one in small]
    assert len(taken(iter(large))) == 2
