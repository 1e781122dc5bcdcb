"""Which models are in memory: who sleeps for whom, who never does, what a request for a sleeping one is told."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gigarank.engine.download import DownloadProgress
from gigarank.engine.work import Search, Work
from gigarank.errors import CheckpointError, InvalidInput, ModelLoading, ModelUnavailable, UnknownModel
from gigarank.service.backend import Urgency
from gigarank.service.hosting.host import Host
from gigarank.service.hosting.loader import Model
from gigarank.service.hosting.options import HostOptions
from gigarank.service.hosting.specs import ModelSpec
from hosting import WORK, Clock, Held, offered, running, states, until, weigh, within

LONG = Work((Search("red", tuple(f"document {d} " * 150 for d in range(200))),))

LONGEST = Work((Search("red", tuple(f"document {d} " * 150 for d in range(2_000))),))


async def use(host: Host, *names: str) -> None:
    for name in names:
        await host.score(name, WORK, wait_s=30.0)


def test_the_longest_unused_model_sleeps_first(models: Path) -> None:
    async def asked() -> None:
        loader = Held()
        options = within(offered(models, "a", "b", "c"), 2 * weigh(models / "a") + 1_000)
        async with running(options, loader) as host:
            await use(host, "a", "b")
            assert states(host) == {"a": "ready", "b": "ready", "c": "sleeping"}
            await use(host, "a", "c")  # b is now the longest unused
            assert states(host) == {"a": "ready", "b": "sleeping", "c": "ready"}
            await use(host, "b")
            assert states(host) == {"a": "sleeping", "b": "ready", "c": "ready"}
            assert loader.loaded == ["a", "b", "c", "b"]

    asyncio.run(asked())


def test_memory_in_use_stays_within_the_budget_and_is_what_was_foretold(models: Path) -> None:
    async def asked() -> None:
        one = weigh(models / "a")
        async with running(within(offered(models, "a", "b", "c"), 2 * one + 1_000)) as host:
            for names in (("a", "b"), ("c", "a"), ("b", "c")):
                await asyncio.gather(*(use(host, name) for name in names))
                held = [counters.memory_bytes for counters in host.counters().values()]
                assert sum(held) <= host.memory_bytes
                assert sorted(held) == [0, one, one]
            assert [counters.loads for counters in host.counters().values()] == [1, 2, 1]

    asyncio.run(asked())


def test_a_checkpoints_weight_is_known_exactly_before_it_is_loaded(models: Path) -> None:
    async def asked() -> None:
        async with running(offered(models, "a", "vectors")) as host:
            await use(host, "a")
            await host.embed("vectors", ["x"], task=None, dimensions=None, urgency=Urgency(wait_s=30.0))
            taken = {name: counters.memory_bytes for name, counters in host.counters().items()}
            assert taken == {"a": weigh(models / "a"), "vectors": weigh(models / "vectors")}

    asyncio.run(asked())


def test_a_pinned_model_never_sleeps(models: Path) -> None:
    async def asked() -> None:
        options = within(offered(models, "a", "b", "c", pinned=("a",)), 2 * weigh(models / "a") + 1_000)
        async with running(options) as host:
            await until(host.ready)
            await use(host, "b", "c", "b")
            assert states(host) == {"a": "ready", "b": "ready", "c": "sleeping"}

    asyncio.run(asked())


def test_unused_models_sleep_after_a_while_but_for_pinned_ones(models: Path) -> None:
    async def asked() -> None:
        clock = Clock()
        options = replace(offered(models, "a", "b", pinned=("a",)), idle_s=60.0)
        async with running(options, clock=clock) as host:
            await use(host, "a", "b")
            clock.now += 59.0
            host.tick()
            assert states(host) == {"a": "ready", "b": "ready"}
            clock.now += 1.0
            host.tick()
            assert states(host) == {"a": "ready", "b": "sleeping"}
            await until(lambda: host.counters()["b"].memory_bytes == 0)
            clock.now += 1_000.0
            host.tick()
            assert states(host)["a"] == "ready"

    asyncio.run(asked())


def test_without_an_idle_time_nothing_sleeps_by_itself(models: Path) -> None:
    async def asked() -> None:
        clock = Clock()
        async with running(offered(models, "a"), clock=clock) as host:
            await use(host, "a")
            clock.now += 1e6
            host.tick()
            assert states(host) == {"a": "ready"}

    asyncio.run(asked())


def test_a_model_with_work_is_not_put_to_sleep_under_it(models: Path) -> None:
    async def asked() -> None:
        loader = Held()
        options = within(offered(models, "a", "b"), weigh(models / "a") + 1_000)
        async with running(options, loader) as host:
            await use(host, "a")
            working = asyncio.create_task(host.score("a", LONG))
            await until(lambda: host.queues()[0].waiting_requests == 1)
            other = asyncio.create_task(host.score("b", WORK, wait_s=30.0))
            await asyncio.sleep(0.05)
            assert states(host) == {"a": "ready", "b": "loading"}
            assert loader.loaded == ["a"]  # b waits for room
            assert len((await working).outcomes[0]) == 200
            await other
            assert states(host) == {"a": "sleeping", "b": "ready"}

    asyncio.run(asked())


def test_a_busy_model_yields_to_one_that_waits_too_long(models: Path) -> None:
    async def asked() -> None:
        options = replace(within(offered(models, "a", "b"), weigh(models / "a") + 1_000), patience_s=0.1)
        async with running(options) as host:
            await use(host, "a")
            working = asyncio.create_task(host.score("a", LONG))
            await until(lambda: host.queues()[0].waiting_requests == 1)
            other = asyncio.create_task(host.score("b", WORK, wait_s=30.0))
            await until(lambda: states(host)["a"] == "sleeping")
            assert not working.done()  # it takes nothing new, and finishes what it has
            with pytest.raises(ModelLoading):
                await host.score("a", WORK)
            assert len((await working).outcomes[0]) == 200
            await other
            assert host.counters()["b"].loads == 1

    asyncio.run(asked())


def test_a_model_that_was_asked_to_yield_and_did_not_have_to_takes_requests_again(models: Path) -> None:
    async def asked() -> None:
        options = replace(within(offered(models, "a", "b", "c"), 2 * weigh(models / "a") + 1_000), patience_s=0.0)
        clock = Clock()
        async with running(options, clock=clock) as host:
            for name in ("a", "b"):
                await use(host, name)
                clock.now += 1
            longest, short = (asyncio.create_task(host.score(name, work)) for name, work in (("a", LONGEST), ("b", LONG)))
            await until(lambda: sum(queue.waiting_requests for queue in host.queues()) == 2)
            waiting = asyncio.create_task(host.score("c", WORK, wait_s=60.0))
            await until(lambda: states(host)["a"] == "sleeping")
            await short
            await waiting  # in b's place
            assert not longest.done()
            assert states(host) == {"a": "ready", "b": "sleeping", "c": "ready"}
            longest.cancel()
            await use(host, "a")

    asyncio.run(asked())


def test_a_deadline_ends_the_wait_for_a_sleeping_model(models: Path) -> None:
    async def asked() -> None:
        loader, began = Held(), time.monotonic()
        loader.shut("a")
        loader.shut("vectors")
        async with running(offered(models, "a", "vectors"), loader) as host:
            soon = Urgency(deadline=began + 0.2, wait_s=20.0)
            with pytest.raises(ModelLoading):
                await host.score("a", replace(WORK, deadline=soon.deadline), wait_s=20.0)
            with pytest.raises(ModelLoading):
                await host.answer("a", ["x"], soon)
            with pytest.raises(ModelLoading):
                await host.embed("vectors", ["x"], task=None, dimensions=None, urgency=soon)
        assert 0.2 <= time.monotonic() - began < 10.0

    asyncio.run(asked())


def test_a_request_for_a_sleeping_model_is_told_when_to_come_back(models: Path) -> None:
    async def asked() -> None:
        loader, clock = Held(), Clock()
        gate = loader.shut("a")
        loader.changed["a"] = lambda facts: replace(facts, read_bytes_per_s=facts.memory_bytes / 40.0)
        async with running(offered(models, "a"), loader, clock) as host:
            waits = []
            for passed in (0.0, 10.0, 25.0, 30.0):  # 65 of 40 seconds in the end
                clock.now += passed
                with pytest.raises(ModelLoading, match="a is being loaded: ready in about") as caught:
                    await host.score("a", WORK)
                waits.append(caught.value.retry_after)
                await until(lambda: loader.loaded == ["a"])
            assert waits == pytest.approx([40.0, 30.0, 5.0, 6.5])
            gate.set()
            await until(lambda: states(host)["a"] == "ready")
            assert len((await host.score("a", WORK)).outcomes[0]) == 3
            assert host.counters()["a"].load_seconds == pytest.approx(65.0)

    asyncio.run(asked())


def test_the_last_load_of_a_model_says_how_long_the_next_takes(models: Path) -> None:
    async def asked() -> None:
        loader, clock = Held(), Clock()
        gate = loader.shut("a")
        loader.changed["a"] = lambda facts: replace(facts, read_bytes_per_s=facts.memory_bytes / 100.0)
        async with running(replace(offered(models, "a"), idle_s=1.0), loader, clock) as host:
            with pytest.raises(ModelLoading):
                await host.score("a", WORK)
            await until(lambda: loader.loaded == ["a"])
            clock.now += 12.0
            gate.set()
            await until(lambda: states(host)["a"] == "ready")
            clock.now += 1.0
            host.tick()
            gate.clear()
            with pytest.raises(ModelLoading) as caught:
                await host.score("a", WORK)
            assert caught.value.retry_after == pytest.approx(12.0)

    asyncio.run(asked())


def test_a_download_tells_its_own_estimate(models: Path) -> None:
    async def asked() -> None:
        class Fetched(Held):
            def load(self, spec: ModelSpec, progress: DownloadProgress) -> Model:
                progress("weights", 250, 1_000)
                return super().load(spec, progress)

        loader, clock = Fetched(), Clock()
        gate = loader.shut("a")
        loader.changed["a"] = lambda facts: replace(facts, fetch_bytes=1_000, read_bytes_per_s=facts.memory_bytes / 4.0)
        async with running(offered(models, "a"), loader, clock) as host:
            with pytest.raises(ModelLoading):
                await host.score("a", WORK)
            await until(lambda: loader.loaded == ["a"])
            clock.now += 20.0  # a quarter came: three times as long for the rest, then four seconds of reading
            with pytest.raises(ModelLoading) as caught:
                await host.score("a", WORK)
            assert caught.value.retry_after == pytest.approx(64.0, abs=0.01)
            gate.set()

    asyncio.run(asked())


def test_a_download_ends_when_the_server_does(models: Path) -> None:
    async def asked() -> float:
        class Fetching(Held):
            def load(self, spec: ModelSpec, progress: DownloadProgress) -> Model:
                self.loaded.append(spec.name)
                for second in range(1_000):
                    progress("weights", second, 1_000)
                    time.sleep(0.01)
                return super().load(spec, progress)

        loader = Fetching()
        async with running(offered(models, "a"), loader) as host:
            with pytest.raises(ModelLoading):
                await host.score("a", WORK)
            await until(lambda: loader.loaded == ["a"])
            began = time.monotonic()
            await host.drain(0.1)
            return time.monotonic() - began

    assert asyncio.run(asked()) < 3.0


def test_who_waits_is_answered_when_the_model_is_there_or_told_when_not(models: Path) -> None:
    async def asked() -> None:
        loader = Held()
        gate = loader.shut("a")
        async with running(offered(models, "a"), loader) as host:
            began = time.monotonic()
            with pytest.raises(ModelLoading):
                await host.score("a", WORK, wait_s=0.2)
            assert 0.15 < time.monotonic() - began < 2.0
            waiting = [asyncio.create_task(host.score("a", WORK, wait_s=30.0)) for _ in range(3)]
            await asyncio.sleep(0.05)
            gate.set()
            for result in await asyncio.gather(*waiting):
                assert len(result.outcomes[0]) == 3
            assert loader.loaded == ["a"]  # once for all of them

    asyncio.run(asked())


def test_a_load_delays_no_other_model(models: Path) -> None:
    async def asked() -> None:
        loader = Held()
        loader.shut("b")
        async with running(offered(models, "a", "b", "c", pinned=("a",)), loader) as host:
            await until(host.ready)
            with pytest.raises(ModelLoading):
                await host.score("b", WORK)
            await until(lambda: loader.loaded[-1] == "b")
            await use(host, "a", "c")  # c is even loaded meanwhile
            assert states(host) == {"a": "ready", "b": "loading", "c": "ready"}

    asyncio.run(asked())


def test_a_model_that_was_loaded_for_a_client_who_comes_back_is_kept_for_it(models: Path) -> None:
    async def asked() -> None:
        clock, loader = Clock(), Held()
        options = replace(within(offered(models, "a", "b"), weigh(models / "a") + 1_000), fresh_s=10.0)
        async with running(options, loader, clock) as host:
            with pytest.raises(ModelLoading):
                await host.score("a", WORK)
            await until(lambda: states(host)["a"] == "ready")
            other = asyncio.create_task(host.score("b", WORK, wait_s=30.0))
            await asyncio.sleep(0.05)
            assert states(host)["a"] == "ready"
            await host.score("a", WORK)  # the client comes back
            clock.now += 10.0
            await other
            assert loader.loaded == ["a", "b"]

    asyncio.run(asked())


def test_a_model_that_fails_its_self_test_is_never_served(models: Path) -> None:
    async def asked() -> None:
        loader, clock = Held(), Clock()
        async with running(offered(models, "a", "broken", pinned=("broken",)), loader, clock) as host:
            await until(lambda: states(host)["broken"] == "failed")
            assert not host.ready()
            for wait_s in (0.0, 1.0):
                with pytest.raises(CheckpointError, match=r"broken is not served: .*the self-test failed: .*scores") as caught:
                    await host.score("broken", WORK, wait_s=wait_s)
                assert caught.value.received == "broken"
            assert "self-test failed" in host.models()[1].failure
            assert host.counters()["broken"].memory_bytes == 0
            await use(host, "a")
            assert loader.loaded == ["broken", "a"]

    asyncio.run(asked())


def test_an_embedder_that_fails_its_self_test_is_never_served(models: Path) -> None:
    async def asked() -> None:
        spec = ModelSpec("nan", str(models / "broken"), kind="embedder")
        async with running(HostOptions((spec,))) as host:
            with pytest.raises(CheckpointError, match="vector is not finite"):
                await host.embed("nan", ["x"], task=None, dimensions=None, urgency=Urgency(wait_s=30.0))

    asyncio.run(asked())


def test_a_failed_model_is_tried_again_after_a_while(models: Path) -> None:
    async def asked() -> None:
        loader, clock = Held(), Clock()
        loader.fails["a"] = RuntimeError("out of memory\nand a trace")
        async with running(replace(offered(models, "a"), retry_failed_s=60.0), loader, clock) as host:
            with pytest.raises(ModelUnavailable, match="a could not be loaded: RuntimeError: out of memory; it is tried again"):
                await host.score("a", WORK, wait_s=30.0)
            clock.now += 59.0
            with pytest.raises(ModelUnavailable, match="at a request in 1 s or later"):
                await host.score("a", WORK, wait_s=30.0)
            assert loader.loaded == ["a"]
            loader.fails.clear()
            clock.now += 1.0
            assert len((await host.score("a", WORK, wait_s=30.0)).outcomes[0]) == 3
            assert (states(host)["a"], host.models()[0].failure) == ("ready", "")

    asyncio.run(asked())


def test_a_pinned_model_that_failed_is_tried_again_by_itself(models: Path) -> None:
    async def asked() -> None:
        loader, clock = Held(), Clock()
        loader.fails["a"] = RuntimeError("busy device")
        async with running(offered(models, "a", pinned=("a",)), loader, clock) as host:
            await until(lambda: states(host)["a"] == "failed")
            loader.fails.clear()
            clock.now += 60.0
            host.tick()
            await until(host.ready)

    asyncio.run(asked())


def test_a_model_larger_than_the_budget_is_refused_at_the_start(models: Path) -> None:
    weight = weigh(models / "a")
    for options, taken in (
        (within(offered(models, "a"), weight - 1), weight),
        (within(offered(models, "a", "b", pinned=("a",)), 2 * weight - 1), 2 * weight),
        (within(offered(models, "a", "b", pinned=("a", "b")), 2 * weight - 1), 2 * weight),
    ):
        with pytest.raises(InvalidInput, match=rf"{taken:,} of a budget of {options.memory_bytes:,}") as caught:
            asyncio.run(Host(options, Held()).start())
        assert (caught.value.limit, caught.value.received) == (options.memory_bytes, taken)


def test_what_is_no_model_is_refused_at_the_start(models: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, kind in ((str(tmp_path / "empty"), CheckpointError), (str(tmp_path / "none"), UnknownModel)):
        with pytest.raises(kind):
            asyncio.run(Host(HostOptions((ModelSpec("x", source),))).start())


def test_by_default_four_fifths_of_the_machine_are_the_budget(models: Path) -> None:
    async def asked() -> None:
        class Large(Held):
            def memory_bytes(self) -> int:
                return 10**12

        async with running(offered(models, "a"), Large()) as host:
            assert host.memory_bytes == 8 * 10**11

    asyncio.run(asked())
