"""The gate by itself: before it is open, with several keys, at the clock's second, and with limits that cannot be counted."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accounts import NOW, make_account
from asgi import posting, run, visit
from gigarank.errors import AccessDenied, DatabaseUnavailable, InvalidInput, Unauthorized
from gigarank.service.app import create_app
from gigarank.service.call import Answer, Call, Route
from gigarank.service.credits.service import HOLD_S
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.hosted import open_secrets
from gigarank.service.keys import format as form
from gigarank.service.metering import repeats, sweeper
from gigarank.service.metering.gate import AccountGate
from gigarank.service.metering.sweeper import SWEEP_S
from gigarank.service.settings import Settings
from gigarank.service.tenant import Limits, Tenant


async def nothing(call: Call) -> Answer:
    return Answer({})


RANK = Route("POST", "/v1/rerank", nothing, "", "rerank")
MODELS = Route("GET", "/v1/models", nothing, "", "openai")
CREDIT = Route("GET", "/v1/credits", nothing, "", "account")
METRICS = Route("GET", "/metrics", nothing, "", "operations")


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(state_dir=str(tmp_path), database_url=database_url, accounts=True, requests_per_minute=60)


def through(settings: Settings, work: Callable[[AccountGate], Coroutine[Any, Any, Any]], now: float = NOW) -> Any:
    """What `work` gives with an open gate."""

    async def opened() -> Any:
        gate = AccountGate(settings, lambda: now)
        await gate.start()
        try:
            return await work(gate)
        finally:
            await gate.close()

    return asyncio.run(opened())


def admitted(settings: Settings, route: Route, *texts: str, now: float = NOW) -> Tenant:
    found: Tenant = through(settings, lambda gate: gate.admit(texts, route), now)
    return found


def test_nobody_gets_in_before_it_is_open(settings: Settings) -> None:
    gate = AccountGate(settings)
    with pytest.raises(DatabaseUnavailable, match="the server is starting"):
        asyncio.run(gate.admit(["grk_x"], RANK))
    asyncio.run(gate.close())


def test_the_first_good_key_counts_and_else_the_last_error(settings: Settings, database: Database) -> None:
    made = make_account(database, open_secrets(settings), limits=Limits(requests_per_minute=5))
    tenant = admitted(settings, RANK, "placeholder", made.key, "other")
    assert (tenant.account_id, tenant.account_limits.requests_per_minute, tenant.key_limits.requests_per_minute) == (
        made.account_id,
        60,
        5,
    )
    with pytest.raises(Unauthorized, match="not known here"):
        admitted(settings, RANK, "placeholder", "grk_" + "0" * 38, unknown(made.key))
    with pytest.raises(Unauthorized, match="no API key"):
        admitted(settings, RANK)


def unknown(key: str) -> str:
    """A key as we write them, that nobody has."""
    made = form.make()
    assert made != key
    return made


def test_scopes_are_those_of_the_route(settings: Settings, database: Database) -> None:
    secrets = open_secrets(settings)
    asks = make_account(database, secrets, scopes=("inference",)).key
    sees = make_account(database, secrets, email="b@example.org", scopes=("account",)).key
    for key, route in ((asks, RANK), (asks, MODELS), (sees, MODELS), (sees, CREDIT)):
        assert admitted(settings, route, key)
    for key, route in ((asks, CREDIT), (sees, RANK), (asks, METRICS), (sees, METRICS)):
        with pytest.raises(AccessDenied):
            admitted(settings, route, key)


def test_a_key_ends_by_the_gate_s_clock(settings: Settings, database: Database) -> None:
    made = make_account(database, open_secrets(settings), expires=NOW + 10)
    assert admitted(settings, RANK, made.key, now=NOW + 9.9)
    with pytest.raises(Unauthorized, match="expired"):
        admitted(settings, RANK, made.key, now=NOW + 10)


def test_a_limit_that_cannot_be_counted_anywhere_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="rate_limit_url"):
        through(Settings(state_dir=str(tmp_path), rate_limit_url="nowhere"), lambda gate: asyncio.sleep(0))


def test_a_server_sweeps_more_often_than_holds_end() -> None:
    assert SWEEP_S * 2 < HOLD_S


def test_what_fails_of_the_sweep_keeps_the_rest_from_nothing(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sweeper, "SWEEP_S", 0.01)
    done: dict[str, int] = {}

    def broken(name: str) -> Callable[..., Any]:
        def call(*_arguments: Any) -> Any:
            done[name] = done.get(name, 0) + 1
            raise KeyError("a text that nobody may read")

        return call

    for name in ("tell", "retirements", "sweep"):
        monkeypatch.setattr(sweeper, name, broken(name))

    async def work(_gate: AccountGate) -> None:
        async with asyncio.timeout(20):
            while len(done) < 3 or min(done.values()) < 3:
                await asyncio.sleep(0.01)

    through(settings, work)
    assert "the sweep failed, at KeyError at test_hosted_gate.py" in caplog.text and "nobody" not in caplog.text


def test_who_leaves_while_its_key_is_claimed_leaves_the_key_to_the_next(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_account(database, open_secrets(settings))
    claim, begun, go = repeats.claim, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        kept = claim(*arguments)
        begun.set()
        assert go.wait(30)
        return kept

    monkeypatch.setattr(repeats, "claim", slow)
    body = {"query": "red planet", "documents": ["the red planet is Mars"]}

    async def work() -> None:
        app = create_app(replace(settings, models=("fake",)), FakeBackend())
        request = posting(body, x_api_key=made.key, idempotency_key="k")
        request.leaves = asyncio.Event()
        async with app.router.lifespan_context(app):
            leaving = asyncio.create_task(visit(app, request))
            assert await asyncio.to_thread(begun.wait, 30)
            request.leaves.set()
            for _ in range(50):
                await asyncio.sleep(0)
            go.set()
            assert (await leaving).status == 499
            assert (await visit(app, posting(body, x_api_key=made.key, idempotency_key="k"))).status == 200

    run(work())
