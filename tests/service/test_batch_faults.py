"""Batches while something fails: a database, a store, another server at the same batch, a lease that ran out."""

import asyncio
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from accounts import NOW
from asgi import Visit, run
from batching import BOUNDARY, COST, Client, Works, form, line, lines
from gigarank.errors import AccessDenied, InsufficientCredit, InvalidInput, ObjectNotFound, StorageUnavailable
from gigarank.service.accounts.deletion import delete_account
from gigarank.service.app import ROUTES
from gigarank.service.batches import files as domain
from gigarank.service.batches import repository, runner, service
from gigarank.service.batches.lines import check
from gigarank.service.batches.schemas import WINDOW_S, Asked, read_batch
from gigarank.service.batches.storage import FolderStore
from gigarank.service.batches.upload import Form
from gigarank.service.bodies.schemas import Asked as Terms
from gigarank.service.bodies.service import set_terms
from gigarank.service.credits import repository as credit
from gigarank.service.credits.schemas import Hold
from gigarank.service.credits.service import HOLD_S, audit, reserve
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.mail.service import Post
from gigarank.service.metering.gate import AccountGate
from gigarank.service.metering.sweeper import tend
from gigarank.service.settings import Settings
from gigarank.service.tables import accounts, batch_segments, batches, files, reservations
from gigarank.service.tenant import Limits, Tenant


@pytest.fixture
def works(database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Works]:
    monkeypatch.setattr(runner, "_PAUSE_S", 0.05)
    monkeypatch.setattr(runner, "_IDLE_S", 0.05)
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True)
    made = Works(settings, database)
    yield made
    assert database.transaction(audit).problems == ()


class Breaks:
    """Makes a function of a module, or a method, fail so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.left: dict[str, int] = {}

    def __call__(self, holder: Any, name: str, error: Exception, times: int = 1) -> None:
        works: Callable[..., Any] = getattr(holder, name)
        self.left[name] = times

        def broken(*arguments: Any, **more: Any) -> Any:
            if self.left[name] > 0:
                self.left[name] -= 1
                raise error
            return works(*arguments, **more)

        self._patch.setattr(holder, name, broken)


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Breaks:
    return Breaks(monkeypatch)


def lost() -> OperationalError:
    return OperationalError("statement", {}, Exception("the server closed the connection"))


def done(works: Works, count: int = 40) -> None:
    async def work(client: Client) -> None:
        batch = await client.ended((await client.create(lines(count)))["id"])
        assert batch["request_counts"] == {"total": count, "completed": count, "failed": 0}
        rows = await client.rows(batch["output_file_id"])
        assert sorted(row["custom_id"] for row in rows) == sorted(f"r-{number}" for number in range(count))
        await works.keeps(batch["input_file_id"], batch["output_file_id"])

    works.do(work)
    assert len(works.uses()) == count
    assert works.database.transaction(lambda one: one.execute(select(reservations)).first()) is None
    assert works.database.transaction(lambda one: one.execute(select(batch_segments)).first()) is None
    assert states_of_files(works) <= {"ready", "gone"}


def states_of_files(works: Works) -> set[str]:
    return set(works.database.transaction(lambda one: one.execute(select(files.c.state)).scalars()))


@pytest.mark.parametrize(
    ("holder", "name"),
    [
        (repository, "claim"),
        (repository, "advance"),
        (repository, "add_segment"),
        (repository, "segments_of"),
        (credit, "add_use"),
        (credit, "add_hold"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_database_that_fails_is_asked_again_and_charges_once(works: Works, breaks: Breaks, holder: Any, name: str) -> None:
    breaks(holder, name, lost(), 2)
    done(works)
    assert breaks.left == {name: 0}


@pytest.mark.parametrize("name", ["put", "read"])
def test_a_store_that_fails_is_asked_again(works: Works, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Once the batch is there: its upload is the client's to send again."""
    fails = StorageUnavailable("files cannot be kept or read: full", retry_after=1.0)
    failed: list[str] = []
    kept = getattr(FolderStore, name)

    def broken(store: FolderStore, what: str, *more: Any) -> Any:
        if len(failed) < 3 and (name == "read" or what.startswith("batch_")):
            failed.append(what)
            raise fails
        return kept(store, what, *more)

    monkeypatch.setattr(FolderStore, name, broken)
    done(works)
    assert len(failed) == 3


def test_an_upload_that_cannot_be_kept_is_a_503_and_nobody_finds_it(works: Works, breaks: Breaks) -> None:
    breaks(FolderStore, "put", StorageUnavailable("full", retry_after=1.0))

    async def work(client: Client) -> None:
        request = Visit("POST", "/v1/files", {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}, [b""])
        body = form(lines(1), purpose="batch")
        request.headers = {**request.headers, "content-length": str(len(body))}
        request.chunks = [body]
        reply = await client.send(request)
        assert (reply.status, reply.error["code"]) == (503, "storage_unavailable")
        assert (await client.get("/v1/files")).json["data"] == []
        assert works.stored() == [] and states_of_files(works) == {"gone"}
        assert works.database.transaction(lambda one: repository.stored_bytes(one, works.made.account_id)) == 0

    works.do(work)


def test_a_defect_of_a_step_is_logged_with_its_place_and_tried_again(
    works: Works, breaks: Breaks, caplog: pytest.LogCaptureFixture
) -> None:
    breaks(repository, "add_segment", KeyError("a text that nobody may read"))
    done(works)
    said = [record.getMessage() for record in caplog.records if "a step of a batch failed" in record.getMessage()]
    assert len(said) == 1 and "KeyError" in said[0] and "nobody" not in said[0]


@pytest.mark.parametrize("error", [lost(), KeyError("a defect")], ids=["away", "defect"])
def test_whoever_cannot_let_go_at_once_goes_on(works: Works, breaks: Breaks, error: Exception) -> None:
    """At the start, where what others held is taken; and after a step that failed."""
    breaks(repository, "let_go", error, 2)
    breaks(repository, "advance", KeyError("a step's"), 1)
    done(works)
    assert breaks.left["advance"] == 0


def test_a_hold_that_was_swept_and_credit_that_is_gone_charge_nothing(works: Works, breaks: Breaks) -> None:
    breaks(runner, "settle", InsufficientCredit("gone"))
    done(works)


@pytest.mark.parametrize("ticks", range(4))
def test_an_end_that_comes_with_something_to_do_is_the_end(works: Works, monkeypatch: pytest.MonkeyPatch, ticks: int) -> None:
    monkeypatch.setattr(runner, "_IDLE_S", 60.0)
    gate = AccountGate(works.settings, backend=works.backend, routes=ROUTES)

    async def work() -> None:
        await gate.start()
        (task,) = [each for each in asyncio.all_tasks() if each.get_name() == "batches"]
        awaited = gate._ready().depot.work
        async with asyncio.timeout(20):
            while not awaited._waiters:
                await asyncio.sleep(0.01)
        awaited.set()
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        assert (await asyncio.wait((task,), timeout=20))[0] == {task} and task.cancelled()
        await gate.close()

    run(work())


# Several servers.


def test_two_servers_at_one_database_do_each_line_once(works: Works) -> None:
    works.backend = FakeBackend(0.002)

    async def work(client: Client) -> list[Any]:
        made = [await client.create(lines(40)) for _ in range(4)]
        async with works.open() as other:
            ended = [await other.ended(one["id"]) for one in made]
            counts = [len(await client.rows(one["output_file_id"])) for one in ended]
        assert counts == [40] * 4
        return ended

    for batch in works.do(work):
        assert batch["request_counts"] == {"total": 40, "completed": 40, "failed": 0}
    uses = works.uses()
    assert len(uses) == 160 == len({use["request_id"] for use in uses})
    assert sum(use["amount_micros"] for use in uses) == 160 * COST


class Held:
    """A batch with two owners to be, on a database alone."""

    def __init__(self, works: Works) -> None:
        self.database, self.made = works.database, works.made
        tenant = Tenant(self.made.account_id, self.made.key_id, ("inference",), None, Limits(), Limits())

        def work(one: Any) -> str:
            file_id = domain.new_file_id()
            domain.announce(one, self.made.account_id, file_id, ("batch", "x", 1), (NOW, NOW + 9_999))
            repository.set_file(one, file_id, state="ready")
            return str(service.create(one, tenant, Asked("/v1/rerank", file_id, None, None), NOW, 64)["id"])

        self.batch_id = self.database.transaction(work)

    def claim(self, owner: str, now: int = NOW) -> Any:
        return self.database.transaction(lambda one: repository.claim(one, owner, now, now + HOLD_S))

    def advance(self, batch: Any, owner: str, **values: Any) -> bool:
        states = ("validating", "in_progress")
        return self.database.transaction(lambda one: repository.advance(one, batch, owner, states, **values))


def test_one_owner_at_a_time_until_its_time_is_up(works: Works) -> None:
    held = Held(works)
    first = held.claim("a")
    assert first["id"] == held.batch_id and first["expires_at"] == NOW + WINDOW_S
    assert held.claim("b") is None and held.claim("b", NOW + HOLD_S - 1) is None
    asyncio.run(tend(works.database, "a", NOW + 30))
    assert held.claim("b", NOW + HOLD_S) is None
    second = held.claim("b", NOW + 30 + HOLD_S)
    assert second["owner"] == "b"
    assert not held.advance(first, "a", bytes_done=10)
    assert held.advance(second, "b", bytes_done=10)
    assert not held.advance(second, "b", bytes_done=20)  # from where it began, once


def test_who_ends_lets_go_and_who_has_ended_is_not_claimed(works: Works) -> None:
    held = Held(works)
    held.claim("a")
    works.database.transaction(lambda one: repository.let_go(one, "b"))
    assert held.claim("b") is None
    works.database.transaction(lambda one: repository.let_go(one, "a"))
    assert held.claim("b") is not None
    works.database.transaction(lambda one: repository.let_go(one, None))
    works.database.transaction(lambda one: one.execute(update(batches).values(state="completed")))
    assert held.claim("b") is None


def test_the_lowest_turn_is_next(works: Works) -> None:
    held, other = Held(works), Held(works)
    works.database.transaction(
        lambda one: one.execute(update(batches).where(batches.c.id == held.batch_id).values(turn=NOW * 1_000 + 1))
    )
    assert [held.claim("a")["id"], held.claim("b")["id"], held.claim("c")] == [other.batch_id, held.batch_id, None]


def test_a_batch_is_its_account_s(works: Works) -> None:
    held, other = Held(works), works.another("b@example.org")
    with pytest.raises(ObjectNotFound, match="no batch"):
        works.database.transaction(lambda one: service.find(one, other.account_id, held.batch_id))
    with pytest.raises(ObjectNotFound, match="no batch"):
        works.database.transaction(lambda one: service.cancel(one, other.account_id, held.batch_id, NOW))
    assert works.database.transaction(lambda one: service.cancel(one, works.made.account_id, held.batch_id, NOW))["state"] == (
        "cancelling"
    )


def test_a_batch_s_holds_are_counted_in_no_limit(works: Works) -> None:
    made = works.made

    def hold(name: str, most: int | None, batch_id: str | None) -> Hold:
        return Hold(name, made.account_id, made.key_id, 1, "server", most, most, batch_id)

    for number in range(3):
        works.database.transaction(lambda one, number=number: reserve(one, hold(f"b{number}", None, "batch_1"), NOW))  # type: ignore[misc]
    works.database.transaction(lambda one: reserve(one, hold("own", 1, None), NOW))
    assert works.database.transaction(lambda one: credit.holds_of(one, made.account_id, made.key_id)) == (1, 1)


def test_a_batch_is_cancelled_before_it_was_looked_at(works: Works) -> None:
    async def work(client: Client) -> None:
        for content, names in ((lines(2), ["r-0", "r-1"]), (b"nonsense\n" + line("a"), [None, "a"])):
            made = await client.create(content)
            reply = await client.post(f"/v1/batches/{made['id']}/cancel")
            if reply.status == 400:  # it was quicker
                continue
            batch = await client.ended(made["id"])
            if batch["status"] == "cancelled" and not batch["request_counts"]["completed"]:
                rows = await client.rows(batch["error_file_id"])
                assert [row["custom_id"] for row in rows] == names

    works.do(work)


def test_a_cancelled_batch_with_a_line_that_is_too_long_ends(works: Works) -> None:
    works.settings = replace(works.settings, max_body_bytes=1_024)
    held = Held(works)

    async def work(client: Client) -> None:
        batch = await client.until(held.batch_id, lambda one: one["status"] == "cancelled")
        assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)

    def prepare(one: Any) -> str:
        service.cancel(one, works.made.account_id, held.batch_id, NOW)
        return str(service.find(one, works.made.account_id, held.batch_id)["input_file_id"])

    folder = Path(works.settings.state_dir) / "files"
    folder.mkdir(exist_ok=True)
    (folder / works.database.transaction(prepare)).write_bytes(b"x" * 3_000)
    works.do(work)


def forget_bytes(works: Works, file_id: str) -> None:
    (Path(works.settings.state_dir) / "files" / file_id).unlink()


def test_a_batch_that_cannot_be_done_now_stops_no_other(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck: list[str] = []
    kept = FolderStore.read

    def broken(store: FolderStore, name: str, offset: int, size: int) -> bytes:
        if name in stuck:
            raise StorageUnavailable("files cannot be kept or read: its disk is away", retry_after=1.0)
        return kept(store, name, offset, size)

    monkeypatch.setattr(FolderStore, "read", broken)

    async def work(client: Client) -> None:
        stuck.append(await client.upload(lines(1)))
        asked = {"input_file_id": stuck[0], "endpoint": "/v1/rerank", "completion_window": "24h"}
        first = (await client.post("/v1/batches", asked)).json
        second = await client.ended((await client.create(lines(3)))["id"])
        assert second["request_counts"]["completed"] == 3
        assert (await client.get(f"/v1/batches/{first['id']}")).json["status"] == "validating"
        stuck.clear()
        assert (await client.ended(first["id"]))["status"] == "completed"

    works.do(work)


def test_a_batch_whose_file_is_lost_fails_and_says_so(works: Works) -> None:
    async def work(client: Client) -> None:
        file_id = await client.upload(lines(1))
        forget_bytes(works, file_id)
        reply = await client.post(
            "/v1/batches", {"input_file_id": file_id, "endpoint": "/v1/rerank", "completion_window": "24h"}
        )
        batch = await client.ended(reply.json["id"])
        assert (batch["status"], batch["errors"]["data"][0]["code"]) == ("failed", "file_lost")
        assert batch["failed_at"] is not None and batch["output_file_id"] is None

    works.do(work)


def test_a_batch_that_loses_its_file_in_the_middle_keeps_the_answers_it_has(works: Works) -> None:
    works.backend = FakeBackend(0.02)

    async def work(client: Client) -> None:
        made = await client.create(lines(100))
        await client.until(made["id"], lambda batch: batch["request_counts"]["completed"] >= 32)
        forget_bytes(works, made["input_file_id"])
        batch = await client.ended(made["id"])
        assert batch["status"] == "failed"
        assert len(await client.rows(batch["output_file_id"])) == batch["request_counts"]["completed"] == len(works.uses())

    works.do(work)


def test_a_cancelled_batch_whose_file_is_lost_ends(works: Works) -> None:
    held = Held(works)  # its bytes were never there
    works.database.transaction(lambda one: service.cancel(one, works.made.account_id, held.batch_id, NOW))

    async def work(client: Client) -> None:
        batch = await client.until(held.batch_id, lambda one: one["status"] == "cancelled")
        assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)

    works.do(work)


def test_a_failed_step_is_the_last_in_the_row(works: Works) -> None:
    held = Held(works)
    held.claim("a")
    works.database.transaction(lambda one: repository.let_go(one, "a", NOW * 1_000 + 7))
    assert held.claim("a")["turn"] == NOW * 1_000 + 7
    works.database.transaction(lambda one: repository.let_go(one, None))
    assert held.claim("a")["turn"] == NOW * 1_000 + 7


def ready_file(works: Works, expires: int = NOW + 9_999) -> str:
    def work(one: Any) -> str:
        file_id = domain.new_file_id()
        domain.announce(one, works.made.account_id, file_id, ("batch", "x", 1), (NOW, expires))
        repository.set_file(one, file_id, state="ready")
        return file_id

    return works.database.transaction(work)


def begin(works: Works, one: Any, file_id: str, now: int = NOW) -> Any:
    tenant = Tenant(works.made.account_id, works.made.key_id, ("inference",), None, Limits(), Limits())
    return service.create(one, tenant, Asked("/v1/rerank", file_id, None, None), now, 64)


def test_a_file_whose_time_is_over_begins_no_batch(works: Works) -> None:
    file_id = ready_file(works, NOW + 10)
    with pytest.raises(ObjectNotFound, match="no file"):
        works.database.transaction(lambda one: begin(works, one, file_id, NOW + 10))
    works.database.transaction(lambda one: begin(works, one, file_id, NOW + 9))


def test_a_file_is_not_given_up_while_a_batch_begins_to_read_it(works: Works) -> None:
    """The batch is there before the one who deletes has looked."""
    file_id, begun = ready_file(works), threading.Event()

    def slowly(one: Any) -> None:
        begin(works, one, file_id)
        begun.set()
        time.sleep(0.3)

    creating = threading.Thread(target=works.database.transaction, args=(slowly,))
    creating.start()
    begun.wait(10)
    with pytest.raises(InvalidInput, match="is the input of batch"):
        works.database.transaction(lambda one: domain.give_up(one, works.made.account_id, file_id, NOW))
    creating.join(10)


def test_tidying_leaves_a_file_that_a_batch_has_begun_to_read(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    file_id, store = ready_file(works), FolderStore(Path(works.settings.state_dir) / "files")
    path = Path(works.settings.state_dir) / "files" / file_id
    path.write_bytes(b"x")
    made = works.database.transaction(lambda one: begin(works, one, file_id))
    monkeypatch.setattr(repository, "files_to_go", lambda *_: [file_id])  # as it was seen before the batch began
    domain.tidy(works.database, store, NOW)
    assert path.exists()
    works.database.transaction(lambda one: repository.change(one, made["id"], ("validating",), state="completed"))
    domain.tidy(works.database, store, NOW)
    assert not path.exists()


def test_what_an_earlier_end_of_a_batch_began_to_keep_counts_no_more(works: Works) -> None:
    account_id = works.made.account_id

    def announce(one: Any, name: str, size: int) -> None:
        domain.announce_output(one, account_id, domain.new_file_id(), ("batch_output", name, size), (NOW, NOW + 9_999))

    for size in (500, 700, 700):  # killed twice
        works.database.transaction(lambda one, size=size: announce(one, "batch_1_output.jsonl", size))  # type: ignore[misc]
    works.database.transaction(lambda one: announce(one, "batch_1_errors.jsonl", 30))
    assert works.database.transaction(lambda one: repository.stored_bytes(one, account_id)) == 730


# Accounts that end.


def end_account(works: Works) -> None:
    quiet = Post("", sends=False)
    works.database.transaction(lambda one: delete_account(one, quiet, works.made.account_id, NOW))


def test_a_batch_whose_account_was_deleted_ends_and_keeps_no_file(works: Works) -> None:
    works.backend = FakeBackend(0.02)

    async def work(client: Client) -> None:
        made = await client.create(lines(100))
        await client.until(made["id"], lambda batch: batch["request_counts"]["completed"] >= 32)
        await asyncio.to_thread(end_account, works)
        async with asyncio.timeout(60):
            while [row["state"] for row in rows_of(works, batches)] != ["cancelled"] or works.stored():
                await asyncio.sleep(0.02)

    works.do(work)
    assert rows_of(works, files) == [] and rows_of(works, batch_segments) == []
    (row,) = rows_of(works, batches)
    assert (row["output_file_id"], row["error_file_id"], row["completed"]) == (None, None, len(works.uses()))


def rows_of(works: Works, table: Any) -> list[Any]:
    return list(works.database.transaction(lambda one: one.execute(select(table)).mappings().all()))


@pytest.mark.parametrize("state", ["suspended", "deleted"])
def test_nothing_begins_for_an_account_that_has_ended(works: Works, state: str) -> None:
    account_id, file_id = works.made.account_id, ready_file(works)
    works.database.transaction(lambda one: one.execute(update(accounts).values(state=state)))
    times = (NOW, NOW + 9_999)
    starts: list[Any] = [
        lambda one: begin(works, one, file_id),
        lambda one: domain.announce(one, account_id, "file-1", ("batch", "x", 1), times),
        *([lambda one: set_terms(one, account_id, Terms(7, None), NOW)] if state == "deleted" else []),
    ]
    for start in starts:
        with pytest.raises(AccessDenied, match=f"the account (is|was) {state}"):
            works.database.transaction(start)
    if state == "suspended":  # whose operator may want less kept
        assert works.database.transaction(lambda one: set_terms(one, account_id, Terms(7, None), NOW))["days"] == 7
    kept = works.database.transaction(
        lambda one: domain.announce_output(one, account_id, "file-2", ("batch_output", "x", 1), times)
    )
    assert kept is (state == "suspended") and len(rows_of(works, files)) == 1 + kept


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, name: str, work: Callable[[], None], given: str | None = None
) -> threading.Thread:
    """Once `repository.name` was called, with that argument, `work` begins; it has a moment to get as far as it can."""
    thread, works = threading.Thread(target=work), getattr(repository, name)

    def slow(*arguments: Any, **more: Any) -> Any:
        result = works(*arguments, **more)
        if thread.ident is None and (given is None or given in more):
            thread.start()
            thread.join(0.5)
        return result

    monkeypatch.setattr(repository, name, slow)
    return thread


def test_a_batch_that_begins_while_its_account_is_deleted_is_cancelled(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither waits for what the other one has."""
    file_id = ready_file(works)
    ending = meanwhile(monkeypatch, "lock_file", lambda: end_account(works))
    works.database.transaction(lambda one: begin(works, one, file_id))
    ending.join()
    assert [row["state"] for row in rows_of(works, batches)] == ["cancelling"]
    assert [row["state"] for row in rows_of(works, accounts)] == ["deleted"]


def test_a_part_of_a_batch_is_settled_while_its_account_is_deleted(
    works: Works, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    works.backend = FakeBackend(0.002)
    ending = meanwhile(monkeypatch, "advance", lambda: end_account(works), "lines_done")

    async def work(client: Client) -> None:
        await client.create(lines(40))
        async with asyncio.timeout(60):
            while [row["state"] for row in rows_of(works, batches)] != ["cancelled"]:
                await asyncio.sleep(0.02)

    works.do(work)
    ending.join()
    assert "deadlock" not in caplog.text and [row["state"] for row in rows_of(works, accounts)] == ["deleted"]


# Never whole in memory.


def peak_bytes(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_upload_is_not_held_in_memory(tmp_path: Path) -> None:
    content = form(b"x" * 1_000, purpose="batch").partition(b"x" * 1_000)

    async def chunks() -> Any:
        yield content[0]
        for _ in range(300):
            yield b"x" * 100_000
        yield content[2]

    def work() -> None:
        with (tmp_path / "file").open("wb") as target:
            parsed = Form(target, 10**9)
            asyncio.run(parsed.read(chunks(), f"multipart/form-data; boundary={BOUNDARY}"))
            assert (parsed.size, parsed.fields) == (30_000_000, {"purpose": "batch"})

    assert peak_bytes(work) < 5_000_000
    assert (tmp_path / "file").stat().st_size == 30_000_000


def test_a_file_is_checked_and_no_more_than_a_block_of_it_is_held() -> None:
    text = line("a" * 100, {"query": "q", "documents": ["x" * 2_000]})
    size = 20_000_000 // len(text) * len(text)

    def read(offset: int, wanted: int) -> bytes:
        begin = offset % len(text)
        found = (text * (wanted // len(text) + 2))[begin : begin + wanted]
        return found[: max(0, size - offset)]

    def work() -> None:
        checked = check(read, "/v1/rerank", Settings())
        assert checked.total == 101 and checked.errors[0]["code"] == "duplicate_custom_id"

    assert peak_bytes(work) < 8_000_000


# What is asked.

GOOD = {"input_file_id": "file-1", "endpoint": "/v1/rerank", "completion_window": "24h"}


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({}, Asked("/v1/rerank", "file-1", None, None)),
        ({"metadata": None, "output_expires_after": None}, Asked("/v1/rerank", "file-1", None, None)),
        ({"metadata": {"a": "b"}, "endpoint": "/v1/score"}, Asked("/v1/score", "file-1", {"a": "b"}, None)),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 2_592_000}},
            Asked("/v1/rerank", "file-1", None, 2_592_000),
        ),
    ],
)
def test_what_is_asked_is_read(change: Mapping[str, Any], asked: Asked) -> None:
    assert read_batch({**GOOD, **change}) == asked


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "body: must be an object"),
        ({}, "input_file_id: is required"),
        ({**GOOD, "input_file_id": " "}, "input_file_id: must not be empty"),
        ({**GOOD, "input_file_id": 7}, "input_file_id: must be a string"),
        ({**GOOD, "endpoint": "/v1/rerank/"}, "endpoint: must be one of /v1/rerank, /v1/score, /v1/embeddings, /v1/decisions"),
        ({**GOOD, "metadata": []}, "metadata: must be an object"),
        ({**GOOD, "metadata": {"n" * 65: ""}}, "metadata: names of at most 64 characters"),
        ({**GOOD, "output_expires_after": {"anchor": "created_at"}}, "output_expires_after.seconds: is required"),
        ({**GOOD, "output_expires_after": 7}, "output_expires_after: must be an object"),
    ],
)
def test_what_cannot_be_asked_is_said(body: Any, said: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        read_batch(body)
    assert raised.value.message.startswith(said)
