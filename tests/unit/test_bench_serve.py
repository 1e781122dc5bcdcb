"""`bench serve`: what may be asked, what is refused, and what its table says."""

import os

import pytest

from gigarank.bench.serve import Settings, parse_loads, run
from gigarank.bench.serve_bodies import Workload
from gigarank.bench.serve_load import Load
from gigarank.bench.serve_process import one_core_each, to_the_other
from gigarank.cli.bench_serve import table
from gigarank.errors import DeviceUnavailable, InvalidInput


def silent(_: str) -> None:
    pass


def test_loads_are_closed_ones_then_open_ones() -> None:
    assert parse_loads("1, 16", "") == (Load(clients=1), Load(clients=16))
    assert parse_loads("2", "0.5,200") == (Load(clients=2), Load(rate=0.5), Load(rate=200.0))
    assert [load.name for load in parse_loads("1,16", "200")] == ["1 client", "16 clients", "200 requests/s"]


@pytest.mark.parametrize(
    ("clients", "rates"), [("", ""), ("0", ""), ("-1", ""), ("x", ""), ("1", "nan"), ("1", "0"), ("1,1", "")]
)
def test_loads_that_cannot_be_are_refused(clients: str, rates: str) -> None:
    with pytest.raises(InvalidInput, match="clients"):
        parse_loads(clients, rates)


def test_a_server_that_runs_already_cannot_be_pinned() -> None:
    settings = Settings((Load(clients=1),), Workload(), url="http://127.0.0.1:1", one_core=True)
    with pytest.raises(InvalidInput, match="one_core"):
        run(settings, silent)


def test_a_server_that_does_not_answer_is_not_measured() -> None:
    settings = Settings((Load(clients=1),), Workload(1, 10), 5, 1, url="http://127.0.0.1:1")
    with pytest.raises(InvalidInput, match="ClientConnectorError"):
        run(settings, silent)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_cores_are_divided_and_given_back() -> None:
    had = os.sched_getaffinity(0)
    with one_core_each(True) as cores:
        inside = os.sched_getaffinity(0)
        to_the_other(cores)
        assert (len(inside), inside & os.sched_getaffinity(0)) == (1, set())
    assert os.sched_getaffinity(0) == had
    with one_core_each(False) as cores:
        assert (tuple(cores), os.sched_getaffinity(0)) == ((), had)


def test_one_core_alone_cannot_be_divided() -> None:
    had = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(had)})
    try:
        with pytest.raises(DeviceUnavailable, match="one core"), one_core_each(True):
            pass
    finally:
        os.sched_setaffinity(0, had)


RESULT = {
    "workload": {"model": "fake", "documents": 10, "document_bytes": 200},
    "one_core": True,
    "repeats": 3,
    "results": [
        {
            "load": {"name": name},
            "requests_per_second": 512.3,
            "pairs_per_second": 5123.0,
            "latency_ms": {"p50": 1.5, "p90": 2.0, "p99": 9.25},
            "overhead_ms": {"p50": 1.25, "p90": 2.0, "p99": 9.0},
            "server_cpu_ms_per_request": cpu,
        }
        for name, cpu in (("1 client", 0.51), ("16 clients", None))
    ],
    "pairs_per_second_ratio": {"16 clients": {"median": 1.4, "min": 1.31, "max": 1.5}},
    "memory": {"second_quarter_bytes": 70 << 20, "last_quarter_bytes": 71 << 20, "growth": 0.0143},
    "generator_ceiling_requests_per_second": 5_000.0,
}


def test_the_table_has_a_row_for_each_load() -> None:
    lines = table(RESULT)
    assert lines[0] == "fake, 10 documents of 200 bytes, 3 rounds, the server on one core"
    assert lines[4] == "| 1 client | 512.3 | 5123 | 1.5 ms | 2 ms | 9.25 ms | 1.25 ms | 0.51 ms | - |"
    assert lines[5].endswith("| - | 1.40 (1.31 to 1.50) |")
    assert "5000 requests/s" in lines[-1]
    assert "70.0 MiB in the run's second quarter, 71.0 MiB in its last (+1.4%)" in lines[-1]


def test_a_short_run_s_table_says_nothing_of_memory() -> None:
    assert "Too short" in table({**RESULT, "memory": None})[-1]
