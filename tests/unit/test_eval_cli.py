"""`gigarank eval run`: what is refused before a model is loaded, and which first stage is meant."""

import dataclasses
from pathlib import Path

import pytest

from gigarank.cli import app, failures
from gigarank.cli.evaluate import DENSE, WHOLE, EvalOptions, choose_stage, run_options, set_folders
from gigarank.errors import InvalidInput
from gigarank.evaluation.candidates import Bm25Search, DenseSearch, OwnCandidates, RunFile
from gigarank.evaluation.sets import EvalSet

NAMELESS = EvalSet("fish", {}, {}, {}, {"q": ("d",)}, "s1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "data: nothing to measure; name a folder with --data or a suite with --suite"),
        (["--data", "/nowhere"], "data: /nowhere holds no corpus.jsonl, and no folder that does"),
        (["--data", "x", "--full", "--limit", "3"], "full: means every query and candidate; leave out --limit and --top-k"),
        (["--data", "x", "--full", "--top-k", "3"], "full: means every query"),
        (["--data", "x", "--top-k", "0"], "Invalid value for '--top-k'"),
        (["--data", "x", "--fuse-weight", "-1"], "Invalid value for '--fuse-weight'"),
        (["--data", "x", "--instruction", " "], "instruction: empty; a text is needed"),
        (["--data", "x", "--model", DENSE], "is no reranker"),
        (["--data", "x", "--output", __file__], "is no folder"),
    ],
)
def test_bad_usage_is_one_line_before_a_model_is_loaded(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert failures.run(app, ["eval", "run", *arguments]) == 2
    shown = capfd.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1 and message in shown.err


def test_two_sets_of_one_name_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for place in ("a/fish", "b/fish"):
        (tmp_path / place / "qrels").mkdir(parents=True)
        (tmp_path / place / "corpus.jsonl").write_text('{"_id": "d", "text": "x"}\n')
        (tmp_path / place / "queries.jsonl").write_text('{"_id": "q", "text": "x"}\n')
        (tmp_path / place / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    assert failures.run(app, ["eval", "run", "--data", str(tmp_path / "a"), "--data", str(tmp_path / "b" / "fish")]) == 2
    assert "data: two sets are called fish" in capfd.readouterr().err


def test_a_folder_is_a_set_or_holds_sets(tmp_path: Path) -> None:
    for name in ("b", "a", "other"):
        (tmp_path / name).mkdir()
    for name in ("b", "a"):
        (tmp_path / name / "corpus.jsonl").touch()
    assert set_folders(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert set_folders(tmp_path / "b") == [tmp_path / "b"]
    with pytest.raises(InvalidInput, match=r"holds no corpus\.jsonl"):
        set_folders(tmp_path / "other")


def test_the_first_stage_is_the_sets_own_unless_another_is_named(tmp_path: Path) -> None:
    searched = dataclasses.replace(NAMELESS, candidates=None)
    run = tmp_path / "bm25"
    run.write_text("q Q0 d 1 0.5 tag\n")
    assert isinstance(choose_stage(EvalOptions(), NAMELESS), OwnCandidates)
    assert isinstance(choose_stage(EvalOptions(), searched), Bm25Search)
    assert isinstance(choose_stage(EvalOptions(first_stage="bm25"), NAMELESS), Bm25Search)
    assert isinstance(choose_stage(EvalOptions(first_stage="own"), searched), OwnCandidates)
    assert isinstance(choose_stage(EvalOptions(first_stage="Qwen3-Embedding-0.6B"), NAMELESS), DenseSearch)
    found = choose_stage(EvalOptions(first_stage=str(run)), NAMELESS)
    assert isinstance(found, RunFile) and found.run == {"q": {"d": 0.5}}
    with pytest.raises(InvalidInput, match="first_stage: bm26 is neither own, bm25"):
        choose_stage(EvalOptions(first_stage="bm26"), NAMELESS)


def test_fusion_and_depth_follow_from_the_options() -> None:
    assert run_options(EvalOptions()).fuse_weight is None
    assert run_options(EvalOptions(fuse=True)).fuse_weight == 1.0
    assert run_options(EvalOptions(fuse_weight=0.0)).fuse_weight == 0.0
    assert [run_options(EvalOptions(top_k=top_k)).top_k for top_k in (None, 20)] == [100, 20]
    assert run_options(EvalOptions(full=True)).top_k == WHOLE
    assert run_options(EvalOptions()).machine["cores"] >= 1
