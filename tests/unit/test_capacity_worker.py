"""The simulated replica beside the engine's own worker: the same requests at the same times give the same batches and answers.

The worker is real, with its backlog, schedule and threads; its model counts time instead of computing. Requests come in the
moment when the model's clock has passed theirs, between two layers, and the model waits until they are in the schedule.
"""

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from capacity import ranking, request
from gigarank.cluster.capacity import replica as simulated
from gigarank.cluster.capacity.costs import Costs, size_of, size_of_takes
from gigarank.cluster.capacity.replica import SERVED
from gigarank.cluster.capacity.simulation import Fleet, simulate
from gigarank.cluster.capacity.traffic import Arrival, arrivals
from gigarank.engine.batch import Part, pack
from gigarank.engine.jobs import QueueLimits
from gigarank.engine.plan import Limits, make_plan
from gigarank.engine.request import Encoded
from gigarank.engine.schedule import Schedule
from gigarank.engine.worker import Urgency, Worker
from gigarank.model.linear import ROW_MULTIPLE

COSTS = Costs(layers=6, batch_s=0.01, token_s=0.001, reach_s=1e-7)
PATIENCE_S = 30.0
Batches = list[list[tuple[int, tuple[int, ...]]]]


class Counting:
    """A model of layers that only take time. `batches`: which pieces of which requests it computed, batch by batch."""

    def __init__(self, asked: Sequence[Arrival]) -> None:
        self.name = "counting"
        self.runner = self
        self.limits = Limits(SERVED.batch_tokens, SERVED.kept_tokens)
        self.now = 0.0
        self.batches: Batches = []
        self.answered: dict[int, float] = {}
        self.all_answered = threading.Event()
        self._coming = list(enumerate(asked))
        self._asked = len(asked)
        self._lists: dict[int, int] = {}
        self.submit: Callable[[Any], None] = lambda task: None

    def compute(self, parts: Sequence[Part], pause: Callable[[], None]) -> list[None]:
        self.batches.append([(self._lists[id(part.pieces)], part.batch.pieces) for part in parts])
        seconds = COSTS.seconds(size_of([(part.batch, part.pieces) for part in parts]))
        for layer in range(COSTS.layers):
            self.now += seconds / COSTS.layers
            self.arrive()
            if layer + 1 < COSTS.layers:
                pause()
        return [None] * len(parts)

    def arrive(self) -> None:
        while self._coming and self._coming[0][1].at <= self.now:
            number, arrival = self._coming.pop(0)
            encoded = Encoded(list(arrival.pieces), [[0] * piece.length for piece in arrival.pieces])
            self._lists[id(encoded.pieces)] = number
            self.submit(self._task(number, encoded))

    def _task(self, number: int, encoded: Encoded) -> Any:
        return SimpleNamespace(
            characters=1,
            encode=lambda: encoded,
            absorb=lambda part, hidden: None,
            pairs_left=lambda: 1,
            result=lambda timing: self._answer(number),
        )

    def _answer(self, number: int) -> None:
        assert number not in self.answered
        self.answered[number] = self.now
        if len(self.answered) == self._asked:
            self.all_answered.set()


def really(asked: Sequence[Arrival]) -> Counting:
    model = Counting(asked)
    worker = Worker(model, QueueLimits(), clock=lambda: model.now)  # type: ignore[arg-type]
    backlog = worker._backlog
    joined = threading.Semaphore(0)
    add = backlog._schedule.add

    def adding(*request: Any) -> None:
        add(*request)
        joined.release()

    backlog._schedule.add = adding  # type: ignore[method-assign,assignment]

    def submit(task: Any) -> None:
        backlog.submit(task, Urgency())
        assert joined.acquire(timeout=PATIENCE_S)
        with backlog._changed:  # whoever added it has left the lock, and told of the change
            pass

    model.submit = submit
    model.arrive()
    assert model.all_answered.wait(timeout=PATIENCE_S)
    worker.close()
    return model


def in_simulation(asked: Sequence[Arrival], monkeypatch: pytest.MonkeyPatch) -> tuple[Batches, list[float]]:
    batches: Batches = []
    measure = size_of_takes

    def recording(takes: Any, pieces: Any) -> Any:
        batches.append([(take.number, take.batch.pieces) for take in takes])
        return measure(takes, pieces)

    monkeypatch.setattr(simulated, "size_of_takes", recording)
    run = simulate(asked, Fleet(COSTS, 1))
    return batches, [one.at + latency for one, latency in zip(asked, run.latencies_s, strict=True)]


def busy(seed: int) -> list[Arrival]:
    """Mixed sizes that come faster than they are computed, the first at once, so that the worker is never idle."""
    small = arrivals(ranking(rate=6.0, documents=2, tokens=20, seed=seed), 40)
    large = arrivals(ranking(rate=1.5, documents=30, tokens=90, seed=seed + 1), 8)
    mixed = sorted([*small, *large], key=lambda one: one.at)
    return [Arrival(0.0, request(*[300] * 7)), *mixed]


@pytest.mark.parametrize("seed", range(3))
def test_the_worker_computes_the_batches_of_the_simulation_and_answers_at_its_times(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = busy(seed)
    model = really(asked)
    batches, ends = in_simulation(asked, monkeypatch)
    assert batches == model.batches
    assert ends == pytest.approx([model.answered[number] for number in range(len(asked))])
    assert any(len(batch) > 1 for batch in batches)


def test_rows_are_those_that_the_engine_lays_out() -> None:
    schedule = Schedule(Limits(1_024, 2_048))
    pieces = {number: request(50 + number, 80) for number in range(4)}
    for number, own in pieces.items():
        schedule.add(number, own)
    turn = schedule.next()
    assert turn is not None and len(turn.takes) == 4
    parts = [
        Part(take.batch, pieces[take.number], [[0] * piece.length for piece in pieces[take.number][:1]] + _own(take.number), {})
        for take in turn.takes
    ]
    packed = pack(parts, torch.device("cpu"))
    size = size_of_takes(turn.takes, pieces)
    assert 0 <= len(packed.ids) - size.rows < ROW_MULTIPLE
    attended = sum(
        sum(range(1, segment.stop - segment.start + 1)) + (segment.stop - segment.start) * _context(segment, packed.segments)
        for segment in packed.segments
    )
    assert size.reach == attended


def _own(number: int) -> list[list[int]]:
    return [[number + 1] * 10, [number + 1] * (50 + number), [number + 1] * 80]


def _context(segment: Any, segments: Sequence[Any]) -> int:
    lengths = {one.key: one.stop - one.start for one in segments}
    return sum(lengths[key] for key in segment.context)


def test_a_prefix_that_was_kept_is_read_and_not_computed_again() -> None:
    pieces = request(*[400] * 4)
    sizes = [size_of([(batch, pieces)]) for batch in make_plan(pieces, Limits(1_024, 2_048))]
    assert [size.rows for size in sizes] == [830, 800]
    assert sizes[1].reach == 2 * (400 * 30 + 400 * 401 // 2)
