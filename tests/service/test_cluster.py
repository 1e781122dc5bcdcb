"""Models on a real Ray cluster of this machine: bitwise the engine's scores, one bill whatever dies, nothing lost in an update.

One cluster for the whole file, of two replicas. With GIGARANK_TEST_CLUSTER=1 it starts with one, and the second comes when
tokens wait; in the end one replica has room for one model: a minute more.
"""

import asyncio
import os
import signal
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import select

from accounts import make_account
from asgi import posting, run, visit
from gigarank.engine.portion import Portion
from gigarank.engine.reranker import Reranker
from gigarank.engine.work import Failure, Search, Tier, Work
from gigarank.engine.worker import QueueLimits
from gigarank.errors import (
    CheckpointError,
    ClusterUnavailable,
    GigarankError,
    InvalidInput,
    UnknownModel,
    UpstreamUnavailable,
    WorkerFailed,
)
from gigarank.service.app import create_app
from gigarank.service.credits.service import audit
from gigarank.service.db import Database
from gigarank.service.hosted import open_secrets
from gigarank.service.hosting.specs import ModelSpec
from gigarank.service.migrations import migrate
from gigarank.service.settings import Settings
from gigarank.service.tables import reservations, usage
from gigarank.service.upstream.backend import UpstreamBackend
from gigarank.service.upstream.balance import BalanceLimits
from gigarank.service.upstream.cluster import PAUSE_S, TRIES, backend_on
from gigarank.types import Pair, Score, Windows
from hosting import WORK

pytest.importorskip("ray", reason="the cluster extra is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

from ray.exceptions import RayError  # noqa: E402

from gigarank.cluster.application import application, has_room  # noqa: E402
from gigarank.cluster.client import Access, Cluster  # noqa: E402
from gigarank.cluster.options import ClusterOptions, ModelSource, Replicas  # noqa: E402
from gigarank.cluster.replica import Held, Scorer  # noqa: E402

DOCUMENTS = ("Mars is red.", "", "Venus <|im_end|> is bright. " * 30, "red " * 900, "Mars is red.", "\ud800", "a cake")
SEARCHES = (Search("which planet is red", DOCUMENTS), Search("cake", ("a cake", "a car " * 400), "Find recipes"))
CANARY_TOKENS = 200
GROWS = "GIGARANK_TEST_CLUSTER" in os.environ
LONG = tuple(f"{number} " + "the red planet is Mars " * 150 for number in range(100))
QUICK = {
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
}


@dataclass
class Watched:
    """The cluster, with what went wrong in it; a backend's end does not end it."""

    cluster: Cluster
    failures: list[GigarankError] = field(default_factory=list)
    portions: list[Portion] = field(default_factory=list)
    answered: int = 0

    async def running(self) -> int:
        return await self.cluster.running()

    async def ask(self, model: str, asked: Portion, tier: Tier, priority: int) -> list[float]:
        if asked.tokens > CANARY_TOKENS:
            self.portions.append(asked)
        try:
            told = await self.cluster.ask(model, asked, tier, priority)
        except GigarankError as error:
            self.failures.append(error)
            raise
        self.answered += asked.tokens > CANARY_TOKENS
        return told

    async def close(self) -> None:
        """Later."""


def specs(models: Path) -> list[ModelSpec]:
    return [ModelSpec(name, str(models / name), pinned=name == "a") for name in ("a", "b", "broken")]


@pytest.fixture(scope="module")
def cluster(models: Path) -> Iterator[Cluster]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**QUICK, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}.items():
            patch.setenv(name, value)
        sources = tuple(ModelSource(spec.name, spec.source, spec.pinned) for spec in specs(models))
        replicas = Replicas(1 if GROWS else 2, 2, tokens=2_000)
        made = Cluster.connect(Access("local", timeout_s=60.0), ClusterOptions(sources, replicas))
        yield made
        run(made.close(), 60.0)


@pytest.fixture(scope="module")
def engine(models: Path) -> Reranker:
    return Reranker.load(models / "a")


@asynccontextmanager
async def serving(cluster: Cluster | Watched, models: Path) -> AsyncIterator[UpstreamBackend]:
    backend = backend_on(specs(models), Watched(cluster) if isinstance(cluster, Cluster) else cluster, LIMITS)
    await backend.start()
    try:
        await eventually(lambda: _true(backend.ready()))
        yield backend
    finally:
        await backend.drain(1.0)


LIMITS = BalanceLimits(probe_s=0.3, grace_s=60.0, tries=TRIES, pause_s=PAUSE_S)


async def _true(value: bool) -> bool:
    return value


async def eventually(condition: Callable[[], Awaitable[bool]], timeout_s: float = 180.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.02)


async def two_replicas(cluster: Cluster, backend: UpstreamBackend) -> None:
    """Tokens wait until there are two, both of them alive: one that was killed a moment ago is still said to run."""

    async def both() -> bool:
        try:
            return await cluster.running() == 2 and len(await processes(cluster)) == 2
        except RayError:
            return False

    async def flood() -> None:
        while True:
            await backend.score("a", Work((Search("which planet is red", LONG),)))

    if not await both():
        flooding = asyncio.create_task(flood())
        await eventually(both)
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)


async def processes(cluster: Cluster) -> dict[int, str]:
    """The replicas by their process: which options they have."""
    told = [await cluster._handle("a").described.remote() for _ in range(20)]
    return {one["process"]: one["fingerprint"] for one in told}


async def both_at_work(cluster: Cluster) -> bool:
    told = [await cluster._handle("a").described.remote() for _ in range(4)]
    return len({one["process"] for one in told if one["tokens"] > CANARY_TOKENS}) == 2


def test_scores_are_the_engine_s(cluster: Cluster, models: Path, engine: Reranker) -> None:
    async def act() -> None:
        watched = Watched(cluster)
        async with serving(watched, models) as backend:
            result = await backend.score("a", Work(SEARCHES, windows=Windows(10, 3)))
            for search, outcomes in zip(SEARCHES, result.outcomes, strict=True):
                readable = [n for n, text in enumerate(search.documents) if text != "\ud800"]
                pairs = [Pair(search.query, search.documents[n], search.instruction) for n in readable]
                expected = engine.score(pairs, windows=Windows(10, 3))
                found = [outcomes[n] for n in readable]
                assert found == [replace(score, index=n) for score, n in zip(expected, readable, strict=True)]
            assert isinstance(result.outcomes[0][5], Failure)
            (ranked,) = [engine.rank(one.query, one.documents, instruction=one.instruction) for one in SEARCHES[1:]]
            assert (await backend.score("a", Work(SEARCHES[1:]))).usage == ranked.usage

    run(act(), 200.0)


def test_a_model_that_fails_its_test_fails_alone(cluster: Cluster, models: Path) -> None:
    async def act() -> None:
        async with serving(cluster, models) as backend:
            with pytest.raises(UpstreamUnavailable, match="the self-test failed: scores"):
                await backend.score("broken", WORK, wait_s=0.5)
            assert {model.name: model.state for model in backend.models()} == {"a": "ready", "b": "ready", "broken": "failed"}
            one, other = [await backend.score(name, WORK) for name in ("a", "b")]
            assert one.outcomes != other.outcomes
        with pytest.raises(CheckpointError, match="self-test failed"):
            await cluster.ask("broken", Portion((), (), ()), "default", 0)
        with pytest.raises(UnknownModel, match="not deployed"):
            await cluster.ask("nobody", Portion((), (), ()), "default", 0)
        with pytest.raises(InvalidInput, match="ids"):
            await cluster.ask("a", Portion(([10**6],), (None,), (0,)), "default", 0)

    run(act(), 60.0)


def test_tokens_that_wait_bring_another_replica_which_gets_its_part(cluster: Cluster, models: Path, engine: Reranker) -> None:
    async def act() -> None:
        watched = Watched(cluster)
        async with serving(watched, models) as backend:
            assert await cluster.running() == (1 if GROWS else 2)
            await two_replicas(cluster, backend)
            (upstream, *_) = backend._balancer.upstreams
            await eventually(lambda: _true(upstream.client.copies == 2))
            watched.portions.clear()
            documents = tuple(f"{n} a red planet " * 20 for n in range(30))
            result = await backend.score("a", Work((Search("which planet is red", documents),)))
            first, second = (asked.tokens for asked in watched.portions)
            assert abs(first - second) < 0.1 * first
            assert all(asked.parents[:3] == (None, 0, 1) for asked in watched.portions)
            assert list(result.outcomes[0]) == engine.score([("which planet is red", text) for text in documents])

    run(act(), 200.0)


def test_a_replica_killed_in_the_middle_costs_nobody_anything(cluster: Cluster, models: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/accounts.db"
    database = Database(url)
    migrate(database)
    settings = Settings(models=("a",), state_dir=str(tmp_path), database_url=url, accounts=True, pages=False)
    made = make_account(database, open_secrets(settings), 10**9)
    watched, charged = Watched(cluster), list[int]()

    async def act() -> None:
        backend = backend_on(specs(models), watched, LIMITS)
        app = create_app(settings, backend)
        async with app.router.lifespan_context(app):
            await eventually(lambda: _true(backend.ready()))
            await two_replicas(cluster, backend)
            victim = min(await processes(cluster))
            assert os.getpriority(os.PRIO_PROCESS, victim) == os.getpriority(os.PRIO_PROCESS, 0)
            before = watched.answered
            watched.failures.clear()
            request = posting({"query": "which planet is red", "documents": [3 * text for text in LONG]}, x_api_key=made.key)
            asking = asyncio.create_task(visit(app, request))
            await eventually(lambda: both_at_work(cluster))
            os.kill(victim, signal.SIGSTOP)  # so that it does not end its part before it is killed
            await eventually(lambda: _true(watched.answered > before))
            os.kill(victim, signal.SIGKILL)
            reply = await asking
            assert reply.status == 200 and len(reply.json["results"]) == len(LONG)
            died = [error.message for error in watched.failures if isinstance(error, ClusterUnavailable)]
            assert any("a replica did not answer" in message for message in died)
            few = posting({"query": "which planet is red", "documents": [3 * text for text in LONG[:8]]}, x_api_key=made.key)
            again = await visit(app, few)
            assert again.status == 200, again.json
            first, second = ({one["index"]: one["relevance_score"] for one in told.json["results"]} for told in (reply, again))
            assert second == {index: first[index] for index in range(8)}
            charged.extend(told.json["usage"]["total_tokens"] for told in (reply, again))

    run(act(), 200.0)
    rows = database.transaction(lambda c: c.execute(select(usage.c.tokens)).all())
    assert sorted(row.tokens for row in rows) == sorted(charged) and len(charged) == 2
    assert database.transaction(lambda c: c.execute(select(reservations)).all()) == []
    assert database.transaction(audit).problems == ()
    database.close()


def test_a_replica_whose_weights_change_in_memory_is_replaced(cluster: Cluster, models: Path, engine: Reranker) -> None:
    query, texts = WORK.searches[0].query, WORK.searches[0].documents
    expected = [score.logit for score in engine.score([(query, text) for text in texts])]

    async def act() -> None:
        async with serving(cluster, models) as backend:
            await two_replicas(cluster, backend)
            sick = min(await processes(cluster))
            overwrite(sick, models / "a" / "model.safetensors")
            wrong = 0

            async def gone() -> bool:
                nonlocal wrong
                (outcomes,) = (await backend.score("a", WORK)).outcomes
                wrong += [one.logit for one in outcomes if isinstance(one, Score)] != expected
                return not alive(sick)

            await eventually(gone)
            assert wrong
            for _ in range(20):
                (outcomes,) = (await backend.score("a", WORK)).outcomes
                assert [one.logit for one in outcomes if isinstance(one, Score)] == expected
            await two_replicas(cluster, backend)

    run(act(), 200.0)


def overwrite(process: int, weights: Path) -> None:
    """In the memory of that process alone: its mapping of the file is private."""
    maps = Path(f"/proc/{process}/maps").read_text(encoding="utf-8").splitlines()
    (mapped,) = [line.split()[0].split("-") for line in maps if line.endswith(str(weights))]
    first, last = (int(address, 16) for address in mapped)
    header = 8 + int.from_bytes(weights.read_bytes()[:8], "little")
    try:
        with Path(f"/proc/{process}/mem").open("r+b", buffering=0) as memory:
            memory.seek(first + header)
            memory.write(struct.pack("<f", 0.01) * ((min(last - first, weights.stat().st_size) - header) // 4))
    except PermissionError:
        pytest.skip("the system lets nobody write in another process's memory")


def alive(process: int) -> bool:
    """Not ended; a zombie has."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not GROWS, reason="takes two minutes: GIGARANK_TEST_CLUSTER=1")
def test_a_replica_goes_when_nothing_waits_and_takes_no_request_with_it(
    cluster: Cluster, models: Path, engine: Reranker
) -> None:
    query, texts = WORK.searches[0].query, WORK.searches[0].documents
    expected = [score.logit for score in engine.score([(query, text) for text in texts])]

    async def act() -> None:
        async with serving(cluster, models) as backend:
            await two_replicas(cluster, backend)

            async def one_left() -> bool:
                (outcomes,) = (await backend.score("a", WORK)).outcomes
                assert [one.logit for one in outcomes if isinstance(one, Score)] == expected
                await asyncio.sleep(0.1)
                return await cluster.running() == 1

            await eventually(one_left, 240.0)
            await eventually(lambda: _process_alone(cluster), 60.0)
            (upstream, *_) = backend._balancer.upstreams
            await eventually(lambda: _true(upstream.client.copies == 1))
            assert await one_left()

    run(act(), 400.0)


async def _process_alone(cluster: Cluster) -> bool:
    return len(await processes(cluster)) == 1


def test_an_update_starts_a_new_replica_first_where_there_is_room_for_it() -> None:
    options = ClusterOptions((ModelSource("a", "a"),), Replicas(1, 2, cpus=2, gpus=1.0))
    assert has_room([{"CPU": 1.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}], options.replicas)
    assert not has_room([], options.replicas)
    assert not has_room([{"CPU": 1.0, "GPU": 8.0}, {"CPU": 64.0}], options.replicas)  # none has both
    assert has_room([{"CPU": 2.0}], replace(options.replicas, gpus=0.0))
    for room, percent in ((True, 1), (False, 0)):
        assert application(options, room)._bound_deployment._deployment_config.max_surge_percent == percent


def test_an_update_loses_nothing(cluster: Cluster, models: Path, engine: Reranker) -> None:
    newer = Cluster(cluster.access, replace(cluster.options, version="2"))
    expected = [score.logit for score in engine.score([(WORK.searches[0].query, text) for text in WORK.searches[0].documents])]

    async def act() -> None:
        async with serving(cluster, models) as backend:
            before = set(await processes(cluster))
            over = asyncio.Event()

            async def load() -> int:
                answered = 0
                while not over.is_set():
                    (outcomes,) = (await backend.score("a", WORK)).outcomes
                    assert [one.logit for one in outcomes if isinstance(one, Score)] == expected
                    answered += 1
                    await asyncio.sleep(0.02)  # the replicas that start need the processors too
                return answered

            clients = [asyncio.create_task(load()) for _ in range(2)]
            await newer.running()
            after = await processes(cluster)
            over.set()
            answered = await asyncio.gather(*clients)
            assert set(after.values()) == {newer.options.fingerprint()} and not before & set(after)
            assert min(answered) >= 3
            await Cluster(newer.access, newer.options).running()  # the same options: nothing is deployed
            assert set(await processes(cluster)) == set(after)

    run(act(), 400.0)


def test_a_model_that_gives_something_else_than_when_it_was_loaded_ends_its_replica(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first check that fails: Ray Serve would wait for a third."""
    ended = list[int]()
    monkeypatch.setattr("gigarank.cluster.replica.os._exit", ended.append)
    scorer = Scorer(ClusterOptions((ModelSource("a", str(models / "a")),)))
    held = Held("a", Reranker.load(models / "a"), QueueLimits())
    scorer._started, scorer._held = True, {"a": held}
    run(scorer.check_health())
    assert ended == []
    held.expected += 1e-3
    run(scorer.check_health())
    assert ended == [1]


def test_a_model_that_gives_something_else_than_when_it_was_loaded_is_not_healthy(models: Path) -> None:
    held = Held("a", Reranker.load(models / "a"), QueueLimits())
    run(held.check())
    for drift in (1e-3, float("nan")):
        first, held.expected = held.expected, held.expected + drift
        with pytest.raises(WorkerFailed, match=r"a: gives .* where it gave"):
            run(held.check())
        held.expected = first
    run(held.check())
    held.worker.close(timeout_s=30.0)
    run(held.check())  # one that is being dropped has nothing to show


@pytest.mark.skipif(not GROWS, reason="another update of all replicas: GIGARANK_TEST_CLUSTER=1")
def test_a_replica_with_room_for_one_model_takes_them_in_turns(cluster: Cluster, models: Path, engine: Reranker) -> None:
    """What is not in memory is loaded and what is there goes, also while both are asked; one that cannot be loaded takes no
    other's place twice."""
    small = Cluster(cluster.access, replace(cluster.options, version="3", replicas=Replicas(1, 1, models=1)))
    engines = {"a": engine, "b": Reranker.load(models / "b")}
    query, texts = WORK.searches[0].query, WORK.searches[0].documents
    expected = {name: [score.logit for score in one.score([(query, text) for text in texts])] for name, one in engines.items()}

    async def act() -> None:
        await eventually(lambda: _alone(small))
        async with serving(small, models) as backend:

            async def asked(name: str) -> None:
                (outcomes,) = (await backend.score(name, WORK, wait_s=30.0)).outcomes
                assert [one.logit for one in outcomes if isinstance(one, Score)] == expected[name]

            for name in ("a", "b", "a"):
                await asked(name)
                assert await _loaded(small) == [name]
            await asyncio.gather(*(asked(name) for name in "abab"))
            with pytest.raises(CheckpointError, match="self-test failed"):  # tried, if it was not yet
                await small.ask("broken", Portion((), (), ()), "default", 0)
            for _ in range(3):
                await asked("a")
                with pytest.raises(CheckpointError, match="self-test failed"):
                    await small.ask("broken", Portion((), (), ()), "default", 0)
                assert await _loaded(small) == ["a"]

    run(act(), 400.0)


async def _alone(cluster: Cluster) -> bool:
    return await cluster.running() == 1


async def _loaded(cluster: Cluster) -> list[str]:
    told = await cluster._handle("a").described.remote()
    return list(told["loaded"])
