"""The bench of hosting: what its figures are, what it refuses to report, and its table."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gigarank.bench.hosted import PLAIN, Contestant, Settings, Turn, check_ledger, run, spread, summary, turn_of
from gigarank.bench.serve_load import Load, Target
from gigarank.bench.serve_summary import Sample
from gigarank.errors import GigarankError, InvalidInput

SCRIPT = Path(__file__).parents[2] / "scripts" / "hosted_speed.py"
MAIN: Callable[[Sequence[str]], int] = runpy.run_path(str(SCRIPT), run_name="hosted_speed")["main"]


def samples(*latencies_ms: float) -> list[Sample]:
    """All sent at second 10; with two documents each."""
    return [Sample(10.0, 10.0, 10.0 + latency / 1e3, "200", 2, 0.0) for latency in latencies_ms]


def test_a_turn_is_its_percentiles_its_rate_and_its_cpu() -> None:
    turn = turn_of(samples(*range(1, 101)), 0.25)
    assert [turn.p50, turn.p95, turn.requests_per_second, turn.cpu_ms] == pytest.approx([50.0, 95.0, 1_000.0, 2.5])


def test_refusals_are_not_measured_as_fast_answers() -> None:
    refused = Sample(10.0, 10.0, 10.001, "402", 0, 0.0)
    with pytest.raises(GigarankError, match="1 of 3 requests were not answered with a ranking, but with 402"):
        turn_of([*samples(5, 6), refused], 0.1)


def test_a_difference_is_taken_within_its_round() -> None:
    """The rounds differ by more than the servers do."""
    plain = [Turn(10.0, 20.0, 100.0, 1.0), Turn(50.0, 90.0, 40.0, 2.0), Turn(30.0, 60.0, 50.0, 1.5)]
    hosted = [Turn(12.0, 25.0, 50.0, 2.0), Turn(53.0, 94.0, 30.0, 3.5), Turn(31.0, 66.0, 45.0, 2.0)]
    told = summary("SQLite", hosted, plain)
    assert (told["p50"], told["p95"], told["requests_per_second"], told["cpu_ms"]) == (31.0, 66.0, 45.0, 2.0)
    assert told["more_p50_ms"] == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert told["more_p95_ms"] == {"median": 5.0, "min": 4.0, "max": 6.0}
    assert told["more_cpu_ms"] == {"median": 1.0, "min": 0.5, "max": 1.5}
    assert told["requests_ratio"] == {"median": 0.75, "min": 0.5, "max": 0.9}
    assert summary(PLAIN, plain, plain) == {
        "name": PLAIN, "p50": 30.0, "p95": 60.0, "requests_per_second": 50.0, "cpu_ms": 1.5,
    }  # fmt: skip
    assert spread([3.0, 1.0, 2.0, 9.0]) == {"median": 2.5, "min": 1.0, "max": 9.0}


def test_clients_begin_in_step_where_the_model_keeps_them_there() -> None:
    assert Settings({}, clients=4, model_ms=(250.0, 250.0)).load == Load(clients=4)
    assert Settings({}, clients=4, model_ms=(200.0, 300.0)).load == Load(clients=4, over_s=0.25)


@pytest.mark.parametrize("name", ["clients", "requests", "repeats"])
def test_numbers_below_one_are_refused(name: str, tmp_path: Path) -> None:
    none: Any = {name: 0}
    with pytest.raises(InvalidInput, match=f"{name}: at least 1, not 0"):
        run(replace(Settings({}), **none), tmp_path, print)


def test_requests_that_were_not_paid_for_end_it(tmp_path: Path) -> None:
    env = {"GIGARANK_STATE_DIR": str(tmp_path), "GIGARANK_DATABASE_URL": ""}
    contestant = Contestant("SQLite", Target("http://127.0.0.1:1", (), 1), None, env)
    with pytest.raises(GigarankError, match="SQLite: 11 requests were answered, and 0 paid for"):
        check_ledger(contestant, Settings({}, clients=5, requests=3, repeats=2))
    check_ledger(Contestant(PLAIN, contestant.target, None, None), Settings({}))


def test_it_asks_in_turns_and_ends_in_a_line_of_json() -> None:
    given = ["--databases", "sqlite", "--clients", "4", "--requests", "12", "--repeats", "2", "--model-ms", "5,6-9"]
    done = subprocess.run([sys.executable, SCRIPT, *given], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    said = [line.split(": p50")[0] for line in done.stderr.splitlines() if line.startswith("round")]
    assert said == 2 * [
        "round 1 of 2, no accounts",
        "round 1 of 2, SQLite",
        "round 2 of 2, SQLite",
        "round 2 of 2, no accounts",
    ]
    lines = done.stdout.splitlines()
    assert lines[8] == "4 clients, 10 documents of 200 bytes, a model that takes 6 to 9 ms, 2 rounds of 12 requests"
    assert json.loads(lines[-1])["model_ms"] == [6.0, 9.0] and json.loads(lines[-1])["results"][0]["p50"] >= 7.0
    lines = lines[:8]
    assert lines[0] == "4 clients, 10 documents of 200 bytes, a model that takes 5 ms, 2 rounds of 12 requests"
    assert lines[4].startswith("| no accounts | ") and lines[4].endswith("| - | - | - | - |")
    assert lines[5].startswith("| SQLite | ") and lines[5].count(" to ") == 4
    result: Any = json.loads(lines[-1])
    plain, hosted = result["results"]
    assert plain["p50"] >= 5.0 and hosted["p50"] >= 5.0 and hosted["p95"] >= hosted["p50"]
    assert hosted["more_p50_ms"]["min"] <= hosted["more_p50_ms"]["median"] <= hosted["more_p50_ms"]["max"]
    assert result["machine"]["versions"]["sqlalchemy"]


@pytest.mark.parametrize("model_ms", ["", "x", "-1", "300-200", "5,nan", "1-inf"])
def test_times_of_a_model_that_cannot_be_are_refused(model_ms: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert MAIN([f"--model-ms={model_ms}"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("hosted: error: model-ms: milliseconds, or the least and the most as 200-300, are expected")


@pytest.mark.parametrize("names", ["", "mysql", "sqlite,mysql"])
def test_databases_that_there_are_not_are_refused(names: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert MAIN(["--databases", names]) == 2
    assert capsys.readouterr() == ("", f"hosted: error: databases: sqlite, postgres; received {names!r}\n")
