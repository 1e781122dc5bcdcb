"""`gigarank eval run` in its own process: a small set and a small model, ended by kill -9 and taken up again."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from beir_sets import DOCUMENTS, QUERIES, write_set
from gigarank.bench.checkpoint import write_checkpoint
from gigarank.catalogue import Shape
from gigarank.cli import app, failures
from gigarank.prompt import QWEN3_V1

Program = Callable[..., CompletedProcess[str]]

SMALL = Shape("qwen3", 32, 2, 2, 1, 16, 48, 151_669, True, 1e6, 1e-6, 8_192)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    write_checkpoint(folder, SMALL, QWEN3_V1)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIGARANK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Program:
    """The same command line within this process, which has its imports behind it."""

    def run(*arguments: str) -> CompletedProcess[str]:
        capfd.readouterr()
        code = failures.run(app, arguments)
        return CompletedProcess(arguments, code, *capfd.readouterr())

    return run


def results(done: CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["results"]
    return found


def journal(output: Path) -> list[bytes]:
    path = output / "small" / "fish.scores.jsonl"
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def wait_for_lines(process: "subprocess.Popen[bytes]", output: Path, count: int) -> None:
    ends = time.monotonic() + 90
    while len(journal(output)) < count:
        assert process.poll() is None and time.monotonic() < ends
        time.sleep(0.005)


def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(
    gigarank: Program, here: Program, gigarank_command: list[str], model: Path, tmp_path: Path
) -> None:
    data = write_set(tmp_path / "fish", words=1_500)
    arguments = ["eval", "run", "--data", str(data), "--model", str(model), "--fuse", "--json", "--output"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with subprocess.Popen([*gigarank_command, *arguments, str(killed)], stdout=-3, stderr=-3) as process:
        wait_for_lines(process, killed, 3)
        process.send_signal(signal.SIGKILL)
    before = [line for line in journal(killed) if line.endswith(b"\n")]
    assert 3 <= len(before) < QUERIES + 1 and not (killed / "small" / "fish.json").exists()
    (resumed,) = results(gigarank(*arguments, str(killed)))
    after = journal(killed)
    assert after[: len(before)] == before  # what was scored stands as it was
    assert [json.loads(line)["query"] for line in after[1:]] == [f"q{n}" for n in range(QUERIES)]  # and nothing twice
    (uninterrupted,) = results(here(*arguments, str(whole)))
    for name in ("metrics", "key", "metrics_key", "set", "failures"):
        assert resumed[name] == uninterrupted[name]
    assert (killed / "small" / "fish.trec").read_bytes() == (whole / "small" / "fish.trec").read_bytes()
    scores = [[json.loads(line).get("documents") for line in journal(output)] for output in (killed, whole)]
    assert scores[0] == scores[1]


def test_sets_of_a_folder_with_and_without_candidates_of_their_own(here: Program, model: Path, tmp_path: Path) -> None:
    write_set(tmp_path / "sets" / "fish")
    write_set(tmp_path / "sets" / "bird", candidates=False)
    output = tmp_path / "out"
    arguments = ["eval", "run", "--data", str(tmp_path / "sets"), "--model", str(model), "-o", str(output), "--limit", "3"]
    done = here(*arguments, "--top-k", "2")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert [row[:3] for row in rows[2:]] == [["bird", "3", "ndcg_cut_10"], ["fish", "3", "ndcg_cut_10"]]
    assert rows[0][3:7] == ["first stage", "reranked", "fused", "oracle"] and rows[2][5] == ""
    assert rows[3][3] == rows[3][6] == "1.0000"  # BM25 finds the topic's own word
    assert "bird: ndcg_cut_10" in done.stderr and "pairs/s" in done.stderr
    bird, fish = results(here(*arguments, "--top-k", "2", "--json"))
    assert (bird["first_stage"]["name"], fish["first_stage"]["name"]) == ("bm25", "own")
    assert fish["cost"]["pairs"] == 6 and "by_query" not in fish
    assert json.loads(Path(fish["result"]).read_text())["metrics"] == fish["metrics"]
    assert sorted(path.name for path in (output / "small").glob("fish*")) == [
        "fish.json",
        "fish.qrels",
        "fish.scores.jsonl",
        "fish.trec",
    ]
    full = results(here(*arguments[:-2], "--full", "--json"))[1]
    assert (full["set"]["queries"], full["cost"]["pairs"]) == (QUERIES, QUERIES * DOCUMENTS)


def test_a_run_file_is_a_first_stage(here: Program, model: Path, tmp_path: Path) -> None:
    data = write_set(tmp_path / "fish", candidates=False)
    run = tmp_path / "other.trec"
    run.write_text("".join(f"q{n} Q0 d{n} 1 3.5 other\nq{n} Q0 d{(n + 1) % QUERIES} 2 1.5 other\n" for n in range(QUERIES)))
    arguments = ["eval", "run", "--data", str(data), "--model", str(model), "--first-stage", str(run), "--json"]
    (found,) = results(here(*arguments, "-o", str(tmp_path / "out")))
    assert found["metrics"]["P_1"]["first_stage"] == 1.0 and found["cost"]["pairs"] == 2 * QUERIES
    rows = [json.loads(line) for line in (tmp_path / "out" / "small" / "fish.scores.jsonl").read_text().splitlines()]
    assert [pair[2] for pair in rows[1]["documents"]] == [3.5, 1.5]
