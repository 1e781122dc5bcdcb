"""Batches from the file to the answers: every line answered and paid for once, at the batch tier's price."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from asgi import posting
from batching import BODY, COST, Client, Works, line, lines
from gigarank.engine.work import Result, Work
from gigarank.errors import Overloaded
from gigarank.service.accounts import service as accounts
from gigarank.service.credits.service import audit
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.metering.gate import AccountGate
from gigarank.service.settings import Settings
from gigarank.service.tables import batches
from gigarank.service.tenant import Limits


@pytest.fixture
def works(database: Database, database_url: str, tmp_path: Path) -> Iterator[Works]:
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True)
    made = Works(settings, database)
    yield made
    assert database.transaction(audit).problems == ()
    account = database.transaction(lambda one: accounts.find(one, made.made.account_id))
    assert account.held_micros == 0


def test_every_line_is_answered_and_paid_for_once(works: Works) -> None:
    async def work(client: Client) -> None:
        made = await client.create(lines(40), metadata={"run": "7"})
        assert (made["status"], made["request_counts"]["total"], made["metadata"]) == ("validating", 0, {"run": "7"})
        batch = await client.ended(made["id"])
        assert (batch["status"], batch["errors"], batch["error_file_id"]) == ("completed", None, None)
        assert batch["request_counts"] == {"total": 40, "completed": 40, "failed": 0}
        assert batch["created_at"] <= batch["in_progress_at"] <= batch["finalizing_at"] <= batch["completed_at"]
        assert (batch["model"], batch["usage"]["input_tokens"]) == ("fake", 40 * 28)
        rows = await client.rows(batch["output_file_id"])
        assert {row["custom_id"] for row in rows} == {f"r-{number}" for number in range(40)} and len(rows) == 40
        for row in rows:
            assert row["error"] is None and row["id"].startswith("batch_req_") and row["response"]["status_code"] == 200
            assert [one["index"] for one in row["response"]["body"]["results"]] == [0, 1]
            assert row["response"]["body"]["usage"]["service_tier"] == "batch"
        output = (await client.get(f"/v1/files/{batch['output_file_id']}")).json
        assert (output["purpose"], output["filename"]) == ("batch_output", f"{batch['id']}_output.jsonl")
        await works.keeps(batch["input_file_id"], batch["output_file_id"])

    works.do(work)
    uses = works.uses()
    assert len(uses) == 40 and {use["tier"] for use in uses} == {"batch"} and len({use["request_id"] for use in uses}) == 40
    assert {use["amount_micros"] for use in uses} == {COST} and all(use["batch_id"].startswith("batch_") for use in uses)


def test_all_endpoints_and_what_fails_costs_nothing(works: Works) -> None:
    asked: list[tuple[str, Any]] = [
        ("/v1/score", {"queries": "red", "documents": ["Mars"]}),
        ("/v1/embeddings", {"input": ["red planet"], "encoding_format": "float"}),
        ("/v1/decisions", {"input": "red", "questions": [{"type": "predicate", "instructions": "is it?"}]}),
        ("/v1/rerank", BODY),
    ]

    async def work(client: Client) -> None:
        for path, body in asked:
            content = (
                line("good", body, url=path)
                + line("bad", {}, url=path)
                + b"\n"
                + line("lost", {**body, "model": "none"}, url=path)
            )
            made = await client.create(content, path)
            batch = await client.ended(made["id"])
            assert batch["request_counts"] == {"total": 3, "completed": 1, "failed": 2}, path
            (good,) = await client.rows(batch["output_file_id"])
            assert good["custom_id"] == "good" and good["response"]["body"]["model"].startswith("fake")
            errors = {row["custom_id"]: row["response"] for row in await client.rows(batch["error_file_id"])}
            assert {name: response["status_code"] for name, response in errors.items()} == {"bad": 400, "lost": 404}
            assert errors["bad"]["body"]["error"]["param"]
        listed = (await client.get("/v1/batches?limit=3")).json
        assert len(listed["data"]) == 3 and listed["has_more"]
        rest = (await client.get(f"/v1/batches?after={listed['last_id']}")).json
        assert {one["endpoint"] for one in listed["data"] + rest["data"]} == dict(asked).keys() and not rest["has_more"]

    works.do(work)
    assert len(works.uses()) == 4


def test_a_line_s_own_urgency_does_not_count(works: Works) -> None:
    async def work(client: Client) -> None:
        body = {**BODY, "service_tier": "default", "priority": -5, "deadline_ms": 0, "parameters": {"service_tier": "default"}}
        batch = await client.ended((await client.create(line("a", body)))["id"])
        assert batch["request_counts"]["completed"] == 1

    works.do(work)
    assert [(use["tier"], use["amount_micros"]) for use in works.uses()] == [("batch", COST)]


BROKEN = {
    b"nonsense\n": (1, "invalid_json_line", "no JSON"),
    b"\n\n[1]\n": (3, "invalid_body", "a JSON object is expected; received list"),
    line(7): (1, "invalid_custom_id", "a text of 1 to 512 characters"),
    line(""): (1, "invalid_custom_id", "received ''"),
    line("a", method="GET"): (1, "invalid_method", "POST is expected; received 'GET'"),
    line("a", url="/v1/score"): (1, "invalid_url", "/v1/rerank, the batch's endpoint, is expected; received '/v1/score'"),
    line("a", body=[]): (1, "invalid_body", "an object is expected; received list"),
    line("a", {**BODY, "dry_run": True}): (1, "invalid_body", "body.dry_run: false is expected"),
    line("a") + line("b") + line("a"): (3, "duplicate_custom_id", "another line has the custom_id 'a'"),
    b"\n \n": (None, "empty_file", "the file holds no request"),
    b'{"custom_id": "\xff"}\n': (1, "invalid_body", "no UTF-8"),
}


def test_what_is_no_batch_fails_with_the_line_s_number_and_costs_nothing(works: Works) -> None:
    async def work(client: Client) -> None:
        made = [await client.create(content) for content in BROKEN]
        for one, (number, code, said) in zip(made, BROKEN.values(), strict=True):
            batch = await client.ended(one["id"])
            assert (batch["status"], batch["output_file_id"], batch["error_file_id"]) == ("failed", None, None)
            (error,) = batch["errors"]["data"]
            assert (error["line"], error["code"]) == (number, code), error
            assert said in error["message"] and batch["failed_at"] is not None

    works.do(work)
    assert works.uses() == []


def test_limits_of_lines_and_errors(works: Works) -> None:
    works.settings = replace(works.settings, max_batch_lines=3, max_body_bytes=1_024)

    async def work(client: Client) -> None:
        wanted = {
            lines(4): (4, "too_many_requests"),
            line("a") + line("b", {"query": "x" * 2_000, "documents": []}): (2, "line_too_long"),
        }
        for content, told in wanted.items():
            (error,) = (await client.ended((await client.create(content))["id"]))["errors"]["data"]
            assert (error["line"], error["code"]) == told

    works.do(work)
    works.settings = replace(works.settings, max_batch_lines=1_000)

    async def many(client: Client) -> None:
        assert len((await client.ended((await client.create(b"x\n" * 300))["id"]))["errors"]["data"]) == 100

    works.do(many)


def test_what_makes_no_batch_is_refused_at_once(works: Works) -> None:
    async def work(client: Client) -> None:
        good = {"input_file_id": await client.upload(lines(1)), "endpoint": "/v1/rerank", "completion_window": "24h"}
        wrong: list[tuple[dict[str, Any], int, str]] = [
            ({"input_file_id": "file-0"}, 404, "file_id"),
            ({"input_file_id": None}, 400, "input_file_id"),
            ({"endpoint": "/v1/chat/completions"}, 400, "endpoint"),
            ({"completion_window": "1h"}, 400, "completion_window"),
            ({"metadata": {str(number): "" for number in range(17)}}, 400, "metadata"),
            ({"metadata": {"a": 7}}, 400, "metadata.a"),
            ({"metadata": {"a": "x" * 513}}, 400, "metadata"),
            ({"output_expires_after": {"anchor": "created_at", "seconds": 60}}, 400, "output_expires_after.seconds"),
            ({"output_expires_after": {"anchor": "now", "seconds": 3_600}}, 400, "output_expires_after.anchor"),
            ({"dry_run": True}, 400, "dry_run"),
        ]
        for change, status, param in wrong:
            reply = await client.post("/v1/batches", {**good, **change})
            assert (reply.status, reply.error["param"]) == (status, param), reply.body
        batch = await client.ended((await client.post("/v1/batches", good)).json["id"])
        output = {**good, "input_file_id": batch["output_file_id"]}
        assert (await client.post("/v1/batches", output)).error["received"] == "batch_output"
        assert (await client.get("/v1/batches/batch_0")).status == 404
        assert (await client.post("/v1/batches/batch_0/cancel")).status == 404
        ended = await client.post(f"/v1/batches/{batch['id']}/cancel")
        assert (ended.status, ended.error["received"]) == (400, "completed")

    works.do(work)


def test_output_files_end_when_the_batch_says(works: Works) -> None:
    async def work(client: Client) -> None:
        wanted = {"anchor": "created_at", "seconds": 3_600}
        batch = await client.ended((await client.create(lines(1), output_expires_after=wanted))["id"])
        output = (await client.get(f"/v1/files/{batch['output_file_id']}")).json
        assert 0 <= output["expires_at"] - output["created_at"] - 3_600 <= 5

    works.do(work)


class Slow(FakeBackend):
    """Counts what it is asked at a time, and can be made busy so many times."""

    def __init__(self, delay_s: float = 0.0, busy: int = 0) -> None:
        super().__init__(delay_s)
        self.busy, self.running, self.most, self.tiers = busy, 0, 0, set[str]()

    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        if self.busy:
            self.busy -= 1
            raise Overloaded("busy", retry_after=0.01)
        self.running += 1
        self.most = max(self.most, self.running)
        self.tiers.add(work.tier)
        try:
            return await super().score(model, work, wait_s)
        finally:
            self.running -= 1


def test_cancelled_in_the_middle_what_was_asked_is_kept_and_the_rest_is_told(works: Works) -> None:
    works.backend = Slow(0.02)

    async def work(client: Client) -> Any:
        made = await client.create(lines(100))
        await client.until(made["id"], lambda batch: batch["request_counts"]["completed"] >= 32)
        reply = await client.post(f"/v1/batches/{made['id']}/cancel")
        assert (reply.status, reply.json["status"]) == (200, "cancelling")
        assert (await client.post(f"/v1/batches/{made['id']}/cancel")).status == 200
        batch = await client.ended(made["id"])
        assert batch["status"] == "cancelled" and batch["cancelled_at"] >= batch["cancelling_at"]
        done, rest = await client.rows(batch["output_file_id"]), await client.rows(batch["error_file_id"])
        assert len(done) == batch["request_counts"]["completed"] < 100
        assert {row["custom_id"] for row in [*done, *rest]} == {f"r-{number}" for number in range(100)}
        assert {row["error"]["code"] for row in rest} == {"batch_cancelled"} and len(done) + len(rest) == 100
        return batch["request_counts"]["completed"]

    assert works.do(work) == len(works.uses())
    assert works.backend.most <= works.settings.batch_concurrency and works.backend.tiers == {"batch"}


def test_a_batch_that_is_late_ends_with_what_it_has(works: Works) -> None:
    works.backend = Slow(0.02)

    async def work(client: Client) -> None:
        made = await client.create(lines(100))
        await client.until(made["id"], lambda batch: batch["request_counts"]["completed"] >= 32)
        await asyncio.to_thread(works.database.transaction, lambda one: one.execute(update(batches).values(expires_at=0)))
        batch = await client.ended(made["id"])
        assert batch["status"] == "expired" and batch["expired_at"] is not None
        rest = await client.rows(batch["error_file_id"])
        assert {row["error"]["code"] for row in rest} == {"batch_expired"}
        assert len(rest) + batch["request_counts"]["completed"] == 100

    works.do(work)


def test_a_server_that_is_busy_is_asked_again(works: Works) -> None:
    works.backend = Slow(busy=1)

    async def work(client: Client) -> None:
        batch = await client.ended((await client.create(lines(3)))["id"])
        assert batch["request_counts"] == {"total": 3, "completed": 3, "failed": 0}

    works.do(work)
    assert len(works.uses()) == 3


def test_a_defect_is_one_line_s_error(works: Works) -> None:
    class Defect(FakeBackend):
        async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
            if "broken" in work.searches[0].query:
                raise KeyError("a text that nobody may read")
            return await super().score(model, work, wait_s)

    works.backend = Defect()

    async def work(client: Client) -> None:
        content = line("a", {**BODY, "query": "broken"}) + line("b")
        batch = await client.ended((await client.create(content))["id"])
        assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
        (row,) = await client.rows(batch["error_file_id"])
        assert row["response"]["status_code"] == 500 and "nobody may read" not in json.dumps(row)

    works.do(work)


def test_credit_that_ends_fails_the_rest_and_overdraws_nothing(works: Works) -> None:
    poor = works.another("b@example.org", 5 * COST)

    async def work(client: Client) -> None:
        batch = await client.ended((await client.create(lines(12)))["id"])
        assert batch["request_counts"] == {"total": 12, "completed": 5, "failed": 7}
        rows = await client.rows(batch["error_file_id"])
        assert {row["response"]["body"]["error"]["code"] for row in rows} == {"credit_balance_exhausted"}

    works.do(work, poor.key)
    left = works.database.transaction(lambda one: accounts.find(one, poor.account_id))
    assert (left.balance_micros, left.held_micros) == (0, 0)


def test_a_key_s_models_hold_in_its_batches(works: Works) -> None:
    narrow = works.another("b@example.org", models=("fake-embedder",))

    async def work(client: Client) -> None:
        batch = await client.ended((await client.create(lines(1)))["id"])
        (row,) = await client.rows(batch["error_file_id"])
        assert row["response"]["status_code"] == 403

    works.do(work, narrow.key)


def test_a_batch_does_not_count_in_the_limits_of_what_is_asked_beside_it(works: Works) -> None:
    works.backend = Slow(0.05)
    limits = Limits(tokens_per_minute=60, concurrent_requests=1)
    works.database.transaction(lambda one: accounts.set_limits(one, works.made.account_id, limits))

    async def work(client: Client) -> None:
        made = await client.create(lines(40))
        await client.until(made["id"], lambda batch: batch["status"] == "in_progress")
        assert (await client.send(posting(BODY))).status == 200
        assert (await client.ended(made["id"]))["request_counts"]["completed"] == 40

    works.do(work)


class Recorded(FakeBackend):
    """Remembers the queries in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[str] = []

    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        self.queries.append(work.searches[0].query)
        return await super().score(model, work, wait_s)


def test_batches_take_turns(works: Works) -> None:
    """Made where no server works on them, so that both are there from the first step on."""
    texts = {"long": 110, "short": 5}

    async def make(client: Client) -> list[str]:
        made = []
        for query, count in texts.items():
            content = b"".join(line(f"r-{number}", {**BODY, "query": query}) for number in range(count))
            made.append((await client.create(content))["id"])
        await asyncio.sleep(0.2)
        for batch_id in made:
            assert (await client.get(f"/v1/batches/{batch_id}")).json["status"] == "validating"
        return made

    works.gate = lambda: AccountGate(works.settings)
    made = works.do(make)
    works.gate, works.backend = None, Recorded()

    async def work(client: Client) -> None:
        counts = [(await client.ended(batch_id))["request_counts"]["completed"] for batch_id in made]
        assert counts == list(texts.values())

    works.do(work)
    queries = works.backend.queries
    assert [queries.count(query) for query in texts] == list(texts.values())
    assert max(place for place, query in enumerate(queries) if query == "short") < 2 * 32 + 5


def test_a_server_that_ends_leaves_its_batch_to_the_next_one(works: Works) -> None:
    works.backend = Slow(0.02)

    async def begin(client: Client) -> str:
        made = await client.create(lines(90))
        await client.until(made["id"], lambda batch: batch["request_counts"]["completed"] >= 32)
        return str(made["id"])

    batch_id = works.do(begin)

    async def finish(client: Client) -> None:
        assert (await client.ended(batch_id))["request_counts"] == {"total": 90, "completed": 90, "failed": 0}

    works.backend = Slow()
    works.do(finish)
    assert len(works.uses()) == 90
