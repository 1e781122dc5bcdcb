"""The cluster's bench: what it makes of its numbers. That it runs is shown with GIGARANK_TEST_BENCH=1, in a minute."""

import json
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "cluster_speed.py"
RATES = {
    "one process": [10.0, 20.0, 10.0],
    "two processes": [20.0, 36.0, 15.0],
    "one replica": [4.0, 2.0, 2.0],
    "two replicas": [6.0, 3.4, 3.0],
}
CALLS = {"nothing": [0.002, 0.001, 0.009], "cluster": [0.010, 0.008, 0.009], "in process": [0.006, 0.007, 0.5]}


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = spec_from_file_location("cluster_speed", SCRIPT)
    assert spec is not None and spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_a_second_one_is_worth_what_it_was_in_the_same_round(bench: ModuleType) -> None:
    assert bench.summary(RATES) == {
        "rates": {"one process": 10.0, "two processes": 20.0, "one replica": 2.0, "two replicas": 3.4},
        "ceiling": 1.8,
        "replicas": 1.5,
        "of_ceiling": 0.833,
    }


def test_overhead_is_what_the_cluster_adds(bench: ModuleType) -> None:
    told = bench.called(CALLS)
    assert told == {"median_ms": {"nothing": 2.0, "cluster": 9.0, "in process": 7.0}, "overhead_of_nothing": 1.0}
    assert bench.called({}) == {}


@pytest.mark.parametrize("calls", [{}, CALLS])
def test_the_table_says_what_was_wanted(bench: ModuleType, calls: Any) -> None:
    lines = bench.table({"shape": "nano", **bench.summary(RATES), "calls": bench.called(calls)})
    assert "| documents a second, replicas | 2.0 | 3.4 | 1.5 |" in lines
    assert "two replicas reach 83% of the ceiling (wanted 85%)" in lines
    assert bool(calls) == lines[-1].endswith("overhead 1.0 of a call of nothing (wanted 1.5)")


def test_two_processes_multiply_at_once(bench: ModuleType) -> None:
    class Asked:
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def send(self, seconds: float) -> None:
            self.seconds.append(seconds)

        def recv(self) -> float:
            assert all(one.seconds for one in asked)  # both were asked before either was heard
            return 3.0

    asked = [Asked(), Asked()]
    assert bench.products(asked) == 6.0


@pytest.mark.skipif("GIGARANK_TEST_BENCH" not in os.environ, reason="GIGARANK_TEST_BENCH=1 runs it: a minute")
def test_it_runs() -> None:
    small = ["--layers", "1", "--documents", "4", "--rounds", "1", "--calls", "2"]
    done = subprocess.run([sys.executable, str(SCRIPT), *small], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["bench"] == "cluster" and told["replicas"] > 0 and set(told["calls"]["median_ms"]) == set(CALLS)
