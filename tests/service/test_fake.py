"""The backend without a model: how long it says that it takes, and takes."""

import asyncio
import itertools
import statistics
import time

from gigarank.engine.work import Search, Work
from gigarank.service.backend import Urgency
from gigarank.service.fake import FakeBackend


def times(backend: FakeBackend, calls: int) -> list[float]:
    """Milliseconds of calls one after another."""

    async def work() -> list[float]:
        asked = Work((Search("a", ("b",)),))
        return [(await backend.score("fake", asked)).timing.inference_ms for _ in range(calls)]

    return asyncio.run(work())


def test_it_takes_what_it_is_told() -> None:
    begin = time.monotonic()
    assert times(FakeBackend(0.01), 3) == [10.0, 10.0, 10.0]
    assert time.monotonic() - begin >= 0.03


def test_between_two_times_it_takes_all_evenly_out_of_order_and_the_same_again() -> None:
    taken = times(FakeBackend(0.001, 0.001), 200)
    assert 1.0 <= min(taken) < 1.01 and 1.99 < max(taken) < 2.0
    for few in (taken, taken[:20], taken[90:110]):
        assert abs(statistics.median(few) - 1.5) < 0.06
    gaps = [abs(one - other) for one, other in itertools.pairwise(taken)]
    assert min(gaps) > 0.3  # whoever asks next takes another time
    assert times(FakeBackend(0.001, 0.001), 200) == taken


def test_all_it_answers_takes_its_time() -> None:
    async def work() -> list[float]:
        backend, urgency = FakeBackend(0.001, 0.001), Urgency()
        embedded = await backend.embed("fake-embedder", ["a"], task=None, dimensions=None, urgency=urgency)
        (answered,) = await backend.answer("fake", ["a"], urgency)
        return [embedded.timing.inference_ms, answered.timing.inference_ms]

    assert asyncio.run(work()) == times(FakeBackend(0.001, 0.001), 2)
