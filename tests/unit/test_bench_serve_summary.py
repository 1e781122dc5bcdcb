"""The arithmetic of `bench serve`, on samples whose figures can be worked out by hand."""

import pytest

from gigarank.bench.serve_summary import FLAT, Round, Sample, Usage, memory, quantiles, ratios, summarise


def sample(intended: float, done: float, *, sent: float | None = None, pairs: int = 10, backend_ms: float = 0.0) -> Sample:
    outcome = "200" if pairs else "429"
    return Sample(intended, intended if sent is None else sent, done, outcome, pairs, backend_ms)


def test_latency_counts_from_when_a_request_was_meant_to_be_sent() -> None:
    assert sample(1.0, 1.5, sent=1.4).latency_ms == pytest.approx(500.0)


def test_quantiles_are_values_that_were_seen() -> None:
    assert quantiles([5.0, 1.0, 3.0, 2.0, 4.0]) == {"p50": 3.0, "p90": 5.0, "p99": 5.0}
    assert quantiles([float(value) for value in range(1, 101)]) == {"p50": 50.0, "p90": 90.0, "p99": 99.0}
    assert quantiles([7.0]) == {"p50": 7.0, "p90": 7.0, "p99": 7.0}


def test_the_figures_of_one_load() -> None:
    first = Round([sample(0.0, 0.1, backend_ms=90.0), sample(0.1, 0.5, sent=0.2)], [Usage(0, 1.0, 5), Usage(1, 1.3, 5)], 0.1)
    second = Round([sample(2.0, 2.2), sample(2.2, 2.5, pairs=0)], [Usage(2, 1.3, 5), Usage(3, 1.4, 5)], 0.2)
    found = summarise({"name": "x"}, [first, second])
    assert found["load"] == {"name": "x"}
    assert found["requests"] == 4
    assert found["requests_per_second"] == pytest.approx((2 / 0.5 + 1 / 0.5) / 2)
    assert found["pairs_per_second"] == pytest.approx((20 / 0.5 + 10 / 0.5) / 2)
    assert found["latency_ms"]["p50"] == pytest.approx(200.0)  # of the three that were answered
    assert found["overhead_ms"]["p50"] == pytest.approx(200.0)
    assert found["errors"] == {"429": 1}
    assert found["generator_late_p99_ms"] == pytest.approx(100.0)
    assert found["generator_cpu_share"] == pytest.approx(0.3)
    assert found["server_cpu_ms_per_request"] == pytest.approx(100.0)


def test_the_backend_s_time_is_no_overhead() -> None:
    one = Round([sample(0.0, 0.1, backend_ms=60.0), sample(0.1, 0.2, backend_ms=60.0)], [], 0.0)
    assert summarise({}, [one])["overhead_ms"] == {"p50": 40.0, "p90": 40.0, "p99": 40.0}


def test_a_server_that_is_not_ours_has_no_cpu_seconds() -> None:
    assert summarise({}, [Round([sample(0.0, 1.0)], [], 0.5)])["server_cpu_ms_per_request"] is None


def test_a_load_without_one_answer_still_has_figures() -> None:
    found = summarise({}, [Round([sample(0.0, 1.0, pairs=0)], [], 0.5)])
    assert (found["requests_per_second"], found["errors"]) == (0.0, {"429": 1})


def rounds_of(*seconds: float) -> list[Round]:
    return [Round([sample(0.0, each)], [], 0.0) for each in seconds]


def test_a_ratio_is_taken_within_a_round() -> None:
    """The machine slows down by half in the second round: the ratio does not change."""
    found = ratios({"1 client": rounds_of(1.0, 2.0, 1.0), "16 clients": rounds_of(0.5, 1.0, 0.25)})
    assert found == {"16 clients": {"median": 2.0, "min": 2.0, "max": 4.0}}


def usages(*sizes: int) -> list[Usage]:
    return [Usage(float(at), 0.0, size) for at, size in enumerate(sizes)]


def test_memory_that_settled_is_flat_whatever_the_start_was() -> None:
    found = memory(usages(10, 50, 100, 100, 100, 100, 100, 101))
    assert found is not None
    assert found["flat"]
    assert (found["first_bytes"], found["second_quarter_bytes"], found["peak_bytes"]) == (10, 100, 101)
    assert found["growth"] == pytest.approx(0.005)


def test_memory_that_grows_all_the_time_is_not_flat() -> None:
    found = memory(usages(*range(100, 180)))
    assert found is not None
    assert found["growth"] > FLAT
    assert not found["flat"]


def test_a_short_run_says_nothing_of_memory() -> None:
    assert memory(usages(1, 2, 3, 4, 5, 6, 7)) is None
