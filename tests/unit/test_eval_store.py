"""Results on the disk: written whole, read strictly; the journal that a killed run continues from."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from gigarank.errors import BadFile, InvalidInput
from gigarank.evaluation.journal import Journal, QueryScores
from gigarank.evaluation.store import (
    SUPERSEDED,
    Cost,
    Failure,
    FirstStageInfo,
    MetricSummary,
    ModelInfo,
    PairScore,
    Provenance,
    SetInfo,
    TaskResult,
    read_result,
    read_results,
    read_scores,
    scores_path,
    write_result,
)


def a_result(name: str = "fish", **changes: Any) -> TaskResult:
    whole = TaskResult(
        set=SetInfo(name, "s1", 2, 5, "en", None, {"readme": "Fische — 魚"}),
        model=ModelInfo("nano", "m1", "nano-v1", 134_515_008),
        instruction=None,
        first_stage=FirstStageInfo("own", 20, "f1", "bm25"),
        numerics={"dtype": "fp32", "tolerance": 0.0},
        limit=2,
        main_metric="ndcg_cut_10",
        metrics={"ndcg_cut_10": MetricSummary(0.5, 0.25, 1.0, None, (-0.1, 0.6), 0.2, False)},
        by_query={"q1": {"reranked": {"ndcg_cut_10": 0.5}, "first_stage": {"ndcg_cut_10": 0.25}}},
        cost=Cost(5, 40, 0.5, 10.0),
        provenance=Provenance(
            "0.1.0", None, {"torch": "2"}, {"cores": 2}, "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:01+00:00"
        ),
        key="k1",
        metrics_key="k2",
        failures=(Failure("q1", "d1", "broken"),),
    )
    return dataclasses.replace(whole, **changes)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "nano" / "fish.json"
    for result in (a_result(), a_result(fuse_weight=0.5, instruction="Find fish", published={"MTEB-R": 65.8})):
        write_result(path, result)
        assert read_result(path) == result
    assert [one.name for one in path.parent.iterdir()] == ["fish.json"]
    assert "魚" in path.read_text(encoding="utf-8")


def changed(path: Path, *place: str, to: Any) -> None:
    """Sets the value at a place of the file; DELETE takes it out."""
    content = json.loads(path.read_text())
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    if to is DELETE:
        del inner[place[-1]]
    else:
        inner[place[-1]] = to
    path.write_text(json.dumps(content))


DELETE = object()


@pytest.mark.parametrize(
    ("place", "to", "said"),
    [
        (("format",), 2, "format must be 1, not 2"),
        (("model", "name"), 3, "model: name: must be str, not 3"),
        (("model", "name"), DELETE, "model: name: is missing"),
        (("model", "nam"), "x", "model: nam: no such field"),
        (("metrics", "ndcg_cut_10", "interval"), [0.1], "interval: must have 2 values, not 1"),
        (("metrics", "ndcg_cut_10", "reranked"), "0.5", "metrics: ndcg_cut_10: reranked: must be float"),
        (("metrics", "ndcg_cut_10", "significant"), 1, "significant: must be bool, not 1"),
        (("cost", "pairs"), True, "cost: pairs: must be int, not True"),
        (("by_query", "q1"), [], "by_query: q1: must be dict"),
        (("failures",), [[]], "failures: must be an object, not list"),
        (("limit",), "all", "limit: must be int, not 'all'"),
    ],
)
def test_a_result_with_something_wrong_is_refused_by_its_field(
    tmp_path: Path, place: tuple[str, ...], to: Any, said: str
) -> None:
    path = tmp_path / "fish.json"
    write_result(path, a_result())
    changed(path, *place, to=to)
    with pytest.raises(BadFile) as caught:
        read_result(path)
    assert str(path) in caught.value.message and said in caught.value.message
    assert caught.value.param == ("format" if place == ("format",) else place[-1])


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "\xff"])
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "fish.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(BadFile, match=r"fish\.json"):
        read_result(path)


def test_a_figure_that_is_no_number_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_result(tmp_path / "fish.json", a_result(numerics={"tolerance": float("nan")}))
    assert not (tmp_path / "fish.json").exists()


def test_results_below_a_folder_without_those_that_were_superseded(tmp_path: Path) -> None:
    for place in ("nano/b.json", "nano/a.json", "big/a.json", f"nano/{SUPERSEDED}/old-a.json"):
        write_result(tmp_path / place, a_result(place))
    assert [one.set.name for one in read_results(tmp_path)] == ["big/a.json", "nano/a.json", "nano/b.json"]
    with pytest.raises(BadFile, match="holds no results"):
        read_results(tmp_path / "nano" / "nothing")


def scores_of(query: str, *logits: float | None) -> QueryScores:
    pairs = tuple(PairScore(query, f"d{n}", logit, n / 2, 7, n == 1) for n, logit in enumerate(logits))
    failures = tuple(Failure(query, pair.document, "broken") for pair in pairs if pair.logit is None)
    return QueryScores(query, pairs, failures, 0.25)


def test_what_a_journal_acknowledges_has_reached_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stops loses what was only written: the bytes are there when the file is synchronised."""
    synchronised: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: synchronised.append(os.fstat(number).st_size))
    with Journal(tmp_path / "fish.json", "k1") as journal:
        for name in ("q1", "q2"):
            journal.add([QueryScores(name, ())])
            assert synchronised[-1] == scores_path(tmp_path / "fish.json").stat().st_size
    assert synchronised == sorted(set(synchronised)) and len(synchronised) == 3


def test_a_journal_gives_back_what_was_added(tmp_path: Path) -> None:
    result = tmp_path / "nano" / "fish.json"
    added = [scores_of("q1", 0.1, None), scores_of("q2"), scores_of("q\u2028ü", 1e-17)]
    with Journal(result, "k1") as journal:
        assert journal.done == {}
        journal.add(added[:1])
        journal.add(added[1:])
        assert list(journal.done.values()) == added
    with Journal(result, "k1") as journal:
        assert list(journal.done.values()) == added
    assert list(read_scores(scores_path(result))) == [pair for scores in added for pair in scores.pairs]


@pytest.mark.parametrize("lost", range(1, 60, 7))
def test_a_torn_line_is_as_if_it_had_never_been(tmp_path: Path, lost: int) -> None:
    result = tmp_path / "fish.json"
    with Journal(result, "k1") as journal:
        journal.add([scores_of("q1", 0.1), scores_of("q2", 0.2)])
    path = scores_path(result)
    path.write_bytes(path.read_bytes()[:-lost])
    with Journal(result, "k1") as journal:
        assert list(journal.done) == ["q1"]
        journal.add([scores_of("q2", 0.3)])
    assert [pair.logit for pair in read_scores(path)] == [0.1, 0.3]


def test_another_key_begins_anew_and_keeps_what_was_there(tmp_path: Path) -> None:
    result = tmp_path / "fish.json"
    with Journal(result, "first-key") as journal:
        journal.add([scores_of("q1", 0.1)])
    write_result(result, a_result())
    result.with_suffix(".trec").write_text("run")
    with Journal(result, "second") as journal:
        assert journal.done == {}
    kept = sorted(path.name for path in (tmp_path / SUPERSEDED).iterdir())
    assert kept == ["first-key-fish.json", "first-key-fish.scores.jsonl", "first-key-fish.trec"]
    assert not result.exists()


def test_two_processes_do_not_write_one_task(tmp_path: Path) -> None:
    result = tmp_path / "fish.json"
    with (
        Journal(result, "k1"),
        pytest.raises(InvalidInput, match="another process is writing this task"),
        Journal(result, "k1"),
    ):
        pass
    with Journal(result, "k1"):
        pass


@pytest.mark.parametrize("line", ["{", '{"documents": [["d"]]}', '{"query": "q", "documents": [["d"]]}', "[]"])
def test_scores_that_cannot_be_read_name_their_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "fish.scores.jsonl"
    path.write_text('{"format": 1, "key": "k"}\n' + line + "\n")
    with pytest.raises(BadFile, match="line 2"):
        list(read_scores(path))
