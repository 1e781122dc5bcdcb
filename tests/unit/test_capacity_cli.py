"""`gigarank plan` as a command, and the script that compares its simulation with real servers."""

import importlib.util
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gigarank import cli
from gigarank.cli import failures
from gigarank.cluster.capacity.costs import Costs
from gigarank.cluster.capacity.profile_file import read_profile
from gigarank.engine.store import locate

ROOT = Path(__file__).parents[2]
SCRIPT: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "capacity.py"), run_name="capacity_script")
LOAD = ("plan", "--rate", "12", "--documents", "8", "--tokens", "60", "--requests", "200")
PROMISE = (*LOAD, "--model", "8b", "--hardware", "h100", "--slo", "p99=500ms")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = failures.run(cli.app, arguments)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_a_plan_is_a_table_and_progress_goes_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *PROMISE, "--price", "3")
    assert code == 0
    assert out.startswith("qwen3-reranker-8b on h100: 12 requests/s")
    for word in ("replicas", "utilisation", "latency       p50", "refused       0 of 200", "a million tokens", "assumed"):
        assert word in out
    assert "kept" in err and "kept" not in out


def test_without_a_price_nothing_is_said_of_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cost          not known without --price" in run(capsys, *PROMISE)[1]


def test_json_is_one_object_and_the_seed_decides_it(capsys: pytest.CaptureFixture[str]) -> None:
    one, other, third = (json.loads(run(capsys, *PROMISE, "--json", "--seed", seed)[1]) for seed in ("0", "0", "1"))
    assert one == other != third
    assert one["asked"]["slo"] == "p99=500ms" and one["result"]["latency_ms"]["p99"] <= 500.0


def test_a_drawing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plan.svg"
    assert run(capsys, *PROMISE, "--plot", str(path))[0] == 0
    assert "qwen3-reranker-8b on h100, 12 requests/s of 8 documents" in path.read_text(encoding="utf-8")
    code, _, err = run(capsys, *PROMISE, "--plot", str(tmp_path / "plan.gif"))
    assert code == 2 and ".svg or .png" in err


def test_a_profile_that_the_script_writes_is_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    costs = Costs(30, 0.04, 0.002, 7e-7, 0.002, 0.0001, (1.0, 0.6))
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(SCRIPT["profile"](costs)), encoding="utf-8")
    found = read_profile(path)
    assert (found.costs.token_s, found.model) == (0.002, "nano")
    code, out, _ = run(capsys, *LOAD, "--profile", str(path), "--replicas", "30")
    assert code == 0 and out.startswith("nano on ") and "40 ms a batch, 2 ms a token" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", "--rate", "0", *PROMISE[3:]), "rate: requests a second, more than 0, not 0"),
        ((*PROMISE, "--documents", "0"), "documents: at least 1, not 0"),
        ((*PROMISE, "--hardware", "tpu"), "hardware: 'tpu' is not among cpu, h100, h200, a100, l40s, l4"),
        ((*PROMISE, "--slo", "fast"), "slo: such as p99=500ms or p50=1.5s, not 'fast'"),
        ((*PROMISE, "--slo", "p99=1ms"), "out of reach: one request alone takes"),
        ((*PROMISE, "--replicas", "3"), "slo: give either"),
        (LOAD, "slo: give either"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *arguments)
    assert code == 2 and not out
    assert message in err and len(err.strip().splitlines()) == 1


def test_a_missing_package_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "simpy" else find(name, *rest))
    code, _, err = run(capsys, *PROMISE)
    assert code == 2
    assert "plan needs packages that are not here (simpy): pip install 'gigarank[cluster]'" in err


def test_the_help_has_an_example_and_loads_neither_simpy_nor_torch() -> None:
    code = "import sys; from gigarank.cli import main; sys.argv[1:] = ['plan', '--help']; main()\n"
    code += "print(sorted({'simpy', 'torch', 'numpy', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "gigarank plan --rate 12" in done.stdout
    assert done.stdout.strip().endswith("[]")


@pytest.mark.nano
def test_the_script_asks_for_the_requests_that_it_simulates(nano_folder: Path) -> None:
    texts = SCRIPT["Texts"](locate("nano").folder)
    traffic = SCRIPT["_traffic"](4, 24, 0)
    sent = SCRIPT["requests"](traffic, 5, texts)
    planned = SCRIPT["arrivals"](traffic, 5)
    for one, plan in zip(sent, planned, strict=True):
        assert one.arrival == plan  # the engine's own pieces of the texts
        assert len(json.loads(one.body)["documents"]) == plan.documents


@pytest.mark.nano
def test_the_script_measures_a_real_server_and_simulates_the_same_requests(
    nano_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "costs.json"
    small = ("--loads", "3", "--seconds", "1", "--documents", "1", "--tokens", "5", "--repeats", "1")
    assert SCRIPT["main"]([*small, "--profile", str(path)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    (one,) = found["results"]
    assert one["requests"] == 20 and len(found["costs"]["speeds"]) == 1
    assert all(values[p] > 0.0 for values in one["latency_ms"].values() for p in ("50", "90", "99"))
    assert read_profile(path).model == "nano"
