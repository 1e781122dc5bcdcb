"""The worker on a tiny real model: exact scores whatever runs beside them, deadlines, cancelling, a bounded queue, failures.

`Watched` stands where the model's runner does: it runs the real one, and lets a test act before a batch or in its pauses.
"""

import copy
import dataclasses
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import tiny
from gigarank.engine.batch import Part
from gigarank.engine.embedder import Embedder
from gigarank.engine.loading import assemble
from gigarank.engine.numerics import choose_numerics
from gigarank.engine.plan import Batch, Piece
from gigarank.engine.reranker import Reranker
from gigarank.engine.runner import Runner
from gigarank.engine.work import Failure, Result, Search, Unscored, Work
from gigarank.engine.worker import QueueLimits, Ticket, Urgency, Worker
from gigarank.errors import (
    DeadlineExceeded,
    InvalidInput,
    NonFiniteScore,
    Overloaded,
    QueryTooLong,
    RequestTooLarge,
    ShuttingDown,
    WorkerFailed,
)
from gigarank.model.weights import random_tensors
from gigarank.types import EngineOptions, Score, Windows

WORDS = ["mars", "venus", "planet", "rot", "rouge", "赤い", "def", "return", "katze", "gravity", "1234", "(x)", "🚀"]
PATIENCE_S = 60.0


class Watched(Runner):
    """The model's own runner. `before` is called with each batch's parts, `between` in each of its pauses."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner.decoder, runner.limits)
        self.before: Callable[[Sequence[Part]], None] = lambda parts: None
        self.between: Callable[[], None] = lambda: None
        self.batches: list[int] = []
        self.layer_tokens = 0

    def compute(self, parts: Sequence[Part], pause: Callable[[], None] | None = None) -> list[Tensor]:
        tokens = sum(part.pieces[index].length for part in parts for index in part.batch.pieces)
        self.batches.append(tokens)
        self.before(parts)

        def between() -> None:
            self.layer_tokens += tokens
            self.between()
            if pause is not None:
                pause()

        hidden = super().compute(parts, between)
        self.layer_tokens += tokens
        return hidden


@pytest.fixture(scope="module")
def model() -> Reranker:
    return tiny.reranker("qwen3")


@pytest.fixture(scope="module")
def deep(model: Reranker) -> Reranker:
    """28 layers, as the 0.6B shape has."""
    config = dataclasses.replace(tiny.CONFIGS["qwen3"], num_hidden_layers=28)
    loaded = assemble("deep", config, random_tensors(config), EngineOptions(), choose_numerics("cpu", "fp32"))
    return Reranker(loaded, model.tokenizer)


@pytest.fixture
def watched(model: Reranker) -> tuple[Reranker, Watched]:
    own = copy.copy(model)
    runner = Watched(model.runner)
    own.runner = runner
    return own, runner


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def make(model: Reranker | Embedder, *rest: object, **limits: int) -> Worker:
        workers.append(Worker(model, QueueLimits(**limits), *rest))  # type: ignore[arg-type]
        return workers[-1]

    yield make
    for worker in workers:
        worker.close(drain=False)


def text(dice: random.Random, longest: int) -> str:
    return " ".join(dice.choices(WORDS, k=dice.randint(1, longest)))


def works(seed: int, count: int, documents: int = 6) -> list[Work]:
    dice = random.Random(seed)
    return [
        Work(
            tuple(
                Search(text(dice, 6), tuple(text(dice, 40) for _ in range(dice.randint(0, documents))), instruction)
                for instruction in dice.sample([None, "Find code", "Finde Planeten"], k=dice.randint(1, 2))
            ),
            priority=dice.randint(-1, 1),
            tier=dice.choice(["default", "batch"]),
        )
        for _ in range(count)
    ]


def expected(model: Reranker, search: Search) -> list[Score]:
    return model.score([(search.query, document) for document in search.documents], instruction=search.instruction)


def done(ticket: Ticket[Result]) -> Result:
    return ticket.future.result(PATIENCE_S)


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def one(query: str, *documents: str, **fields: object) -> Work:
    return Work((Search(query, documents),), **fields)  # type: ignore[arg-type]


class Gate:
    """Holds the first batch until it is opened; `held` says that it is there."""

    def __init__(self, runner: Watched) -> None:
        self.held, self.open = threading.Event(), threading.Event()
        runner.before = self._hold

    def _hold(self, parts: Sequence[Part]) -> None:
        self.held.set()
        assert self.open.wait(PATIENCE_S)


class Breaking(Gate):
    """A gate behind which every batch fails."""

    def _hold(self, parts: Sequence[Part]) -> None:
        super()._hold(parts)
        raise RuntimeError("the device is gone")


class TestExactness:
    """A pair's logit is bitwise that of Reranker.score."""

    @pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp64"])
    @pytest.mark.parametrize("budget", [64, 1_024])
    def test_whatever_runs_beside_and_in_whatever_order(self, dtype: str, budget: int, start: Callable[..., Worker]) -> None:
        model = tiny.reranker("qwen3", dtype)
        asked = works(len(dtype) + budget, 10)
        worker = start(model, max_batch_tokens=budget)
        for order in (asked, asked[::-1]):
            tickets = [worker.score(work) for work in order]
            for work, ticket in zip(order, tickets, strict=True):
                outcomes = done(ticket).outcomes
                assert [list(found) for found in outcomes] == [expected(model, search) for search in work.searches]

    def test_when_it_is_interrupted_between_two_layers(
        self, watched: tuple[Reranker, Watched], model: Reranker, start: Callable[..., Worker]
    ) -> None:
        own, runner = watched
        worker = start(own, max_batch_tokens=512)
        large = one("large?", *(f"{word} {number} planet" for number in range(60) for word in WORDS))
        small = [one(f"small {number}?", "venus", "mars") for number in range(4)]
        tickets: list[Ticket[Result]] = []

        def arrive() -> None:
            if len(tickets) < len(small) and len(runner.batches) < 4:
                tickets.append(worker.score(small[len(tickets)]))
                wait_until(lambda: len(tickets) in worker._backlog._schedule)

        runner.between = arrive
        whole = done(worker.score(large))
        assert worker.counters().interruptions >= 1
        for work, result in [(large, whole), *zip(small, map(done, tickets), strict=True)]:
            assert list(result.outcomes[0]) == expected(model, work.searches[0])

    def test_windows_and_limits(self, start: Callable[..., Worker]) -> None:
        model = tiny.reranker(options=EngineOptions(max_pair_tokens=120))
        worker = start(model)
        long = " ".join(f"word{number}" for number in range(300))
        (found,) = done(worker.score(one("planet", long, "mars", windows=Windows(4)))).outcomes
        wanted = model.score([("planet", long), ("planet", "mars")], windows=Windows(4))
        assert list(found) == wanted
        assert wanted[0].window is not None
        (cut,) = done(worker.score(one("planet", long, "mars", max_document_tokens=5))).outcomes
        assert [(score.tokens, score.truncated) for score in cut if isinstance(score, Score)] == [(5, True), (1, False)]

    def test_a_cut_query_reads_its_first_tokens(self, model: Reranker, start: Callable[..., Worker]) -> None:
        worker = start(model)
        (found,) = done(worker.score(one("the red planet", "rot", max_query_tokens=2))).outcomes
        (wanted,) = model.score([("the red", "rot")])
        assert found == (dataclasses.replace(wanted, truncated=True),)
        (whole,) = done(worker.score(one("the red planet", "rot", max_query_tokens=9))).outcomes
        assert list(whole) == model.score([("the red planet", "rot")])

    def test_requests_that_wait_are_computed_together(
        self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]
    ) -> None:
        own, runner = watched
        gate = Gate(runner)
        worker = start(own)
        first = worker.score(one("first", "a"))
        assert gate.held.wait(PATIENCE_S)
        others = [worker.score(one(f"q{number}", "mars", "venus")) for number in range(5)]
        wait_until(lambda: len(worker._backlog._schedule._entries) == 5)
        before = len(runner.batches)
        gate.open.set()
        for ticket in [first, *others]:
            done(ticket)
        assert len(runner.batches) <= before + 2
        assert worker.counters().batches == len(runner.batches)


class TestOneDocument:
    """What is wrong with one document is its own failure."""

    def test_a_lone_surrogate(self, model: Reranker, start: Callable[..., Worker]) -> None:
        work = Work((Search("q", ("mars",)), Search("q", ("venus", "x\ud800", "rot"))))
        first, second = done(start(model).score(work)).outcomes
        assert list(first) == model.score([("q", "mars")])
        failure = second[1]
        assert isinstance(failure, Failure)
        assert (failure.index, failure.error.param) == (1, "documents[1]")
        assert [outcome.index for outcome in second] == [0, 1, 2]
        assert isinstance(second[2], Score)

    def test_one_too_long_where_nothing_may_be_cut(self, model: Reranker, start: Callable[..., Worker]) -> None:
        work = one("q", "a b c", "a b c d e f", max_document_tokens=4, truncate=False)
        (found,) = done(start(model).score(work)).outcomes
        assert isinstance(found[0], Score)
        assert isinstance(found[1], Failure)
        error = found[1].error
        assert isinstance(error, InvalidInput)
        assert (error.param, error.limit, error.received) == ("documents[1]", 4, 6)

    def test_not_a_number_from_the_model(self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]) -> None:
        own, runner = watched
        compute = runner.compute

        def broken(parts: Sequence[Part], pause: Callable[[], None] | None = None) -> list[Tensor]:
            hidden = compute(parts, pause)[0].clone()
            hidden[1] = math.nan
            return [hidden]

        runner.compute = broken  # type: ignore[method-assign]
        (found,) = done(start(own).score(one("q", "a", "b c d", "e f"))).outcomes
        assert [type(outcome) for outcome in found].count(Failure) == 1
        (failure,) = (outcome for outcome in found if isinstance(outcome, Failure))
        assert isinstance(failure.error, NonFiniteScore)
        assert failure.error.param == f"documents[{failure.index}]"

    def test_a_query_without_room_fails_the_request(self, start: Callable[..., Worker]) -> None:
        worker = start(tiny.reranker(options=EngineOptions(max_pair_tokens=80)))
        with pytest.raises(QueryTooLong, match="limit of 80 tokens"):
            done(worker.score(one("word " * 40, "a")))
        with pytest.raises(QueryTooLong, match="longer than 3 tokens"):
            done(worker.score(one("a b c d", "a", max_query_tokens=3, truncate=False)))

    @pytest.mark.parametrize(
        ("work", "message"),
        [
            (one(" ", "a"), "query: must not be empty"),
            (one("q", "a", max_document_tokens=0), "max_document_tokens: must be at least 1, not 0"),
            (one("q", "a", max_query_tokens=0), "max_query_tokens: must be at least 1, not 0"),
            (one("q", "a", windows=Windows(-1)), "windows.overlap_tokens: must be at least 0"),
            (one("q", 7), "documents\\[0\\]: must be a string"),  # type: ignore[arg-type]
        ],
    )
    def test_a_wrong_request_is_refused_at_once(
        self, work: Work, message: str, model: Reranker, start: Callable[..., Worker]
    ) -> None:
        with pytest.raises(InvalidInput, match=message):
            start(model).score(work)

    def test_nothing_to_score_is_answered(self, model: Reranker, start: Callable[..., Worker]) -> None:
        worker = start(model)
        assert done(worker.score(Work(()))).outcomes == ()
        assert done(worker.score(Work((Search("q", ()),)))).outcomes == ((),)
        assert worker.counters().tokens == 0


class TestUsage:
    def test_counts_what_was_computed_prefixes_once(self, model: Reranker, start: Callable[..., Worker]) -> None:
        documents = tuple(f"{word} planet" for word in WORDS * 3)
        usage = done(start(model, max_batch_tokens=100).score(one("q", *documents))).usage
        assert usage == model.rank("q", documents).usage

    def test_timing_and_counters_follow_the_clock(
        self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]
    ) -> None:
        own, runner = watched
        now = [100.0]

        def tick(parts: Sequence[Part]) -> None:
            now[0] += 2.0

        runner.before = tick
        worker = start(own, lambda: now[0], max_batch_tokens=1_000)
        result = done(worker.score(one("q", "mars")))
        assert (result.timing.queued_ms, result.timing.tokenize_ms, result.timing.inference_ms) == (0.0, 0.0, 2_000.0)
        counters = worker.counters()
        assert (counters.batches, counters.busy_s, counters.tokens) == (1, 2.0, result.usage.total_tokens)
        assert counters.batch_fill == result.usage.total_tokens / 1_000
        assert worker.tokens_per_second() == result.usage.total_tokens / 2.0


class TestDeadlines:
    def test_work_that_comes_too_late_costs_nothing(
        self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]
    ) -> None:
        own, runner = watched
        ticket = start(own).score(one("q", "a", "b", deadline=time.monotonic() - 1))
        assert ticket.future.done(), "not even tokens are made"
        result = done(ticket)
        assert result.outcomes == ((Unscored(0), Unscored(1)),)
        assert (result.usage.total_tokens, runner.batches) == (0, [])

    def test_what_is_ready_is_answered_in_the_midst_of_a_batch(
        self, watched: tuple[Reranker, Watched], model: Reranker, start: Callable[..., Worker]
    ) -> None:
        own, runner = watched
        now = [0.0]

        def later() -> None:
            if len(runner.batches) == 2:
                now[0] = 10.0

        runner.between = later
        worker = start(own, lambda: now[0], max_batch_tokens=128)
        documents = [f"{word} planet" for word in WORDS * 2]
        result = done(worker.score(one("q", *documents, deadline=10.0)))
        (found,) = result.outcomes
        ready = [outcome for outcome in found if isinstance(outcome, Score)]
        assert 0 < len(ready) < len(documents)
        assert len(runner.batches) == 2
        assert runner.layer_tokens == 3 * runner.batches[0] + runner.batches[1]  # the second ended after its first layer
        wanted = model.score([("q", document) for document in documents])
        assert all(score == wanted[score.index] for score in ready)
        assert {type(outcome) for outcome in found} == {Score, Unscored}
        assert [outcome.index for outcome in found] == list(range(len(documents)))
        assert result.usage.documents == len(ready)
        assert result.usage.total_tokens == runner.batches[0]

    def test_a_document_of_which_a_window_is_missing_is_not_scored(
        self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]
    ) -> None:
        short = tiny.reranker(options=EngineOptions(max_pair_tokens=120))
        runner = short.runner = Watched(short.runner)
        now = [0.0]

        def later() -> None:
            now[0] = float(len(runner.batches))

        runner.between = later
        worker = start(short, lambda: now[0], max_batch_tokens=130)
        work = one("planet", " ".join(WORDS * 9), deadline=2.0, windows=Windows(4))
        assert done(worker.score(work)).outcomes == ((Unscored(0),),)
        assert runner.batches[1:], "one window was computed"

    def test_waiting_work_is_answered_though_the_model_is_busy(
        self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]
    ) -> None:
        """The worker looks up between two layers of somebody else's batch."""
        own, runner = watched
        now = [0.0]
        worker = start(own, lambda: now[0], max_batch_tokens=256)
        late: list[Ticket[Result]] = []
        ended: list[int] = []

        def arrive() -> None:
            if not late:
                late.append(worker.score(one("z", *WORDS, deadline=1.0, tier="batch")))
                late[0].future.add_done_callback(lambda _: ended.append(runner.layer_tokens))
            else:
                now[0] = 2.0

        runner.between = arrive
        done(worker.score(one("q", *(f"{word} planet" for word in WORDS))))
        assert ended == [2 * runner.batches[0]]
        assert all(isinstance(outcome, Unscored) for outcome in done(late[0]).outcomes[0])

    def test_an_idle_worker_wakes_for_a_deadline(self, model: Reranker, start: Callable[..., Worker]) -> None:
        slow, release = copy.copy(model), threading.Event()

        class Slow:
            def __getattr__(self, name: str) -> object:
                release.wait(PATIENCE_S)
                return getattr(model.tokenizer, name)

        worker = start(slow)
        ticket = None
        slow.tokenizer = Slow()  # type: ignore[assignment]
        try:
            ticket = worker.answer(["q"], Urgency(deadline=time.monotonic() + 0.05))
            with pytest.raises(DeadlineExceeded, match="deadline_ms: it passed"):
                ticket.future.result(PATIENCE_S)
        finally:
            release.set()


class TestCancel:
    def test_waiting_work_never_runs(self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]) -> None:
        own, runner = watched
        gate = Gate(runner)
        worker = start(own)
        first = worker.score(one("first", "a"))
        assert gate.held.wait(PATIENCE_S)
        dropped = [worker.score(one("dropped", *WORDS)) for _ in range(3)]
        dropped[0].cancel()
        dropped[1].future.cancel()
        dropped[2].cancel()
        assert worker.queue().requests == 1
        gate.open.set()
        done(first)
        done(worker.score(one("last", "a")))
        assert len(runner.batches) == 2
        assert all(ticket.future.cancelled() for ticket in dropped)

    def test_the_running_batch_ends_when_nobody_waits_for_it(
        self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]
    ) -> None:
        own, runner = watched
        worker = start(own)
        tickets: list[Ticket[Result]] = []
        ready = threading.Event()

        def cancel() -> None:
            assert ready.wait(PATIENCE_S)
            tickets[0].cancel()

        runner.between = cancel
        tickets.append(worker.score(one("q", *WORDS)))
        ready.set()
        wait_until(lambda: worker.queue().requests == 0)
        runner.between = lambda: None
        alone = done(worker.score(one("q", "a"))).usage.total_tokens
        assert runner.layer_tokens == runner.batches[0] + 3 * alone

    def test_an_answered_request_is_not_harmed(self, model: Reranker, start: Callable[..., Worker]) -> None:
        ticket = start(model).score(one("q", "a"))
        result = done(ticket)
        ticket.cancel()
        assert done(ticket) is result


class TestBoundedQueue:
    def test_too_many_requests(self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]) -> None:
        own, runner = watched
        now = [0.0]
        worker = start(own, lambda: now[0], max_waiting_requests=2)

        def tick(parts: Sequence[Part]) -> None:
            now[0] += 0.5

        runner.before = tick
        done(worker.score(one("q", *WORDS)))
        gate = Gate(runner)
        first = worker.score(one("q", *WORDS))
        assert gate.held.wait(PATIENCE_S)
        second = worker.score(one("q", "b"))
        wait_until(lambda: len(worker._backlog._schedule._entries) == 1)
        with pytest.raises(Overloaded, match="at most 2 requests") as caught:
            worker.score(one("q", "c"))
        error = caught.value
        assert (error.limit, error.received) == (2, 3)
        assert error.retry_after == pytest.approx(worker.queue().tokens / worker.tokens_per_second())
        gate.open.set()
        done(first)
        done(second)
        done(worker.score(one("q", "c")))

    def test_too_many_tokens(self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]) -> None:
        own, runner = watched
        gate = Gate(runner)
        worker = start(own, max_waiting_tokens=500)
        first = worker.score(one("q", "word " * 60))
        assert gate.held.wait(PATIENCE_S)
        with pytest.raises(Overloaded, match="at most 500 tokens") as caught:
            worker.score(one("q", "word " * 400))
        assert caught.value.retry_after == 1.0  # nothing is measured yet
        gate.open.set()
        assert isinstance(done(first).outcomes[0][0], Score)

    def test_a_request_that_no_queue_has_room_for_is_refused_for_good(
        self, model: Reranker, start: Callable[..., Worker]
    ) -> None:
        worker = start(model, max_waiting_tokens=200)
        with pytest.raises(RequestTooLarge, match="2001 characters") as unread:
            worker.score(one("q", "c" * 2_000))
        assert (unread.value.limit, unread.value.received) == (1_600, 2_001)
        with pytest.raises(RequestTooLarge, match="tokens, with each document") as counted:
            done(worker.score(one("q", "赤い1234" * 100)))
        assert counted.value.limit == 200 < counted.value.received
        assert worker.queue() == (0, 0, 0)
        done(worker.score(one("q", "c")))

    def test_what_turns_out_larger_than_it_looked_waits_no_more(
        self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]
    ) -> None:
        own, runner = watched
        gate = Gate(runner)
        worker = start(own, max_waiting_tokens=500)
        first = worker.score(one("q", "word " * 60))
        assert gate.held.wait(PATIENCE_S)
        with pytest.raises(Overloaded, match="at most 500 tokens may wait"):
            done(worker.score(one("q", "赤い" * 150)))
        gate.open.set()
        done(first)

    def test_the_queue_counts_requests_pairs_and_tokens(
        self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]
    ) -> None:
        own, runner = watched
        gate = Gate(runner)
        worker = start(own)
        assert worker.queue() == (0, 0, 0)
        tickets = [worker.score(one("q", *WORDS))]
        assert gate.held.wait(PATIENCE_S)
        tickets.append(worker.score(one("q", "a", "b")))
        wait_until(lambda: len(worker._backlog._schedule._entries) == 1)
        requests, pairs, tokens = worker.queue()
        gate.open.set()
        spent = sum(done(ticket).usage.total_tokens for ticket in tickets)
        assert (requests, pairs, tokens) == (2, len(WORDS) + 2, spent)
        assert worker.queue() == (0, 0, 0)

    def test_what_is_computed_waits_no_longer(self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]) -> None:
        own, runner = watched
        worker = start(own, max_batch_tokens=100)
        waiting: list[int] = []
        runner.before = lambda parts: waiting.append(worker.queue().tokens)
        done(worker.score(one("q", *(f"{word} planet" for word in WORDS))))
        assert len(waiting) > 2
        assert [before - after for before, after in pairwise(waiting)] == runner.batches[:-1]


class TestFailures:
    def test_a_batch_that_fails_takes_only_its_own_requests(
        self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]
    ) -> None:
        own, runner = watched
        worker = start(own)

        def fail(parts: Sequence[Part]) -> None:
            raise RuntimeError("out of memory")

        for _ in range(3):  # never two in a row
            runner.before = fail
            with pytest.raises(WorkerFailed, match="failed: RuntimeError"):
                done(worker.score(one("q", "a")))
            runner.before = lambda parts: None
            assert isinstance(done(worker.score(one("q", "a"))).outcomes[0][0], Score)
        assert worker.alive()
        assert worker.counters().failed_batches == 3

    def test_a_second_one_in_a_row_ends_the_worker_and_every_ticket(
        self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]
    ) -> None:
        own, runner = watched
        worker = start(own, max_batch_tokens=64)
        gate = Breaking(runner)
        tickets = [worker.score(one("q0", *WORDS))]
        assert gate.held.wait(PATIENCE_S)  # else the first batch might take of the second request too
        tickets += [worker.score(one(f"q{number}", *WORDS)) for number in range(1, 5)]
        alive: list[bool] = []  # as each ticket's caller finds it
        for ticket in tickets:
            ticket.future.add_done_callback(lambda _: alive.append(worker.alive()))
        gate.open.set()
        for ticket in tickets:
            with pytest.raises(WorkerFailed):
                done(ticket)
        assert alive == [True, False, False, False, False], "who fails with the second batch, or after it, finds it ended"
        assert len(runner.batches) == 2
        with pytest.raises(WorkerFailed, match="has ended"):
            worker.score(one("q", "a"))

    def test_closed_by_who_learns_of_its_failure_it_still_says_what_failed(
        self, watched: tuple[Reranker, Watched], start: Callable[..., Worker]
    ) -> None:
        """A host closes a worker as soon as one request tells it of the failure, maybe before the thread has ended."""
        own, runner = watched
        worker = start(own, max_batch_tokens=64)
        gate = Breaking(runner)

        def close(_: object) -> None:
            host = threading.Thread(target=worker.close, kwargs={"drain": False, "ending_s": 0.0})
            host.start()
            host.join(PATIENCE_S)
            assert not host.is_alive()

        tickets = [worker.score(one("q0", *WORDS))]
        assert gate.held.wait(PATIENCE_S)
        tickets += [worker.score(one(f"q{number}", *WORDS)) for number in range(1, 4)]
        tickets[1].future.add_done_callback(close)
        gate.open.set()
        for ticket in tickets:
            with pytest.raises(WorkerFailed):
                done(ticket)
        with pytest.raises(WorkerFailed, match="has ended"):
            worker.score(one("q", "a"))

    def test_texts_that_break_the_tokenizer_fail_their_request_alone(
        self, model: Reranker, start: Callable[..., Worker]
    ) -> None:
        worker = start(model)
        with pytest.raises(InvalidInput, match="instruction"):
            done(worker.score(Work((Search("q", ("a",), "x\ud800"),))))
        assert isinstance(done(worker.score(one("q", "a"))).outcomes[0][0], Score)


class TestClose:
    def test_draining_answers_all_that_was_accepted(self, model: Reranker) -> None:
        worker = Worker(model)
        tickets = [worker.score(one(f"q{number}", *WORDS)) for number in range(6)]
        worker.close()
        assert not worker.alive()
        assert all(isinstance(outcome, Score) for ticket in tickets for outcome in done(ticket).outcomes[0])
        with pytest.raises(ShuttingDown):
            worker.score(one("q", "a"))

    @pytest.mark.parametrize("drain", [True, False])
    def test_what_is_left_at_the_timeout_ends(self, drain: bool, watched: tuple[Reranker, Watched]) -> None:
        own, runner = watched
        held, closing = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            assert closing.wait(PATIENCE_S)

        runner.between = hold
        worker = Worker(own)
        tickets = [worker.score(one("q", *WORDS))]
        assert held.wait(PATIENCE_S)
        tickets.append(worker.score(one("z", *WORDS, tier="batch")))
        tickets[0].future.add_done_callback(lambda _: closing.set())
        worker.close(drain=drain, timeout_s=0.05)
        for ticket in tickets:
            with pytest.raises(ShuttingDown):
                done(ticket)
        assert not worker.alive()
        assert len(runner.batches) == 1
        with pytest.raises(ShuttingDown):
            worker.score(one("q", "a"))

    def test_closing_does_not_wait_for_ever_for_a_batch_that_hangs(self, watched: tuple[Reranker, Watched]) -> None:
        own, runner = watched
        gate = Gate(runner)
        worker = Worker(own)
        ticket = worker.score(one("q", "a"))
        assert gate.held.wait(PATIENCE_S)
        worker.close(drain=False, ending_s=0.05)
        assert worker.alive()
        with pytest.raises(ShuttingDown):
            done(ticket)
        gate.open.set()
        worker.close()
        assert not worker.alive()

    def test_closing_twice_is_no_error(self, model: Reranker) -> None:
        worker = Worker(model)
        worker.close()
        worker.close(drain=False)
        with pytest.raises(ShuttingDown):
            worker.score(one("q", "a"))


class TestFairness:
    """In tokens times layers, which do not depend on the machine."""

    @pytest.mark.parametrize("layer", [1, 13, 27, 40])
    def test_5_short_documents_beside_1000_take_at_most_3_times_their_solo_work(
        self, layer: int, deep: Reranker, start: Callable[..., Worker]
    ) -> None:
        own = copy.copy(deep)
        runner = own.runner = Watched(deep.runner)
        worker = start(own)
        small = one("red planet", *(f"{word} is a word" for word in WORDS[:5]))
        wanted = done(worker.score(small))
        solo, runner.layer_tokens = runner.layer_tokens, 0
        arrived: list[int] = []
        tickets: list[Ticket[Result]] = []
        seen: list[int] = []
        layers = [0]

        def arrive() -> None:
            layers[0] += 1
            if layers[0] == layer:
                arrived.append(runner.layer_tokens)
                tickets.append(worker.score(small))
                tickets[0].future.add_done_callback(lambda _: seen.append(runner.layer_tokens))
                wait_until(lambda: len(worker._backlog._schedule._entries) == 2)

        runner.between = arrive
        large = worker.score(one("large", *(f"{WORDS[number % 13]} number {number}" for number in range(1_000))))
        wait_until(lambda: bool(seen))
        large.cancel()
        assert seen[0] - arrived[0] <= 3 * solo
        assert done(tickets[0]).outcomes == wanted.outcomes

    def test_a_huge_requests_texts_do_not_hold_up_a_small_ones(self, model: Reranker, start: Callable[..., Worker]) -> None:
        """All lanes for large requests are busy, and the small one passes."""
        release = threading.Event()
        own = copy.copy(model)

        class Slow:
            def __init__(self) -> None:
                self.inner = model.tokenizer

            def __getattr__(self, name: str) -> object:
                return getattr(self.inner, name)

            def documents(self, documents: Sequence[str]) -> list[list[int]]:
                if len(documents[0]) > 50_000:
                    release.wait(PATIENCE_S)
                return self.inner.documents(documents)

        own.tokenizer = Slow()  # type: ignore[assignment]
        worker = start(own)
        huge = [worker.score(one("q", "word " * 30_000, max_document_tokens=20)) for _ in range(4)]
        assert isinstance(done(worker.score(one("q", "a"))).outcomes[0][0], Score)
        assert not any(ticket.future.done() for ticket in huge)
        release.set()
        for ticket in huge:
            assert isinstance(done(ticket).outcomes[0][0], Score)


def test_an_embedder_cannot_score_nor_a_reranker_embed(model: Reranker, start: Callable[..., Worker]) -> None:
    with pytest.raises(InvalidInput, match="a reranker, not an embedder"):
        start(model).embed(["a"])


def test_hidden_states_of_parts_stand_apart(model: Reranker) -> None:
    """Two requests' pieces have the same indices; their kept prefixes must not meet."""
    left, right = [[1, 2, 3], [4, 5]], [[9, 8], [7]]

    def pieces(ids: list[list[int]]) -> list[Piece]:
        return [Piece(len(ids[0]), None, wanted=False), Piece(len(ids[1]), 0)]

    def part(ids: list[list[int]], kept: dict[int, list[object]], batch: Batch) -> Part:
        return Part(batch, pieces(ids), ids, kept)  # type: ignore[arg-type]

    both = [part(ids, {}, Batch((0, 1), frozenset({0}), frozenset())) for ids in (left, right)]
    first = model.runner.compute(both)
    again = [Part(Batch((1,), frozenset(), frozenset({0})), one.pieces, one.ids, one.kept) for one in both]
    second = model.runner.compute(again)
    for one_first, one_second in zip(first, second, strict=True):
        assert torch.equal(one_first, one_second)
    assert not torch.equal(first[0], first[1])
    assert [one.kept for one in both] == [{}, {}]


def test_many_threads_that_come_go_and_hurry_all_get_their_end(model: Reranker, start: Callable[..., Worker]) -> None:
    worker = start(model, max_batch_tokens=256, max_waiting_requests=3)
    wanted = {WORDS[number]: model.score([("q", WORDS[number])])[0].logit for number in range(13)}
    ends: list[str] = []

    def client(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(8):
            words = dice.choices(WORDS, k=dice.randint(1, 20))
            late = time.monotonic() + dice.random() * 0.1 if dice.random() < 0.3 else None
            try:
                ticket = worker.score(one("q", *words, priority=dice.randint(-1, 1), deadline=late))
            except Overloaded:
                ends.append("refused")
                continue
            if dice.random() < 0.3:
                time.sleep(dice.random() * 0.02)
                ticket.cancel()
            if ticket.future.cancelled():
                ends.append("cancelled")
                continue
            for word, outcome in zip(words, done(ticket).outcomes[0], strict=True):
                assert isinstance(outcome, Unscored) or (isinstance(outcome, Score) and outcome.logit == wanted[word])
            ends.append("answered")

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(ends) == 4 * 8
    assert ends.count("answered") > 0
    assert worker.queue() == (0, 0, 0)
    assert worker.alive()
