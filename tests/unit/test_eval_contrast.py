"""Whether instructions are followed, in pairs of documents; and where runs stand beside the first stage."""

import dataclasses
from pathlib import Path

import pytest

from eval_results import right, write_measured, write_set, wrong
from gigarank.errors import InvalidInput
from gigarank.evaluation.contrast import contrast, judged_pairs, share_right
from gigarank.evaluation.report_data import Measured, read_measured
from gigarank.evaluation.standing import contrast_of, scores_of, standings
from gigarank.evaluation.store import PairScore

QRELS = {"yes": {"a": 1, "b": 1, "c": 0, "d": 0}, "no": {"a": 0, "b": 0, "c": 1, "d": 1}}
ONE = {"yes": "one question", "no": "one question"}


def test_pairs_are_of_judged_and_scored_documents_only() -> None:
    scores = {"a": 3.0, "c": 2.0, "nobody judged": 9.0, "d": 1.0}
    assert judged_pairs(scores, QRELS["yes"]) == [(3.0, 2.0), (3.0, 1.0)]


def test_a_share_by_hand_with_equal_scores_half_right() -> None:
    assert share_right([(2.0, 1.0), (1.0, 2.0), (1.0, 1.0), (5.0, 0.0)]) == pytest.approx(2.5 / 4)


def test_an_order_that_ignores_opposite_instructions_gets_exactly_a_half() -> None:
    same = {"a": 4.0, "b": 1.0, "c": 3.0, "d": 2.0}
    found = contrast(QRELS, {"yes": same, "no": same}, ONE)
    assert found is not None
    assert (found.accuracy, found.queries, found.pairs) == (0.5, 2, 8)
    assert (found.low, found.high, found.above_chance) == (0.5, 0.5, False)  # whatever is drawn: it is one question


def test_an_order_that_follows_them_gets_all_and_is_above_chance() -> None:
    found = contrast(QRELS, {"yes": {"a": 4, "b": 3, "c": 2, "d": 1}, "no": {"a": 1, "b": 2, "c": 3, "d": 4}}, ONE)
    assert found is not None
    assert (found.accuracy, found.low, found.high, found.above_chance) == (1.0, 1.0, 1.0, True)


def test_a_query_counts_once_however_many_pairs_it_has() -> None:
    qrels = {"many": {"a": 1, "b": 1, "c": 0, "d": 0}, "one": {"a": 1, "c": 0}}
    found = contrast(qrels, {"many": {"a": 4, "b": 3, "c": 2, "d": 1}, "one": {"a": 1, "c": 2}}, {})
    assert found is not None and (found.accuracy, found.pairs) == (0.5, 5)


def test_a_question_counts_once_however_many_instructions_it_has() -> None:
    qrels = QRELS | {"other": {"a": 1, "c": 0}}
    ranked = {"yes": {"a": 4, "b": 3, "c": 2, "d": 1}, "no": {"a": 1, "b": 2, "c": 3, "d": 4}, "other": {"a": 1, "c": 2}}
    found = contrast(qrels, ranked, ONE | {"other": "another question"})
    assert found is not None and (found.accuracy, found.queries) == (0.5, 3)


def test_without_a_pair_there_is_no_figure() -> None:
    assert contrast({"q": {"a": 1}}, {"q": {"a": 1.0, "b": 2.0}, "unknown": {"a": 1.0}}, {}) is None


def test_scores_of_a_side_put_a_failed_pair_last() -> None:
    pairs = [
        PairScore("q", "a", None, 9.0, 0, False),
        PairScore("q", "b", 1.0, 1.0, 5, False),
        PairScore("q", "c", 2.0, 3.0, 5, False),
    ]
    assert sorted(scores_of(pairs, "reranked"), key=scores_of(pairs, "reranked").__getitem__) == ["a", "b", "c"]
    assert scores_of(pairs, "first_stage") == {"a": 9.0, "b": 1.0, "c": 3.0}
    assert scores_of(pairs, "fused")["a"] == float("-inf")
    with pytest.raises(InvalidInput, match="side: must be one of first_stage, reranked, fused, not 'oracle'"):
        scores_of(pairs, "oracle")


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, list[Measured]]:
    """Two sets; one run is right on both, the other wrong on both."""
    for name in ("easy", "hard"):
        data = write_set(tmp_path / "sets" / name)
        write_measured(tmp_path / "good", data, right())
        write_measured(tmp_path / "bad", data, wrong())
    return {name: read_measured(tmp_path / name, [tmp_path / "sets"])[0] for name in ("bad", "good")}


def test_the_first_stage_stands_first_and_every_run_below_it(runs: dict[str, list[Measured]]) -> None:
    first, bad, good = standings(runs, solved=["easy"], told=["hard"], first_stage="BM25")
    assert [one.name for one in (first, bad, good)] == ["BM25", "bad", "good"]
    assert good.mean == 1.0 and good.unsolved == 1.0 and bad.mean < first.mean < good.mean
    assert first.fused is None and bad.fused is not None
    assert {name: one.accuracy for name, one in good.contrasts.items()} == {"hard": 1.0}
    assert bad.contrasts["hard"].accuracy == 0.0
    assert 0 < first.contrasts["hard"].accuracy < 1


def test_solved_sets_are_left_out_of_one_mean_only(runs: dict[str, list[Measured]]) -> None:
    mixed = {"mixed": [runs["bad"][0], runs["good"][1]]}
    _, found = standings(mixed, solved=["easy"], told=[], first_stage="BM25")
    assert found.unsolved == 1.0 and found.mean < 1.0 and not found.contrasts
    assert standings(mixed, solved=["easy", "hard"], told=[], first_stage="BM25")[1].unsolved is None


def test_runs_over_other_queries_or_sets_are_refused_with_the_sets_named(runs: dict[str, list[Measured]]) -> None:
    with pytest.raises(InvalidInput, match="bad and good did not answer the same queries of hard"):
        standings({"bad": runs["bad"], "good": runs["good"][:1]}, solved=[], told=[], first_stage="BM25")
    one = runs["good"][0]
    fewer = dataclasses.replace(one.result, by_query=dict(list(one.result.by_query.items())[:3]))
    other = [dataclasses.replace(one, result=fewer), runs["good"][1]]
    with pytest.raises(InvalidInput, match="did not answer the same queries of easy"):
        standings({"bad": runs["bad"], "good": other}, solved=[], told=[], first_stage="BM25")


def test_without_judgments_at_hand_there_is_no_contrast(runs: dict[str, list[Measured]]) -> None:
    assert contrast_of(dataclasses.replace(runs["good"][0], data=None)) is None
