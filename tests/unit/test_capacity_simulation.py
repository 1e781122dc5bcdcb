"""The simulation against what queueing theory says, and what must hold for any requests."""

import math
from collections import Counter
from dataclasses import replace
from random import Random
from statistics import mean

import pytest

from capacity import MILLISECOND_A_TOKEN, ONE_AT_A_TIME, ranking, request, single_pieces
from gigarank.cluster.capacity.costs import Costs
from gigarank.cluster.capacity.replica import SERVED, Bounds
from gigarank.cluster.capacity.simulation import Fleet, Patience, Run, simulate, split
from gigarank.cluster.capacity.traffic import Arrival, arrivals
from gigarank.errors import InvalidInput

MANY = 20_000
GPU = Costs(layers=28, batch_s=0.002, token_s=2e-5, reach_s=1e-9, request_s=0.003, document_s=0.0001)


def waits(run: Run, lengths: list[int]) -> list[float]:
    return [latency - length * 0.001 for latency, length in zip(run.latencies_s, lengths, strict=True)]


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_a_fixed_service_time_waits_as_an_m_d_1_queue_does(load: float) -> None:
    service = 0.1
    lengths = [100] * MANY
    run = simulate(single_pieces(load / service, lengths), Fleet(MILLISECOND_A_TOKEN, 1, ONE_AT_A_TIME))
    expected = service * load / (2.0 * (1.0 - load))
    assert mean(waits(run, lengths)) == pytest.approx(expected, rel=0.07)
    assert run.utilisation == pytest.approx(load, rel=0.02)


def test_two_replicas_wait_less_than_one_of_twice_the_speed_but_answer_later() -> None:
    lengths = [100] * MANY
    asked = single_pieces(14.0, lengths)
    two = simulate(asked, Fleet(MILLISECOND_A_TOKEN, 2, ONE_AT_A_TIME))
    fast = simulate(asked, Fleet(replace(MILLISECOND_A_TOKEN, token_s=0.0005), 1, ONE_AT_A_TIME))
    assert mean(waits(two, lengths)) < mean(latency - 0.05 for latency in fast.latencies_s)
    assert mean(two.latencies_s) > mean(fast.latencies_s)
    assert two.utilisation == pytest.approx(fast.utilisation, rel=0.02)


def test_an_exponential_service_time_keeps_the_server_as_busy_as_m_m_1_and_waits_less_since_the_shorter_go_first() -> None:
    random, load, service = Random(5), 0.7, 0.1
    lengths = [max(1, round(random.expovariate(1.0 / 100))) for _ in range(MANY)]
    run = simulate(single_pieces(load / service, lengths), Fleet(MILLISECOND_A_TOKEN, 1, ONE_AT_A_TIME))
    first_come_first_served = service * load / (1.0 - load)
    assert run.utilisation == pytest.approx(load, rel=0.03)
    assert 0.3 * first_come_first_served < mean(waits(run, lengths)) < 0.95 * first_come_first_served


def test_a_request_alone_takes_what_it_takes_alone() -> None:
    fleet = Fleet(GPU, 3)
    asked = [Arrival(1.0, request(*[50] * 60))]
    run = simulate(asked, fleet)
    assert run.latencies_s[0] == pytest.approx(fleet.alone(asked[0]))
    assert sum(load.batches for load in run.loads) == 3 + 1  # 20 of 60 documents fit into a batch of 1,024, with the prefix
    assert run.seconds == pytest.approx(1.0 + run.latencies_s[0])


@pytest.mark.parametrize("split_tokens", [None, 300])
@pytest.mark.parametrize("replicas", [1, 4])
def test_every_request_is_answered_or_refused_once(replicas: int, split_tokens: int | None) -> None:
    asked = arrivals(ranking(rate=200.0), 400)
    run = simulate(asked, Fleet(GPU, replicas, Bounds(waiting_requests=5), split_tokens))
    answered = [latency for latency in run.latencies_s if math.isfinite(latency)]
    assert not any(math.isnan(latency) for latency in run.latencies_s)
    assert len(answered) + run.refused == 400
    assert not run.given_up
    assert run.refused > (100 if replicas == 1 else -1)


def test_all_rows_of_all_requests_are_computed() -> None:
    asked = arrivals(ranking(rate=1.0), 50)
    run = simulate(asked, Fleet(GPU, 2))
    assert sum(load.rows for load in run.loads) == sum(one.tokens for one in asked)  # each runs alone, in one batch
    busy = arrivals(ranking(rate=1_000.0), 50)
    run = simulate(busy, Fleet(GPU, 1))
    assert sum(load.rows for load in run.loads) < sum(one.tokens for one in busy)  # the root is shared


def test_nobody_is_answered_sooner_than_alone() -> None:
    fleet = Fleet(GPU, 2, split_tokens=400)
    asked = arrivals(ranking(rate=150.0), 300)
    for one, latency in zip(asked, simulate(asked, fleet).latencies_s, strict=True):
        assert latency >= fleet.alone(one) - 1e-9


def test_the_same_requests_give_the_same_run() -> None:
    one, other = (simulate(arrivals(ranking(rate=100.0), 200), Fleet(GPU, 2)) for _ in range(2))
    assert one == other
    assert one != simulate(arrivals(ranking(rate=100.0, seed=1), 200), Fleet(GPU, 2))


def test_more_replicas_are_never_worse() -> None:
    asked = arrivals(ranking(rate=150.0), 600)
    found = [simulate(asked, Fleet(GPU, replicas)) for replicas in range(1, 7)]
    means = [mean(run.latencies_s) for run in found]
    assert means == sorted(means, reverse=True)
    assert [run.utilisation for run in found] == sorted((run.utilisation for run in found), reverse=True)


def test_replicas_on_one_machine_slow_each_other_down() -> None:
    together = [Arrival(0.0, request(100)), Arrival(0.0, request(100))]
    costs = Costs(layers=4, batch_s=0.0, token_s=0.001)
    apart = simulate(together, Fleet(costs, 2)).latencies_s
    shared = simulate(together, Fleet(replace(costs, speeds=(1.0, 0.5)), 2)).latencies_s
    assert apart == pytest.approx([0.13, 0.13])
    assert shared == pytest.approx([0.26, 0.26])


def test_a_replica_alone_on_a_shared_machine_has_all_of_it_again_once_the_other_ends() -> None:
    asked = [Arrival(0.0, request(70)), Arrival(0.0, request(170))]
    costs = Costs(layers=1, batch_s=0.0, token_s=0.001, speeds=(1.0, 0.5))
    assert simulate(asked, Fleet(costs, 2)).latencies_s == pytest.approx([0.2, 0.3])


def test_a_small_request_interrupts_a_large_one_between_two_layers() -> None:
    costs = Costs(layers=10, batch_s=0.0, token_s=0.001)
    large, small = Arrival(0.0, request(970)), Arrival(0.25, request(20))
    run = simulate([large, small], Fleet(costs, 1))
    assert run.latencies_s == pytest.approx([1.05, 0.3 + 0.05 - 0.25])
    assert run.loads[0].interruptions == 1
    whole = simulate([large, small], Fleet(replace(costs, layers=1), 1))
    assert whole.latencies_s == pytest.approx([1.0, 1.05 - 0.25])
    assert whole.loads[0].interruptions == 0


def test_requests_that_wait_together_are_computed_together() -> None:
    asked = [Arrival(0.0, request(70)), *(Arrival(0.001 * number, request(70)) for number in range(1, 6))]
    run = simulate(asked, Fleet(replace(GPU, layers=1, request_s=0.0, document_s=0.0, token_s=0.001), 1))
    assert run.loads[0].batches == 2
    assert run.loads[0].rows == 100 + 5 * 80 + 20


def test_a_run_is_given_up_with_the_first_answer_too_many_that_is_late() -> None:
    asked = [Arrival(float(number), request(100)) for number in range(5)]
    costs = Costs(layers=1, batch_s=0.0, token_s=0.001)
    assert not simulate(asked, Fleet(costs, 1), Patience(0.2, 0)).given_up
    run = simulate(asked, Fleet(costs, 1), Patience(0.1, 1))
    assert run.given_up and sum(map(math.isfinite, run.latencies_s)) == 2
    skipping = simulate(asked, Fleet(costs, 1), Patience(0.1, 1, skip=2))
    assert sum(map(math.isfinite, skipping.latencies_s)) == 4


def test_groups_hold_every_document_once_each_behind_the_shared_prefix() -> None:
    pieces = request(30, 40, 50, 500, 20, 10)
    groups = split(pieces, 130)
    assert [[piece.length for piece in group] for group in groups] == [
        [20, 10, 30, 40],
        [20, 10, 50],
        [20, 10, 500],
        [20, 10, 20, 10],
    ]
    assert Counter(piece for group in groups for piece in group if piece.wanted) == Counter(pieces[2:])
    assert all([piece.parent for piece in group[:3]] == [None, 0, 1] for group in groups)


def test_a_split_request_is_answered_with_its_last_group() -> None:
    asked = [Arrival(0.0, request(*[100] * 8))]
    whole = simulate(asked, Fleet(GPU, 4))
    parted = simulate(asked, Fleet(GPU, 4, split_tokens=230))
    assert parted.latencies_s[0] < whole.latencies_s[0]
    assert [load.rows for load in parted.loads] == [230] * 4


def test_fewer_than_one_replica_is_refused() -> None:
    with pytest.raises(InvalidInput, match="replicas: at least 1, not 0"):
        simulate([], Fleet(GPU, 0))


def test_the_bounds_are_those_of_the_server() -> None:
    from gigarank.engine.jobs import QueueLimits  # noqa: PLC0415 - torch
    from gigarank.service.settings import Settings  # noqa: PLC0415
    from gigarank.types import EngineOptions  # noqa: PLC0415

    limits = QueueLimits()
    assert SERVED.batch_tokens == limits.max_batch_tokens == Settings().max_batch_tokens
    assert (SERVED.waiting_requests, SERVED.waiting_tokens) == (limits.max_waiting_requests, limits.max_waiting_tokens)
    assert SERVED.kept_tokens == EngineOptions().max_kept_tokens
