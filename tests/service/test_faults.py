"""What goes wrong while a real model works, as a client sees it: the application, a host, a worker and a small model, together.

Here nothing stands in for anything. What breaks is the device: a test replaces what computes a batch.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from torch import Tensor

from asgi import Reply, Visit, posting, visit
from gigarank.engine.runner import Runner
from gigarank.engine.worker import QueueLimits
from gigarank.service.app import create_app
from gigarank.service.hosting.host import Host
from gigarank.service.settings import Settings
from hosting import offered, until

QUESTION = {"model": "a", "query": "which planet is red", "documents": ["Mars is red.", "Venus is bright.", "a cake"]}
LONG = {"model": "a", "query": "planet", "documents": [f"document {n} " * 150 for n in range(300)]}
SHORTER = {**LONG, "documents": LONG["documents"][:60]}
Act = Callable[[FastAPI, Host], Awaitable[None]]


def served(models: Path, act: Act, **limits: int) -> None:
    """Does `act` with an application whose one model is loaded and has passed its self-test."""

    async def all_of_it() -> None:
        host = Host(offered(models, "a", pinned=("a",)), limits=QueueLimits(**limits))
        app = create_app(Settings(models=("a",), drain_timeout_s=5.0), host)
        async with asyncio.timeout(60.0), lifespan_of(app):
            await until(host.ready)
            await act(app, host)

    asyncio.run(all_of_it())


def lifespan_of(app: FastAPI) -> AbstractAsyncContextManager[Any]:
    return app.router.lifespan_context(app)


def ask(app: FastAPI, body: Any) -> Coroutine[Any, Any, Reply]:
    return visit(app, posting(body))


def broken_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*rest: object) -> list[Tensor]:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(Runner, "compute", raising)


class TestAClientThatLeaves:
    def test_takes_its_work_with_it(self, models: Path) -> None:
        async def act(app: FastAPI, host: Host) -> None:
            request, leaves = posting(LONG), asyncio.Event()
            asked = asyncio.create_task(visit(app, Visit("POST", request.path, request.headers, request.chunks, leaves=leaves)))
            await until(lambda: tokens(host) > 0)
            leaves.set()
            await asyncio.gather(asked, return_exceptions=True)
            await until(lambda: host.queues()[0].waiting_requests == 0, 2.0)
            spent = tokens(host)
            await asyncio.sleep(0.3)
            assert tokens(host) - spent <= 1_024  # at most the batch that was under way
            whole = (await ask(app, {**LONG, "documents": LONG["documents"][:10]})).json["usage"]["total_tokens"] * 30
            assert spent < whole / 2

        served(models, act)

    def test_costs_nothing_if_it_never_ran(self, models: Path) -> None:
        async def act(app: FastAPI, host: Host) -> None:
            first = asyncio.create_task(ask(app, SHORTER))
            await until(lambda: tokens(host) > 0)
            request, leaves = posting(LONG), asyncio.Event()
            second = asyncio.create_task(
                visit(app, Visit("POST", request.path, request.headers, request.chunks, leaves=leaves))
            )
            await until(lambda: host.queues()[0].waiting_requests == 2)
            leaves.set()
            await asyncio.gather(second, return_exceptions=True)
            await until(lambda: host.queues()[0].waiting_requests == 1, 2.0)
            assert (await first).status == 200

        served(models, act)


def tokens(host: Host) -> int:
    counters = host.counters()["a"].worker
    return counters.tokens if counters is not None else 0


class TestAKilledWorker:
    def test_is_a_500_that_may_be_tried_again_and_then_works(self, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async def act(app: FastAPI, host: Host) -> None:
            before = (await ask(app, QUESTION)).json["results"]
            broken_device(monkeypatch)
            reply = await ask(app, QUESTION)
            assert (reply.status, reply.error["code"]) == (500, "worker_failed")
            assert reply.headers["x-should-retry"] == "true"
            assert "device is gone" not in reply.body.decode()
            assert (await ask(app, QUESTION)).status in (500, 503)  # the worker's end, or already the load of the next one
            monkeypatch.undo()
            await until(host.ready)
            again = await visit(app, posting(QUESTION, prefer="wait=20"))
            assert again.json["results"] == before

        served(models, act)

    def test_fails_every_request_that_it_held(self, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async def act(app: FastAPI, host: Host) -> None:
            broken_device(monkeypatch)
            replies = await asyncio.gather(*(ask(app, QUESTION) for _ in range(8)))
            assert {reply.status for reply in replies} <= {500, 503}
            assert all(reply.error["message"] and reply.headers["x-request-id"] for reply in replies)
            assert host.queues()[0].waiting_requests == 0

        served(models, act)


class TestAFullQueue:
    def test_is_429_that_says_when_to_come_back(self, models: Path) -> None:
        async def act(app: FastAPI, host: Host) -> None:
            first = asyncio.create_task(ask(app, SHORTER))
            await until(lambda: host.queues()[0].waiting_requests == 1)
            reply = await ask(app, QUESTION)
            assert reply.status == 429
            assert (reply.error["type"], reply.error["code"]) == ("rate_limit_error", "slow_down")
            milliseconds, seconds = int(reply.headers["retry-after-ms"]), int(reply.headers["retry-after"])
            assert milliseconds >= 1
            assert (seconds - 1) * 1_000 < milliseconds <= seconds * 1_000
            assert reply.headers["x-should-retry"] == "true"
            assert (await first).status == 200
            assert (await ask(app, QUESTION)).status == 200

        served(models, act, max_waiting_requests=1)

    def test_of_tokens_too(self, models: Path) -> None:
        async def act(app: FastAPI, host: Host) -> None:
            first = asyncio.create_task(ask(app, SHORTER))
            await until(lambda: host.queues()[0].waiting_requests == 1 and host.queues()[0].waiting_tokens > 0)
            assert (await ask(app, LONG)).status == 429
            assert (await first).status == 200

        served(models, act, max_waiting_tokens=100_000)


class TestNotANumberFromTheModel:
    def test_fails_one_document_and_leaves_the_others(self, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async def act(app: FastAPI, host: Host) -> None:
            right = {result["index"]: result["logit"] for result in (await ask(app, QUESTION)).json["results"]}
            spoil_one(monkeypatch)
            reply = await ask(app, QUESTION)
            assert reply.status == 200
            *scored, failed = reply.json["results"]
            assert failed["error"]["code"] == "non_finite_score"
            assert failed["scored"] is False
            assert {result["index"]: result["logit"] for result in scored} == {
                index: logit for index, logit in right.items() if index != failed["index"]
            }
            assert "NaN" not in reply.body.decode()
            assert reply.json["meta"]["warnings"]

        served(models, act)

    def test_fails_the_request_where_that_was_asked_for(self, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async def act(app: FastAPI, host: Host) -> None:
            spoil_one(monkeypatch)
            reply = await ask(app, {**QUESTION, "on_error": "fail"})
            assert reply.status == 500
            assert reply.error["code"] == "non_finite_score"
            assert reply.error["param"].startswith("documents[")

        served(models, act)


def spoil_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second pair of every batch is not a number."""
    compute = Runner.compute

    def spoiling(runner: Runner, parts: Sequence[Any], pause: Callable[[], None] | None = None) -> list[Tensor]:
        hidden = [states.clone() for states in compute(runner, parts, pause)]
        hidden[0][1] = math.nan
        return hidden

    monkeypatch.setattr(Runner, "compute", spoiling)


class TestShuttingDown:
    def test_answers_what_was_accepted_and_refuses_what_comes(self, models: Path) -> None:
        async def act(app: FastAPI, host: Host) -> None:
            accepted = [asyncio.create_task(ask(app, {**LONG, "documents": LONG["documents"][:20]})) for _ in range(4)]
            await until(lambda: host.queues()[0].waiting_requests == 4)
            draining = asyncio.create_task(host.drain(30.0))
            await asyncio.sleep(0)
            late = await ask(app, QUESTION)
            assert late.status == 503
            assert late.error["code"] == "server_shutting_down"
            assert int(late.headers["retry-after-ms"]) > 0
            assert [reply.status for reply in await asyncio.gather(*accepted)] == [200] * 4
            await draining

        served(models, act)
