"""`gigarank eval run --suite`: what is refused, what is kept of a task, and what is not run again."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import tiny
from gigarank.cli import app, failures
from gigarank.cli.evaluate_suite import BM25, OWN, SuiteRun, append, check_first_stage, kept, run_suite, task_key, to_table
from gigarank.errors import InvalidInput
from gigarank.evaluation.suites import SUITES

DENSE = "qwen3-embedding-0.6b"


@pytest.fixture
def run(tmp_path: Path) -> SuiteRun:
    path = tmp_path / "tiny" / "MLDR.suite.jsonl"
    return SuiteRun(
        suite="MLDR", reranker=tiny.reranker(), embedder=None, top_k=5, limit=2, path=path, provenance=lambda started: {}
    )


def rows(key: str, count: int = 2) -> list[dict[str, Any]]:
    shared = {"key": key, "rows": count, "task": "MultiLongDocRetrieval", "split": "test", "metric": "ndcg_at_10", "queries": 2}
    return [shared | {"subset": f"s{n}", "reranked": 0.5 + n / 10, "first_stage": 0.25, "oracle": 1.0} for n in range(count)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "MTEB"], "suite: unknown 'MTEB'; known: MTEB-R"),
        (["--suite", "MLDR", "--first-stage", "a.trec"], f"first_stage: a suite's is {DENSE}, bm25 or own, not a.trec"),
        (["--data", "x", "--mteb-convention"], "mteb_convention: is for a suite"),
        (["--suite", "MLDR", "--data", "x"], "suite: goes without --data"),
        (["--suite", "MLDR", "--instruction", "x"], "suite: goes without --instruction"),
        (["--suite", "MLDR", "--fuse"], "suite: goes without --fuse"),
        (["--suite", "MLDR", "--fuse-weight", "0"], "suite: goes without --fuse-weight"),
    ],
)
def test_what_a_suite_has_no_room_for_is_refused(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert failures.run(app, ["eval", "run", *arguments]) == 2
    shown = capfd.readouterr()
    assert shown.out == "" and message in shown.err


def test_the_first_stage_of_a_suite_is_the_protocols_unless_the_tasks_own_is_asked_for() -> None:
    assert check_first_stage(None, DENSE) == check_first_stage("Qwen3-Embedding-0.6B", DENSE) == DENSE
    assert check_first_stage("own", DENSE) == OWN
    assert check_first_stage("BM25", DENSE) == BM25
    with pytest.raises(InvalidInput, match="first_stage"):
        check_first_stage("x.trec", DENSE)


def test_a_task_that_is_there_is_not_run_again(run: SuiteRun, capfd: pytest.CaptureFixture[str]) -> None:
    (described,) = SUITES["MLDR"].tasks
    whole = rows(task_key(run, described))
    append(run.path, rows("another"))
    append(run.path, whole)
    assert run_suite(run) == whole  # and nothing was fetched: there is no network in a test
    shown = capfd.readouterr().err
    assert "MultiLongDocRetrieval (s1, test): ndcg_at_10 0.6000 (first stage 0.2500)" in shown


@pytest.mark.parametrize("lost", [1, 5, 200])
def test_lines_that_were_cut_off_are_no_result_and_spoil_no_later_one(run: SuiteRun, lost: int) -> None:
    append(run.path, rows("k", 3))
    content = run.path.read_bytes()
    run.path.write_bytes(content[:-lost] if lost > 1 else content[: content.rindex(b"{")])
    assert kept(run.path, "k") == []
    append(run.path, rows("k2", 1))
    assert kept(run.path, "k2") == rows("k2", 1)
    assert kept(run.path.with_name("none"), "k") == []


def test_the_key_tells_runs_apart_whose_figures_could_differ(run: SuiteRun) -> None:
    (described,) = SUITES["MLDR"].tasks
    others = [
        task_key(dataclasses.replace(run, top_k=6), described),
        task_key(dataclasses.replace(run, limit=None), described),
        task_key(dataclasses.replace(run, reranker=tiny.reranker(dtype="bf16")), described),
        task_key(dataclasses.replace(run, machine={"cpu": "another"}), described),
        task_key(dataclasses.replace(run, first_stage=BM25), described),
        task_key(dataclasses.replace(run, mteb_convention=True), described),
        task_key(run, dataclasses.replace(described, revision="r")),
        task_key(run, dataclasses.replace(described, instruction="Find")),
    ]
    assert len({task_key(run, described), *others}) == 9
    assert task_key(dataclasses.replace(run, path=Path("elsewhere")), described) == task_key(run, described)


def test_the_table_has_a_row_a_language_and_leaves_out_what_a_metric_does_not_have() -> None:
    shown = rows("k", 1)
    del shown[0]["oracle"]
    lines = to_table(shown).splitlines()
    assert lines[0] == "| task | subset | split | metric | queries | first stage | reranked | oracle |"
    assert lines[2] == "| MultiLongDocRetrieval | s0 | test | ndcg_at_10 | 2 | 0.2500 | 0.5000 |  |"
    assert json.loads(json.dumps(shown)) == shown
