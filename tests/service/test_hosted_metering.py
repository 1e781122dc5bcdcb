"""What requests of accounts cost, asked over the application: priced, held, settled once, and free where nothing was served."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, select

from accounts import Made, make_account
from asgi import Reply, Visit, posting, run, visit
from gigarank.engine.work import Failure, Result, Unscored, Work
from gigarank.errors import InvalidInput, WorkerFailed
from gigarank.service.accounts import service as accounts
from gigarank.service.app import create_app
from gigarank.service.credits.prices import set_price
from gigarank.service.credits.schemas import Price
from gigarank.service.credits.service import audit
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.hosted import open_secrets
from gigarank.service.settings import Settings
from gigarank.service.tables import reservations, usage
from gigarank.service.tenant import Limits
from rerank_calls import Scripted

BODY = {"query": "red planet", "documents": ["the red planet is Mars", "a red car"]}
TOKENS = 2 + 5 + 3 + 2 * 9
COST = 2  # 28 tokens at 0.05 USD a million, rounded up


class Room:
    """A server with accounts on a database, one account, and what becomes of both."""

    def __init__(self, settings: Settings, database: Database, made: Made) -> None:
        self.settings, self.database, self.made = settings, database, made
        self.backend: FakeBackend = Scripted()

    def post(self, body: Any = None, path: str = "/v1/rerank", **headers: str) -> Visit:
        return posting(BODY if body is None else body, path, x_api_key=self.made.key, **headers)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[FastAPI]:
        app = create_app(self.settings, self.backend)
        async with app.router.lifespan_context(app):
            yield app

    def ask(self, *requests: Visit) -> list[Reply]:
        async def work() -> list[Reply]:
            async with self.open() as app:
                return [await visit(app, request) for request in requests]

        return run(work())

    def uses(self) -> Sequence[Any]:
        return self.database.transaction(lambda one: one.execute(select(usage)).mappings().all())

    def spent(self) -> int:
        def work(connection: Connection) -> int:
            account = accounts.find(connection, self.made.account_id)
            assert account.held_micros == 0
            assert connection.execute(select(reservations)).first() is None
            return 1_000 - account.balance_micros

        return self.database.transaction(work)


@pytest.fixture
def room(database: Database, database_url: str, tmp_path: Path) -> Any:
    settings = Settings(models=("fake",), state_dir=str(tmp_path), database_url=database_url, accounts=True)
    yield Room(settings, database, make_account(database, open_secrets(settings), 1_000))
    assert database.transaction(audit).problems == ()


def test_a_request_is_paid_for_with_its_row(room: Room) -> None:
    (reply,) = room.ask(room.post(x_request_id="req-7"))
    assert reply.status == 200
    assert reply.headers["x-gigarank-cost-usd"] == "0.000002"
    assert room.spent() == COST
    (row,) = room.uses()
    found = {name: row[name] for name in ("request_id", "model", "route", "tier", "documents", "tokens", "amount_micros")}
    assert found == {
        "request_id": "req-7",
        "model": "fake",
        "route": "/v1/rerank",
        "tier": "default",
        "documents": 2,
        "tokens": TOKENS,
        "amount_micros": COST,
    }
    assert row["account_id"] == room.made.account_id and row["price_id"] == "price_default"
    assert "Mars" not in repr(dict(row))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/score", {"queries": "red planet", "documents": ["the red planet is Mars"]}),
        ("/rerank", {"query": "red planet", "texts": ["the red planet is Mars"]}),
        ("/v1/embeddings", {"input": ["red planet", "Mars"]}),
        ("/v1/completions", {"prompt": "is it red?"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "is it red?"}]}),
        ("/v1/decisions", {"input": "red planet", "questions": [{"type": "predicate", "instructions": "is it red?"}]}),
    ],
)
def test_every_way_to_ask_a_model_is_paid_for(room: Room, path: str, body: Any) -> None:
    (reply,) = room.ask(room.post(body, path))
    assert reply.status == 200, reply.body
    (row,) = room.uses()
    assert row["amount_micros"] == room.spent() > 0


def test_the_flexible_tier_is_cheaper(room: Room) -> None:
    room.ask(room.post(x_tier="batch"))
    (row,) = room.uses()
    assert (row["tier"], row["price_id"], row["amount_micros"]) == ("batch", "price_batch", 1)


def test_the_flexible_tier_of_a_model_with_its_own_price_is_half_of_that_in_a_quote_and_in_the_bill(room: Room) -> None:
    own = Price("price_own", "fake", "default", "documents", 50_000, 1)
    room.database.transaction(lambda one: set_price(one, own))
    quote, served = room.ask(room.post({**BODY, "dry_run": True}, x_tier="batch"), room.post(x_tier="batch"))
    told = {name: quote.json["price"][name] for name in ("price_id", "tier", "unit", "price_micros")}
    assert told == {"price_id": "price_own", "tier": "batch", "unit": "1000 documents", "price_micros": 25_000}
    assert (quote.json["cost_micros"], served.headers["x-gigarank-cost-usd"]) == (50, "0.000050")
    (row,) = room.uses()
    assert (row["tier"], row["price_id"], row["amount_micros"]) == ("batch", "price_own", 50)


def test_nothing_is_charged_for_what_fails(room: Room) -> None:
    replies = room.ask(room.post({"query": "", "documents": ["a"]}), room.post({**BODY, "model": "none"}), room.post(b"{"))
    assert [reply.status for reply in replies] == [400, 404, 400]

    class Broken(FakeBackend):
        async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
            await super().score(model, work, wait_s)
            raise WorkerFailed("the worker died")

    room.backend = Broken()
    assert room.ask(room.post())[0].status == 500
    assert (room.spent(), list(room.uses())) == (0, [])


def test_a_defect_after_the_hold_gives_it_back(room: Room) -> None:
    class Defect(FakeBackend):
        async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
            await super().score(model, work, wait_s)
            raise KeyError("unforeseen")

    room.backend = Defect()
    assert room.ask(room.post())[0].status == 500
    assert room.spent() == 0


def test_a_client_that_leaves_pays_nothing(room: Room) -> None:
    room.backend = FakeBackend(delay_s=30.0)
    leaves = asyncio.Event()
    request = room.post()
    request.leaves = leaves

    async def work() -> None:
        async with room.open() as app:
            running = asyncio.create_task(visit(app, request))
            while not await asyncio.to_thread(held, room):
                await asyncio.sleep(0.01)
            leaves.set()
            assert (await running).status == 499

    run(work())
    assert (room.spent(), list(room.uses())) == (0, [])


def held(room: Room) -> bool:
    return room.database.transaction(lambda one: one.execute(select(reservations)).first() is not None)


def test_what_the_account_has_not_got_is_402_and_runs_nothing(room: Room) -> None:
    scripted = Scripted()
    room.backend = scripted
    body = {"query": "red planet", "documents": ["word " * 30_000]}
    refused, served = room.ask(room.post(body), room.post())
    assert (refused.status, refused.error["code"], refused.error["type"]) == (
        402,
        "credit_balance_exhausted",
        "insufficient_quota",
    )
    assert refused.headers["x-should-retry"] == "false"
    assert (refused.error["limit"], refused.error["received"]) == ("0.001000", "0.001501")
    assert served.status == 200
    assert room.spent() == COST


def test_what_was_computed_counts_and_not_what_was_asked(room: Room) -> None:
    """A document that could not be scored costs nothing: the backend's usage leaves it out."""

    class Late(FakeBackend):
        async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
            result = await super().score(model, work, wait_s)
            late = type(result.usage)(0, 0, 0, 0)
            return Result(((Unscored(0), Failure(1, InvalidInput("no"))),), late, result.timing)

    room.backend = Late()
    (reply,) = room.ask(room.post())
    assert reply.status == 200
    (row,) = room.uses()
    assert (row["documents"], row["amount_micros"], room.spent()) == (0, 0, 0)


def test_a_dry_run_tells_the_price_and_computes_nothing(room: Room) -> None:
    (quote,) = room.ask(room.post({**BODY, "dry_run": True}))
    assert quote.status == 200
    assert (quote.json["object"], quote.json["cost_micros"], quote.json["usage"]["total_tokens"]) == ("quote", COST, TOKENS)
    assert quote.json["price"]["price_id"] == "price_default"
    assert (room.spent(), list(room.uses())) == (0, [])
    wrong, refused = room.ask(room.post({**BODY, "dry_run": "yes"}), room.post({"documents": ["a"], "dry_run": True}))
    assert (wrong.status, wrong.error["param"], refused.status) == (400, "dry_run", 400)


def test_a_dry_run_without_prices_is_refused() -> None:
    app = create_app(Settings(models=("fake",)), FakeBackend())
    reply = run(visit(app, posting({**BODY, "dry_run": True})))
    assert (reply.status, reply.error["code"]) == (400, "unsupported_parameter")


# The same request again.


def test_a_repeated_request_gets_the_first_one_s_answer_and_is_paid_once(room: Room) -> None:
    scripted = Scripted()
    room.backend = scripted
    first, again = room.ask(room.post(idempotency_key="k-1"), room.post(idempotency_key="k-1"))
    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body
    assert again.headers["idempotent-replayed"] == "true" and "idempotent-replayed" not in first.headers
    assert len(scripted.works) == len(room.uses()) == 1
    assert room.spent() == COST


def test_the_key_of_another_body_or_path_is_409(room: Room) -> None:
    replies = room.ask(
        room.post(idempotency_key="k-1"),
        room.post({**BODY, "top_n": 1}, idempotency_key="k-1"),
        room.post(path="/v2/rerank", idempotency_key="k-1"),
        room.post(idempotency_key="k" * 256),
    )
    assert [reply.status for reply in replies] == [200, 409, 409, 400]
    assert replies[1].error["code"] == "idempotency_key_reuse" and replies[1].headers["x-should-retry"] == "false"


def test_what_failed_may_be_tried_again(room: Room) -> None:
    class Once(FakeBackend):
        failed = False

        async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
            if not self.failed:
                self.failed = True
                raise WorkerFailed("the worker died")
            return await super().score(model, work, wait_s)

    room.backend = Once()
    first, again = room.ask(room.post(idempotency_key="k-1"), room.post(idempotency_key="k-1"))
    assert (first.status, again.status) == (500, 200)
    assert "idempotent-replayed" not in again.headers
    assert room.spent() == COST


def test_of_two_at_once_one_waits_for_the_other(room: Room) -> None:
    room.backend = FakeBackend(delay_s=0.5)

    async def work() -> list[Reply]:
        async with room.open() as app:
            return await asyncio.gather(*(visit(app, room.post(idempotency_key="k-1")) for _ in range(2)))

    replies = sorted(run(work()), key=lambda reply: reply.status)
    assert [reply.status for reply in replies] == [200, 409]
    assert replies[1].error["code"] == "idempotency_key_in_use" and "retry-after-ms" in replies[1].headers
    assert room.spent() == COST


def test_another_account_has_keys_of_its_own(room: Room) -> None:
    other = make_account(room.database, open_secrets(room.settings), email="b@example.org")
    mine, theirs = room.ask(
        room.post(idempotency_key="k-1"), posting({**BODY, "top_n": 1}, x_api_key=other.key, idempotency_key="k-1")
    )
    assert (mine.status, theirs.status) == (200, 200)


# What a key may ask.


def test_a_key_asks_the_models_on_its_list(room: Room) -> None:
    listed = make_account(room.database, open_secrets(room.settings), email="b@example.org", models=("nano",))
    other = make_account(room.database, open_secrets(room.settings), email="c@example.org", models=("fake-embedder",))
    allowed, refused = room.ask(posting(BODY, x_api_key=listed.key), posting(BODY, x_api_key=other.key))
    assert (allowed.status, refused.status, refused.error["code"]) == (200, 403, "model_not_allowed")


def limited(room: Room, limits: Limits) -> None:
    room.database.transaction(lambda one: accounts.set_limits(one, room.made.account_id, limits))


def test_requests_a_minute(room: Room) -> None:
    limited(room, Limits(requests_per_minute=2))
    first, second, third = room.ask(room.post(), room.post(), room.post())
    assert [first.status, second.status, third.status] == [200, 200, 429]
    assert (first.headers["x-ratelimit-limit-requests"], first.headers["x-ratelimit-remaining-requests"]) == ("2", "1")
    assert third.headers["x-ratelimit-remaining-requests"] == "0"
    assert third.error["code"] == "rate_limit_exceeded"
    assert 0 < int(third.headers["retry-after-ms"]) <= 60_000
    assert third.headers["x-ratelimit-reset-requests"].endswith("s")
    assert room.spent() == 2 * COST


def test_tokens_a_minute(room: Room) -> None:
    limited(room, Limits(tokens_per_minute=TOKENS + 5))
    first, second = room.ask(room.post(), room.post())
    assert (first.status, second.status) == (200, 429)
    assert second.headers["x-ratelimit-limit-tokens"] == str(TOKENS + 5)
    assert second.headers["x-ratelimit-remaining-tokens"] == "5"
    (large,) = room.ask(room.post({"query": "a", "documents": ["word " * 40]}))
    assert (large.status, large.error["param"]) == (413, "tokens_per_minute")
    assert room.spent() == COST


def test_requests_at_a_time(room: Room) -> None:
    limited(room, Limits(concurrent_requests=2))
    room.backend = FakeBackend(delay_s=0.5)

    async def work() -> list[Reply]:
        async with room.open() as app:
            return await asyncio.gather(*(visit(app, room.post()) for _ in range(4)))

    replies = sorted(run(work()), key=lambda reply: reply.status)
    assert [reply.status for reply in replies] == [200, 200, 429, 429]
    assert replies[3].error["param"] == "concurrent_requests"
    assert room.spent() == 2 * COST


def test_a_key_s_own_limit_counts_beside_its_account_s(room: Room) -> None:
    made = make_account(room.database, open_secrets(room.settings), email="b@example.org", limits=Limits(requests_per_minute=1))
    first, second = room.ask(posting(BODY, x_api_key=made.key), posting(BODY, x_api_key=made.key))
    assert (first.status, second.status) == (200, 429)
    assert "API key" in second.error["message"]


# All of it at once.


def test_200_spenders_over_http_are_served_for_50(room: Room) -> None:
    """Credit for exactly 50, asked for by 200 at a time."""
    made = make_account(room.database, open_secrets(room.settings), 50 * COST, email="b@example.org")

    async def work() -> list[Reply]:
        async with room.open() as app:
            return await asyncio.gather(*(visit(app, posting(BODY, x_api_key=made.key)) for _ in range(200)))

    statuses = [reply.status for reply in run(work(), 60.0)]
    assert (statuses.count(200), statuses.count(402)) == (50, 150)
    assert len(room.uses()) == 50
    left = room.database.transaction(lambda one: accounts.find(one, made.account_id))
    assert (left.balance_micros, left.held_micros) == (0, 0)
