"""Bodies of requests: nowhere unless both the operator and the account want them, and gone when their time is over."""

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from accounts import NOW
from asgi import posting
from batching import Client, Works, described, line
from gigarank.service.accounts.deletion import delete_account
from gigarank.service.db import Database
from gigarank.service.mail.service import Post
from gigarank.service.metering import sweeper
from gigarank.service.metering.sweeper import tend
from gigarank.service.offer_tables import bodies, body_terms, model_votes
from gigarank.service.settings import Settings
from gigarank.service.tables import metadata

SECRET = "zanzibar"
BODY = {"query": f"{SECRET} planet", "documents": [f"the {SECRET} planet is Mars", "a red car"], "return_documents": True}
DAY = 86_400
PATHS: dict[str, Any] = {
    "/v1/rerank": BODY,
    "/v1/score": {"queries": SECRET, "documents": [f"{SECRET} Mars"]},
    "/v1/embeddings": {"input": [f"{SECRET} planet"], "model": "fake-embedder"},
    "/v1/decisions": {"input": SECRET, "questions": [{"type": "predicate", "instructions": f"is it {SECRET}?"}]},
}


@pytest.fixture
def works(database: Database, database_url: str, tmp_path: Path) -> Iterator[Works]:
    settings = Settings(
        models=("fake", "fake-embedder"), state_dir=str(tmp_path), database_url=database_url, accounts=True, max_body_days=30
    )
    yield Works(settings, database)


def found(works: Works) -> set[str]:
    """Where the word of the requests is: tables by their rows, and files of the state folder by their bytes."""

    def rows(one: Connection) -> dict[str, list[Any]]:
        return {name: [value for row in one.execute(select(table)) for value in row] for name, table in metadata.tables.items()}

    told = works.database.transaction(rows).items()
    places = {name for name, values in told if any(SECRET in str(value) for value in values)}
    files = [path for path in Path(works.settings.state_dir).rglob("*") if path.is_file()]
    assert files
    return places | {path.name for path in files if SECRET.encode() in path.read_bytes()}


async def asked(client: Client) -> None:
    for path, body in PATHS.items():
        reply = await client.post(path, body)
        assert reply.status == 200, reply.body


async def terms(client: Client, **body: Any) -> Any:
    reply = await client.post("/v1/logging", body)
    assert reply.status == 200, reply.body
    return described(reply, "set_body_terms")


async def logs(client: Client, query: str = "") -> list[Any]:
    rows: list[Any] = described(await client.get(f"/v1/logs{query}"), "list_logs")["data"]
    return rows


@pytest.mark.parametrize("days", [0, 30], ids=["the server keeps none", "nobody asked"])
def test_no_text_of_a_request_is_anywhere_unless_it_was_asked_for(
    works: Works, days: int, caplog: pytest.LogCaptureFixture
) -> None:
    works.settings = replace(works.settings, max_body_days=days)
    caplog.set_level(logging.DEBUG)

    async def work(client: Client) -> None:
        await asked(client)
        assert (await client.post("/v1/rerank", {**BODY, "top_n": SECRET})).status == 400
        assert (await client.post("/v1/rerank", {**BODY, "model": SECRET})).status == 404
        assert described(await client.get("/v1/logging"), "show_body_terms")["days"] is None
        assert await logs(client) == []
        if not days:
            refused = await client.post("/v1/logging", {"days": 1})
            assert (refused.status, refused.error["param"], refused.error["limit"]) == (400, "days", 0)
            assert (await terms(client, days=0))["max_days"] == 0

    works.do(work)
    assert len(works.uses()) == len(PATHS)
    assert found(works) == set()
    assert not [record for record in caplog.records if SECRET in record.getMessage()]


def test_what_was_asked_for_is_kept_as_it_was_sent(works: Works, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def work(client: Client) -> None:
        assert (await terms(client, days=7))["days"] == 7
        reply = await client.post("/v1/rerank", BODY)
        (row,) = await logs(client)
        kept = described(await client.get(f"/v1/logs/{row['id']}"), "show_log")
        assert json.loads(kept["request"]) == BODY and kept["response"].encode() == reply.body and kept["truncated"] == []
        assert (kept["request_id"], kept["route"]) == (reply.headers["x-request-id"], "/v1/rerank")
        assert (kept["status"], kept["expires"] - kept["created"]) == (200, 7 * DAY)
        assert (kept["request_bytes"], kept["response_bytes"]) == (len(kept["request"].encode()), len(reply.body))

    works.do(work)
    assert "bodies" in found(works)
    assert not [record for record in caplog.records if SECRET in record.getMessage()]


def test_what_was_not_paid_for_is_not_kept(works: Works) -> None:
    async def work(client: Client) -> None:
        await terms(client, days=7)
        assert (await client.post("/v1/rerank", {**BODY, "top_n": "x"})).status == 400
        assert (await client.post("/v1/rerank", {**BODY, "dry_run": True})).status == 200
        assert (await client.get("/v1/account")).status == 200
        assert (await client.send(posting({"days": 7}, "/v1/logging", idempotency_key="k-1"))).status == 200
        assert await logs(client) == []

    works.do(work)
    assert found(works) == set()


def test_a_key_has_its_own_say_and_nobody_sees_another_account_s(works: Works) -> None:
    other = works.another("b@example.org")

    async def work(client: Client) -> None:
        shown = await terms(client, days=7, key_id=works.made.key_id)
        assert (shown["days"], shown["keys"]) == (None, [{"key_id": works.made.key_id, "days": 7}])
        theirs = Client(client.app, other.key)
        await client.post("/v1/rerank", BODY)
        await theirs.post("/v1/rerank", BODY)
        (row,) = await logs(client)
        assert row["key_id"] == works.made.key_id and await logs(theirs) == []
        for reply in (await theirs.get(f"/v1/logs/{row['id']}"), await theirs.delete(f"/v1/logs/{row['id']}")):
            assert (reply.status, reply.error["param"]) == (404, "log_id")
        assert (await theirs.delete("/v1/logs")).json["deleted"] == 0
        refused = await theirs.post("/v1/logging", {"days": 1, "key_id": works.made.key_id})
        assert (refused.status, refused.error["param"]) == (400, "key_id")
        await terms(client, days=7)
        await terms(client, days=0, key_id=works.made.key_id)
        await client.post("/v1/rerank", BODY)
        assert await logs(client) == []  # the key's word is over the account's, and it has ended what it had

    works.do(work)


def test_pages_and_what_is_looked_for(works: Works) -> None:
    async def work(client: Client) -> None:
        await terms(client, days=1)
        sent = [await client.post("/v1/rerank", BODY) for _ in range(5)]
        seen: list[Any] = []
        page: Any = {"has_more": True}
        while page["has_more"]:
            behind = f"&after={seen[-1]['id']}" if seen else ""
            page = described(await client.get(f"/v1/logs?limit=2{behind}"), "list_logs")
            seen += page["data"]
        assert page["last_id"] == seen[-1]["id"]
        assert sorted(row["request_id"] for row in seen) == sorted(reply.headers["x-request-id"] for reply in sent)
        named = await logs(client, f"?request_id={seen[3]['request_id']}")
        assert [row["id"] for row in named] == [seen[3]["id"]] and await logs(client, "?key_id=key_0") == []
        assert (await client.get("/v1/logs?limit=101")).error["limit"] == 100
        assert "request" not in seen[0]

    works.do(work)


def test_long_bodies_are_cut_and_say_so(works: Works) -> None:
    works.settings = replace(works.settings, max_body_log_bytes=1_024)
    long = {"query": "ä" * 2_000, "documents": ["b"]}

    async def work(client: Client) -> None:
        await terms(client, days=1)
        await client.post("/v1/rerank", long)
        (row,) = await logs(client)
        kept = described(await client.get(f"/v1/logs/{row['id']}"), "show_log")
        assert kept["truncated"] == ["request"] and json.dumps(long).startswith(kept["request"])
        assert (len(kept["request"]), kept["request_bytes"]) == (1_024, len(json.dumps(long)))

    works.do(work)


def test_it_is_deleted_when_it_is_asked_one_by_one_and_all(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(client: Client) -> None:
        await terms(client, days=7)
        await asked(client)
        rows = await logs(client)
        assert len(rows) == len(PATHS)
        gone = described(await client.delete(f"/v1/logs/{rows[0]['id']}"), "delete_log")
        assert gone["deleted"] == 1 and (await client.get(f"/v1/logs/{rows[0]['id']}")).status == 404
        assert (await client.delete(f"/v1/logs/{rows[0]['id']}")).status == 404
        assert len(await logs(client)) == len(PATHS) - 1
        assert described(await client.delete("/v1/logs"), "delete_logs")["deleted"] == len(PATHS) - 1
        async with asyncio.timeout(30):
            while found(works):
                await asyncio.sleep(0.02)

    monkeypatch.setattr(sweeper, "SWEEP_S", 0.02)
    works.do(work)


def test_it_is_gone_when_its_days_are_over(works: Works) -> None:
    async def work(client: Client) -> int:
        await terms(client, days=7)
        await asked(client)
        return int((await logs(client))[-1]["expires"])

    expires = works.do(work)
    assert works.database.scrub()
    asyncio.run(tend(works.database, "server_1", expires - 60))
    assert works.database.scrub() and "bodies" in found(works)
    asyncio.run(tend(works.database, "server_1", expires + 60))
    assert works.database.scrub() and found(works) == set()


def test_fewer_days_end_what_is_there_sooner(works: Works) -> None:
    other = works.another("b@example.org")

    async def work(client: Client) -> None:
        theirs = Client(client.app, other.key)
        for one in (client, theirs):
            await terms(one, days=30)
            await one.post("/v1/rerank", BODY)
        await terms(client, days=2)
        assert [row["expires"] - row["created"] for row in await logs(client)] == [2 * DAY]
        await terms(client, days=9)
        assert [row["expires"] - row["created"] for row in await logs(client)] == [2 * DAY]
        await terms(client, days=None)
        assert await logs(client) == []
        assert [row["expires"] - row["created"] for row in await logs(theirs)] == [30 * DAY]

    works.do(work)


def test_the_server_s_days_are_the_most_whatever_was_said_before(works: Works) -> None:
    async def before(client: Client) -> None:
        assert (await client.post("/v1/logging", {"days": 31})).error["limit"] == 30
        await terms(client, days=30)

    async def after(client: Client) -> None:
        await client.post("/v1/rerank", BODY)

    works.do(before)
    for most, kept in ((2, [2 * DAY]), (0, [2 * DAY])):
        works.settings = replace(works.settings, max_body_days=most)
        works.do(after)
        rows = works.database.transaction(lambda one: one.execute(select(bodies)).mappings().all())
        assert [row["expires"] - row["created"] for row in rows] == kept


WRONG: list[tuple[Any, str]] = [
    ({}, "days"),
    ({"days": "7"}, "days"),
    ({"days": -1}, "days"),
    ({"days": 1, "key_id": 7}, "key_id"),
]


def test_what_makes_no_sense_is_refused(works: Works) -> None:
    limited = works.another("c@example.org", scopes=("inference",))

    async def work(client: Client) -> None:
        for body, param in WRONG:
            reply = await client.post("/v1/logging", body)
            assert (reply.status, reply.error["param"]) == (400, param), reply.body
        assert (await Client(client.app, limited.key).send(posting({"days": 1}, "/v1/logging"))).status == 403

    works.do(work)


def test_a_batch_s_lines_are_in_its_files_alone(works: Works) -> None:
    async def work(client: Client) -> None:
        await terms(client, days=7)
        batch = await client.ended((await client.create(line("a", BODY)))["id"])
        assert batch["request_counts"]["completed"] == 1
        assert await logs(client) == []

    works.do(work)


def test_a_body_whose_charge_fails_is_not_kept(works: Works) -> None:
    async def work(client: Client) -> None:
        await terms(client, days=7)
        assert (await client.post("/v1/rerank", BODY)).status == 402
        assert await logs(client) == []

    accounts = metadata.tables["accounts"]
    works.database.transaction(lambda one: one.execute(update(accounts).values(state="active", balance_micros=0)))
    works.do(work)


def test_a_replayed_answer_is_not_kept_twice(works: Works) -> None:
    async def work(client: Client) -> None:
        await terms(client, days=7)
        sent = [await client.send(posting(BODY, idempotency_key="k-1")) for _ in range(3)]
        assert [reply.headers.get("idempotent-replayed") for reply in sent] == [None, "true", "true"]
        (row,) = await logs(client)
        assert row["request_id"] == sent[0].headers["x-request-id"]

    works.do(work)


def test_a_token_s_requests_are_its_key_s(works: Works) -> None:
    async def work(client: Client) -> None:
        await terms(client, days=7, key_id=works.made.key_id)
        token = (await client.post("/v1/key/token", {})).json["token"]
        theirs = Client(client.app, token)
        assert (await theirs.post("/v1/rerank", BODY)).status == 200
        assert [row["key_id"] for row in await logs(client)] == [works.made.key_id]
        assert (await theirs.get("/v1/logs")).status == 403

    works.do(work)


def test_requests_at_once_are_each_kept_with_their_own_answer(works: Works) -> None:
    async def work(client: Client) -> None:
        await terms(client, days=7)
        asked = [{"query": f"{SECRET} {number}", "documents": [f"{SECRET} {number}", "x"]} for number in range(12)]
        sent = await asyncio.gather(*(client.post("/v1/rerank", body) for body in asked))
        told = {reply.headers["x-request-id"]: (body, reply.body) for body, reply in zip(asked, sent, strict=True)}
        rows = await logs(client)
        assert {row["request_id"] for row in rows} == told.keys()
        for row in rows:
            kept = (await client.get(f"/v1/logs/{row['id']}")).json
            assert (json.loads(kept["request"]), kept["response"].encode()) == told[row["request_id"]]

    works.do(work)


def test_an_account_that_is_deleted_leaves_no_body_no_terms_and_no_vote(works: Works) -> None:
    async def work(client: Client) -> None:
        await terms(client, days=7)
        await asked(client)
        assert (await client.post("/v1/catalogue", {"model": "a/b"})).json["votes"] == 1

    works.do(work)
    assert "bodies" in found(works)
    quiet, account_id = Post("", sends=False), works.made.account_id
    assert works.database.scrub()  # and nothing is left to do, but for what the deletion leaves
    works.database.transaction(lambda one: delete_account(one, quiet, account_id, NOW))
    assert works.database.scrub()
    assert found(works) == set()
    for table in (body_terms, bodies, model_votes):
        assert works.database.transaction(lambda one: one.execute(select(table)).first()) is None  # noqa: B023
