"""`gigarank bench serve` as a shell runs it, with a server process that counts words."""

import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Program = Callable[..., CompletedProcess[str]]
SMALL = ("bench", "serve", "--requests", "40", "--repeats", "2", "--documents", "3", "--bytes", "50")


@pytest.fixture(scope="module")
def measured(gigarank: Program) -> CompletedProcess[str]:
    return gigarank(*SMALL, "--clients", "1,4", "--rate", "300")


def test_it_ends_in_one_line_of_json_with_the_promised_fields(measured: CompletedProcess[str]) -> None:
    assert measured.returncode == 0, measured.stderr
    result = json.loads(measured.stdout.splitlines()[-1])
    assert [one["load"]["name"] for one in result["results"]] == ["1 client", "4 clients", "300 requests/s"]
    for one in result["results"]:
        assert (one["requests"], one["errors"], len(one["seconds"])) == (80, {}, 2)
        assert one["pairs_per_second"] == pytest.approx(3 * one["requests_per_second"], rel=0.01)
        assert 0 < one["latency_ms"]["p50"] <= one["latency_ms"]["p90"] <= one["latency_ms"]["p99"]
        assert 0 < one["overhead_ms"]["p50"] <= one["latency_ms"]["p50"]
        assert one["server_cpu_ms_per_request"] > 0
    assert set(result["pairs_per_second_ratio"]) == {"4 clients", "300 requests/s"}
    assert result["generator_ceiling_requests_per_second"] > result["results"][0]["requests_per_second"]
    assert 20 << 20 < result["memory"]["last_quarter_bytes"] < 1 << 30
    assert result["machine"]["versions"]["aiohttp"][0].isdigit()


def test_a_row_for_each_load_stands_above(measured: CompletedProcess[str]) -> None:
    lines = measured.stdout.splitlines()
    assert lines[0] == "fake, 3 documents of 50 bytes, 2 rounds, no cores divided"
    assert sum(line.startswith(("| 1 client |", "| 4 clients |", "| 300 requests/s |")) for line in lines) == 3


def test_loads_take_turns(measured: CompletedProcess[str]) -> None:
    said = [line.split(": ")[0] for line in measured.stderr.splitlines() if line.startswith("round")]
    names = ("1 client", "4 clients", "300 requests/s")
    assert said == [f"round {number} of 2, {name}" for number in (1, 2) for name in names]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_json_alone_prints_one_line_cores_can_be_divided_and_no_server_is_left(gigarank: Program, tmp_path: Path) -> None:
    done = gigarank(*SMALL, "--clients", "2", "--one-core", "--json", env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["one_core"] is True
    found = import_module("psutil").process_iter(["environ"])
    assert not [process for process in found if (process.info["environ"] or {}).get("TMPDIR") == str(tmp_path)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--clients", "none"), "clients"),
        (("--documents", "0"), "documents"),
        (("--url", "http://127.0.0.1:1"), "no request was answered"),
    ],
)
def test_what_cannot_be_run_is_one_clear_line(gigarank: Program, arguments: tuple[str, ...], message: str) -> None:
    done = gigarank(*SMALL, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    errors = [line for line in done.stderr.splitlines() if line.startswith("gigarank: error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in done.stderr


def test_requests_that_are_refused_make_it_fail(gigarank: Program) -> None:
    """More documents than the server takes: the warm-up already sees that there is nothing to measure."""
    done = gigarank("bench", "serve", "--requests", "2", "--repeats", "1", "--documents", "1001", "--bytes", "10")
    assert done.returncode == 2
    assert "413" in done.stderr
