"""The worker's numbers: counters that are replaced whole, and a rate that follows the last batches."""

import pytest

from gigarank.engine.meter import Counters, Meter


def test_counters_add_up_and_old_snapshots_stay() -> None:
    meter = Meter(100)
    first = meter.counters
    meter.batch(50, 0.5, interrupting=False)
    meter.batch(30, 0.25, interrupting=True)
    meter.failed()
    assert first == Counters()
    assert meter.counters == Counters(2, 1, 1, 80, 200, 0.75)
    assert meter.counters.batch_fill == 0.4


def test_nothing_measured_is_no_rate_and_a_fair_guess() -> None:
    meter = Meter(100)
    assert (meter.tokens_per_second(), meter.counters.batch_fill) == (0.0, 0.0)
    assert meter.seconds_for(1_000_000) == 1.0


def test_the_rate_weighs_batches_by_their_time_and_forgets() -> None:
    meter = Meter(100)
    meter.batch(100, 1.0, interrupting=False)
    assert meter.tokens_per_second() == 100.0
    for _ in range(60):
        meter.batch(100, 0.1, interrupting=False)
    assert meter.tokens_per_second() == pytest.approx(1_000.0, rel=0.01)


@pytest.mark.parametrize(("tokens", "seconds"), [(1, 0.05), (100, 1.0), (5_000, 50.0), (10**9, 120.0)])
def test_an_estimate_is_tokens_by_rate_within_bounds(tokens: int, seconds: float) -> None:
    meter = Meter(100)
    meter.batch(100, 1.0, interrupting=False)
    assert meter.seconds_for(tokens) == seconds
