"""Requests through a host: what they get, what cancelling does, how a drain ends, what a death leaves."""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gigarank import Embedder, Reranker
from gigarank.engine.work import Search, Work
from gigarank.engine.worker import QueueLimits
from gigarank.errors import (
    InvalidInput,
    ModelLoading,
    Overloaded,
    ShuttingDown,
    UnknownModel,
    WorkerFailed,
)
from gigarank.service.backend import ScoringBackend, Urgency
from gigarank.service.hosting.host import Host
from gigarank.service.hosting.options import HostOptions
from gigarank.service.hosting.specs import ModelSpec, parse_specs
from gigarank.types import Score
from hosting import WORK, Held, offered, running, states, until

WAIT = Urgency(wait_s=30.0)
LONG = Work(tuple(Search(f"query {n}", tuple(f"document {n} {d} " * 150 for d in range(40))) for n in range(8)))


def logits(outcomes: Any) -> list[float]:
    assert all(isinstance(outcome, Score) for outcome in outcomes)
    return [outcome.logit for outcome in outcomes]


def test_scores_are_bitwise_those_of_the_reranker(models: Path) -> None:
    async def asked() -> Any:
        async with running(offered(models, "a")) as host:
            return await host.score("a", WORK, wait_s=30.0)

    result = asyncio.run(asked())
    (search,) = WORK.searches
    ranking = Reranker.load(str(models / "a")).rank(search.query, list(search.documents))
    expected = {score.index: score.logit for score in ranking}
    assert logits(result.outcomes[0]) == [expected[index] for index in range(3)]
    assert result.usage == ranking.usage


def test_vectors_are_those_of_the_embedder_beside_a_reranker(models: Path) -> None:
    async def asked() -> Any:
        async with running(offered(models, "a", "vectors")) as host:
            documents, scored, queries = await asyncio.gather(
                host.embed("vectors", ["red", "blue sky"], task=None, dimensions=32, urgency=WAIT),
                host.score("a", WORK, wait_s=30.0),
                host.embed("vectors", ["red"], task="", dimensions=None, urgency=WAIT),
            )
            return documents, scored, queries

    documents, scored, queries = asyncio.run(asked())
    embedder = Embedder.load(str(models / "vectors"))
    assert np.array_equal(documents.vectors, embedder.embed(documents=["red", "blue sky"], dimensions=32))
    assert np.array_equal(queries.vectors, embedder.embed(queries=["red"]))
    assert documents.usage.documents == 2
    assert len(logits(scored.outcomes[0])) == 3


def test_answers_are_probabilities_whose_odds_are_the_score(models: Path) -> None:
    async def asked() -> Any:
        async with running(offered(models, "a")) as host:
            reranker = Reranker.load(str(models / "a"))
            prompt = reranker.prompt.render(None, "red?", "Mars is red.")
            return await host.answer("a", [prompt], WAIT), reranker.rank("red?", ["Mars is red."])

    (answer,), (score,) = asyncio.run(asked())
    assert (answer.yes, answer.no) == ("yes", "no")
    assert answer.yes_logprob < 0.0
    assert math.exp(answer.yes_logprob) + math.exp(answer.no_logprob) < 1.0
    assert answer.yes_logprob - answer.no_logprob == pytest.approx(score.logit, abs=1e-4)


def test_names_and_aliases_whatever_their_case(models: Path) -> None:
    spec = ModelSpec("Mine", str(models / "a"), aliases=("Short",))

    async def asked() -> None:
        async with running(HostOptions((spec,))) as host:
            for name in ("Mine", "mine", "SHORT"):
                assert len((await host.score(name, WORK, wait_s=30.0)).outcomes[0]) == 3
            with pytest.raises(UnknownModel, match="'Mime' is not offered here; nearest: Mine") as caught:
                await host.score("Mime", WORK)
            assert caught.value.limit == ["Mine"]

    asyncio.run(asked())


def test_a_model_of_the_other_kind_is_refused(models: Path) -> None:
    async def asked() -> None:
        async with running(offered(models, "a", "vectors")) as host:
            with pytest.raises(InvalidInput, match="vectors is a model that gives vectors, and cannot rank"):
                await host.score("vectors", WORK)
            with pytest.raises(InvalidInput, match="gives vectors"):
                await host.answer("vectors", ["x"], WAIT)
            with pytest.raises(InvalidInput, match="a is a model that ranks, and gives no vectors"):
                await host.embed("a", ["x"], task=None, dimensions=None, urgency=WAIT)
            assert states(host) == {"a": "sleeping", "vectors": "sleeping"}  # nothing was loaded for it

    asyncio.run(asked())


def test_the_list_of_models_before_and_after_loading(models: Path) -> None:
    async def asked() -> None:
        async with running(offered(models, "a", "vectors", pinned=("a",))) as host:
            await until(host.ready)
            a, vectors = host.models()
            assert (a.name, a.kind, a.state, a.pinned) == ("a", "reranker", "ready", True)
            assert (vectors.kind, vectors.state, vectors.pinned) == ("embedder", "sleeping", False)
            assert a.instruction == vectors.instruction  # both are trained on web search
            assert (a.dtype, a.max_pair_tokens, a.prompt) == ("fp32", 4_096, "qwen3-v1")
            assert a.created == int((models / "a" / "config.json").stat().st_mtime)

    asyncio.run(asked())


def cancelled_soon(act: Callable[[Host], Coroutine[Any, Any, Any]], host: Host) -> Coroutine[Any, Any, None]:
    async def run() -> None:
        task = asyncio.create_task(act(host))
        await until(lambda: host.queues()[0].waiting_requests == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    return run()


def test_a_cancelled_request_leaves_the_worker_at_once(models: Path) -> None:
    async def asked() -> None:
        async with running(offered(models, "a", pinned=("a",))) as host:
            await until(host.ready)
            await cancelled_soon(lambda host: host.score("a", LONG), host)
            await until(lambda: host.queues()[0].waiting_requests == 0, 5.0)
            counters = host.counters()["a"].worker
            assert counters is not None
            assert counters.tokens < 20_000  # of some 100,000
            assert len((await host.score("a", WORK)).outcomes[0]) == 3

    asyncio.run(asked())


def test_a_request_that_is_cancelled_while_it_waits_for_a_model_leaves_the_load_alone(models: Path) -> None:
    async def asked() -> None:
        loader = Held()
        gate = loader.shut("a")
        async with running(offered(models, "a"), loader) as host:
            task = asyncio.create_task(host.score("a", WORK, wait_s=30.0))
            await until(lambda: loader.loaded == ["a"])
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.set()
            await until(lambda: states(host)["a"] == "ready")

    asyncio.run(asked())


def test_a_full_queue_is_the_callers_to_know(models: Path) -> None:
    async def asked() -> None:
        host = Host(offered(models, "a", pinned=("a",)), limits=QueueLimits(max_waiting_requests=1))
        await host.start()
        await until(host.ready)
        first = asyncio.create_task(host.score("a", LONG))
        await until(lambda: host.queues()[0].waiting_requests == 1)
        with pytest.raises(Overloaded) as caught:
            await host.score("a", WORK)
        assert caught.value.retry_after > 0
        first.cancel()
        await host.drain(5.0)

    asyncio.run(asked())


def test_a_drain_answers_what_was_accepted_and_nothing_more(models: Path) -> None:
    async def asked() -> None:
        loader = Held()
        gate = loader.shut("b")
        async with running(offered(models, "a", "b", pinned=("a",)), loader) as host:
            await until(host.ready)
            many = Work((Search("red", tuple(f"document {n} " * 20 for n in range(60))),))
            accepted = [asyncio.create_task(host.score("a", many)) for _ in range(3)]
            accepted.append(asyncio.create_task(host.score("b", WORK, wait_s=30.0)))
            await until(lambda: host.queues()[0].waiting_requests == 3)
            drained = asyncio.create_task(host.drain(30.0))
            await asyncio.sleep(0.01)
            assert not host.ready()
            with pytest.raises(ShuttingDown):
                await host.score("a", WORK)
            gate.set()  # a request that waits for its model was accepted, too
            await drained
            assert [task.done() for task in accepted] == [True] * 4
            assert [len(task.result().outcomes[0]) for task in accepted] == [60, 60, 60, 3]

    asyncio.run(asked())
    assert not [thread for thread in threading.enumerate() if thread.name in ("gigarank-a", "gigarank-b")]


def test_a_drain_ends_in_time_and_what_is_left_ends_with_an_error(models: Path) -> None:
    async def asked() -> float:
        async with running(offered(models, "a", pinned=("a",))) as host:
            await until(host.ready)
            left = asyncio.create_task(host.score("a", LONG))
            await until(lambda: host.queues()[0].waiting_requests == 1)
            began = time.monotonic()
            await host.drain(0.1)
            with pytest.raises((ShuttingDown, WorkerFailed)):
                await left
            return time.monotonic() - began

    assert asyncio.run(asked()) < 4.0


def test_a_drain_does_not_wait_for_a_load_that_nobody_waits_for(models: Path) -> None:
    async def asked() -> None:
        loader = Held()
        gate = loader.shut("a")
        async with running(offered(models, "a"), loader) as host:
            with pytest.raises(ModelLoading):
                await host.score("a", WORK)
            await until(lambda: loader.loaded == ["a"])
            drained = asyncio.create_task(host.drain(0.1))
            await asyncio.sleep(0.05)
            gate.set()
            await drained
            await until(lambda: states(host)["a"] in ("failed", "sleeping"))

    asyncio.run(asked())
    assert not [thread for thread in threading.enumerate() if thread.name == "gigarank-a"]


def kill(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device breaks: every batch raises, and after two of them the worker's thread ends."""
    from gigarank.engine.runner import Runner  # noqa: PLC0415

    def broken(*args: object, **kwargs: object) -> Any:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(Runner, "compute", broken)


def test_a_killed_worker_fails_its_requests_and_the_model_is_loaded_anew(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked() -> None:
        loader = Held()
        async with running(offered(models, "a", pinned=("a",)), loader) as host:
            await until(host.ready)
            kill(host, monkeypatch)
            failed = await asyncio.gather(*(host.score("a", LONG) for _ in range(3)), return_exceptions=True)
            assert [type(error) for error in failed] == [WorkerFailed] * 3
            monkeypatch.undo()
            result = await host.score("a", WORK, wait_s=30.0)
            assert len(logits(result.outcomes[0])) == 3
            assert loader.loaded == ["a", "a"]
            assert host.counters()["a"].loads == 2

    asyncio.run(asked())


def test_an_idle_dead_worker_is_noticed_without_a_request(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def asked() -> None:
        loader = Held()
        async with running(offered(models, "a", pinned=("a",)), loader) as host:
            await until(host.ready)
            kill(host, monkeypatch)
            for _ in range(2):
                await asyncio.gather(host.score("a", WORK), return_exceptions=True)
            monkeypatch.undo()
            await until(lambda: loader.loaded == ["a", "a"] and host.ready())

    asyncio.run(asked())


def test_before_the_start_nothing_is_accepted(models: Path) -> None:
    host = Host(offered(models, "a"))
    backend: ScoringBackend = host
    assert (list(backend.models()), list(backend.queues()), backend.ready()) == ([], [], False)
    with pytest.raises(ShuttingDown):
        asyncio.run(host.score("a", WORK))


@pytest.mark.nano
def test_nano_by_its_names(nano_folder: Path) -> None:
    async def asked() -> None:
        host = Host(HostOptions(parse_specs(["quick=nano"])))
        await host.start()
        await until(host.ready, 60.0)
        (state,) = host.models()
        assert state.aliases[0] == "nano"
        assert (state.prompt, state.repository) == ("nano-v1", "HuggingFaceTB/SmolLM2-135M-Instruct")
        assert len(logits((await host.score("NANO", WORK)).outcomes[0])) == 3
        taken, surveyed = host.counters()["quick"].memory_bytes, 4 * 134_515_008
        assert abs(taken - surveyed) < surveyed / 100
        await host.drain(5.0)

    asyncio.run(asked())
