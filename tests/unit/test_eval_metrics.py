"""Metrics on tables worked out by hand, against mteb's own code, and the bootstrap against what is known of it."""

import math
import random
from typing import Any

import numpy as np
import pytest
from mteb._evaluators import retrieval_metrics as theirs

from gigarank.errors import InvalidInput
from gigarank.evaluation.instructed import (
    groups_by_prefix,
    p_mrr,
    p_mrr_by_query,
    paired_accuracy,
    rank_change,
    rank_of,
    robustness,
)
from gigarank.evaluation.metrics import by_query, check_metric, mean
from gigarank.evaluation.significance import bootstrap

QRELS = {"q1": {"a": 2, "b": 1, "c": 0}, "q2": {"a": 1}}
RUN = {"q1": {"c": 3.0, "b": 2.0, "a": 1.0}, "q2": {"b": 5.0, "c": 4.0}}
EVERY = ("ndcg_cut_10", "ndcg", "recip_rank", "map", "recall_1", "recall_100", "P_1", "P_2", "success_1", "map_cut_2", "Rprec")


def test_the_metrics_of_a_small_run_are_those_worked_out_by_hand() -> None:
    found = by_query(QRELS, RUN, EVERY)["q1"]
    gain = 1 / math.log2(3) + 2 / math.log2(4)
    assert found["ndcg_cut_10"] == pytest.approx(gain / (2 + 1 / math.log2(3)))
    assert (found["recip_rank"], found["P_1"], found["P_2"], found["success_1"]) == (0.5, 0.0, 0.5, 0.0)
    assert found["map"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert (found["recall_1"], found["recall_100"], found["map_cut_2"], found["Rprec"]) == (0.0, 1.0, 0.25, 0.5)


def test_the_gain_is_linear_in_the_grade() -> None:
    qrels = {"q": {"a": 3, "b": 1}}
    found = by_query(qrels, {"q": {"b": 2.0, "a": 1.0}}, ["ndcg_cut_10"])["q"]["ndcg_cut_10"]
    assert found == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))


def test_equal_scores_keep_the_order_of_the_run_whatever_the_ids() -> None:
    for first, second in (("a", "z"), ("z", "a")):
        run = {"q": {first: 1.0, second: 1.0}}
        assert by_query({"q": {first: 1}}, run, ["recip_rank"]) == {"q": {"recip_rank": 1.0}}
        assert by_query({"q": {second: 1}}, run, ["recip_rank"]) == {"q": {"recip_rank": 0.5}}


def test_scores_that_only_64_bits_tell_apart_are_told_apart() -> None:
    run = {"q": {"z": 1.0, "a": 1.0 + 1e-12}}
    assert by_query({"q": {"a": 1}}, run, ["P_1"])["q"]["P_1"] == 1.0


def test_every_query_of_the_run_that_is_judged_counts() -> None:
    found = by_query(QRELS, {"q2": {}, "q1": {"x": 1.0}, "q3": {"a": 1.0}}, ["ndcg_cut_10"])
    assert found == {"q2": {"ndcg_cut_10": 0.0}, "q1": {"ndcg_cut_10": 0.0}}


def test_a_judgment_below_1_is_not_relevant() -> None:
    assert by_query({"q": {"a": -1, "b": 1}}, {"q": {"a": 2.0, "b": 1.0}}, ["P_1", "recip_rank"]) == {
        "q": {"P_1": 0.0, "recip_rank": 0.5}
    }


@pytest.mark.parametrize("name", ["ndcg@10", "ndcg_cut_0", "P", "mrr", "recall_", "ndcg_cut_10 ", ""])
def test_a_metric_that_trec_eval_does_not_know_is_refused_with_those_it_knows(name: str) -> None:
    with pytest.raises(InvalidInput, match="ndcg_cut_K") as refusal:
        by_query(QRELS, RUN, [name])
    assert (refusal.value.param, refusal.value.received) == ("metric", name)


def test_the_known_forms_are_taken() -> None:
    assert [check_metric(name) for name in EVERY] == list(EVERY)


def test_the_mean_of_nothing_is_refused() -> None:
    assert mean([1.0, 2.0]) == 1.5
    with pytest.raises(InvalidInput, match="no query to average over"):
        mean([])


def drawn_runs(seed: int) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """20 queries over 30 documents with distinct scores: nothing depends on ties."""
    chance = random.Random(seed)
    documents = [f"d{number}" for number in range(30)]
    qrels = {f"{q}_q{n}": {d: chance.randint(0, 3) for d in chance.sample(documents, 8)} for q in range(10) for n in (1, 2)}
    for judged in qrels.values():
        judged[next(iter(judged))] = 1
    return qrels, {query: {d: chance.gauss(0, 1) for d in chance.sample(documents, 25)} for query in qrels}


@pytest.mark.parametrize("seed", range(3))
def test_means_agree_with_mtebs_own_code(seed: int) -> None:
    qrels, run = drawn_runs(seed)
    expected: Any = theirs.calculate_retrieval_scores(run, qrels, [1, 10])
    found = by_query(qrels, run, ["ndcg_cut_10", "map_cut_10", "recall_10", "P_10", "success_10"])
    means = [mean([values[name] for values in found.values()]) for name in next(iter(found.values()))]
    named = expected.ndcg, expected.map, expected.recall, expected.precision, expected.hit_rate
    assert means == pytest.approx([next(v for k, v in one.items() if k.endswith("@10")) for one in named], abs=6e-6)


# p-MRR ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("original", "changed", "change"), [(1, 1, 0), (1, 4, 0.75), (4, 1, -0.75), (2, 4, 0.5), (3, 2, -1 / 3)]
)
def test_a_document_that_falls_counts_for_and_one_that_rises_against(original: int, changed: int, change: float) -> None:
    assert rank_change(original, changed) == pytest.approx(change)


def test_a_document_that_is_not_in_the_run_stands_behind_its_last() -> None:
    scores = {"a": 1.0, "b": 3.0, "c": 1.0}
    assert [rank_of(scores, one) for one in ("b", "a", "c", "x")] == [1, 2, 3, 4]


def test_p_mrr_is_the_mean_over_documents_then_queries() -> None:
    original = {"q": {"a": 3.0, "b": 2.0, "c": 1.0}, "r": {"a": 2.0, "b": 1.0}}
    changed = {"q": {"a": 1.0, "b": 2.0, "c": 3.0}, "r": {"a": 1.0, "b": 2.0}}
    lost = {"q": ["a", "c"], "r": ["a"], "none": []}
    with pytest.raises(InvalidInput, match="the original run lacks query none"):
        p_mrr(original, changed, lost)
    found = p_mrr_by_query(original, changed, {"q": lost["q"], "r": lost["r"]})
    assert found == pytest.approx({"q": 100 * ((1 - 1 / 3) + (1 / 3 - 1)) / 2, "r": 50})
    assert p_mrr(original, changed, {"q": lost["q"], "r": lost["r"]}) == pytest.approx(25)
    with pytest.raises(InvalidInput, match="the changed run lacks query r"):
        p_mrr(original, {"q": changed["q"]}, {"r": ["a"]})


@pytest.mark.parametrize("seed", range(3))
def test_p_mrr_agrees_with_mtebs_own_code(seed: int) -> None:
    _, run = drawn_runs(seed)
    original = {key.split("_")[0]: scores for key, scores in run.items() if key.endswith("q1")}
    changed = {key.split("_")[0]: scores for key, scores in run.items() if key.endswith("q2")}
    lost = {key: random.Random(key).sample([f"d{n}" for n in range(30)], 5) for key in original}
    expected = theirs.calculate_pmrr(
        {f"{key}-og": scores for key, scores in original.items()},
        {f"{key}-changed": scores for key, scores in changed.items()},
        lost,
    )
    assert p_mrr(original, changed, lost) == pytest.approx(100 * expected)


# NevIR and InstructIR ------------------------------------------------------------------------------------------------------


def test_a_pair_counts_only_where_both_queries_are_right() -> None:
    right = {"1_q1": True, "1_q2": True, "2_q1": True, "2_q2": False, "3_q1": False, "3_q2": False}
    pairs = [("1_q1", "1_q2"), ("2_q1", "2_q2"), ("3_q1", "3_q2"), ("2_q1", "1_q1")]
    assert paired_accuracy(right, pairs) == 0.5
    with pytest.raises(InvalidInput, match="query 4_q1 has no value"):
        paired_accuracy(right, [("4_q1", "1_q1")])


def test_robustness_is_the_mean_of_each_groups_worst() -> None:
    values = {"a_1": 0.9, "a_2": 0.1, "b_1": 0.5, "c_1": 1.0}
    assert groups_by_prefix(values) == {"a": ["a_1", "a_2"], "b": ["b_1"], "c": ["c_1"]}
    assert robustness(values, groups_by_prefix(values).values()) == pytest.approx((0.1 + 0.5 + 1.0) / 3)
    with pytest.raises(InvalidInput, match="query x has no value"):
        robustness(values, [["a_1", "x"]])


@pytest.mark.parametrize("seed", range(3))
def test_both_agree_with_mtebs_own_code(seed: int) -> None:
    qrels, run = drawn_runs(seed)
    judged = {query: {next(iter(qrels[query])): 1} for query in qrels}
    for query, scores in run.items():  # the one relevant document is often the first
        scores[next(iter(judged[query]))] = random.Random(query).choice([9.0, 0.0])
    found = by_query(judged, run, ["recall_1", "success_1", "ndcg_cut_10"])
    groups = groups_by_prefix(judged)
    right = {query: values["success_1"] == 1 for query, values in found.items()}
    expected = theirs.paired_accuracy(judged, run, found)
    assert 0 < expected < 1
    assert paired_accuracy(right, [(one, other) for one, other in groups.values()]) == pytest.approx(expected)
    ndcg = {query: values["ndcg_cut_10"] for query, values in found.items()}
    assert robustness(ndcg, groups.values()) == pytest.approx(theirs.robustness_at_10(judged, run, found))


# The bootstrap -------------------------------------------------------------------------------------------------------------


def drawn_pair(difference: float, count: int = 400, seed: int = 3) -> tuple[list[float], list[float]]:
    random_ = np.random.default_rng(seed)
    b = random_.uniform(0, 1, count)
    return list(b + random_.normal(difference, 0.2, count)), list(b)


def test_the_interval_is_that_of_the_normal_distribution_for_many_queries() -> None:
    a, b = drawn_pair(0.05)
    found = bootstrap(a, b)
    differences = np.subtract(a, b)
    error = differences.std() / math.sqrt(len(a))
    assert found.difference == pytest.approx(differences.mean())
    assert [found.low, found.high] == pytest.approx(
        [found.difference - 1.96 * error, found.difference + 1.96 * error], abs=0.1 * error
    )
    assert found.significant
    assert found.p_value < 0.01


def test_the_p_value_is_that_of_the_normal_distribution_for_many_queries() -> None:
    a, b = drawn_pair(0.0)
    differences = np.subtract(a, b)
    z = abs(differences.mean()) / (differences.std() / math.sqrt(len(a)))
    assert bootstrap(a, b).p_value == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.02)


def test_swapping_the_sides_turns_the_sign_and_nothing_else() -> None:
    a, b = drawn_pair(0.02)
    one, other = bootstrap(a, b), bootstrap(b, a)
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))
    assert (one.p_value, one.significant) == (other.p_value, other.significant)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    a, b = drawn_pair(0.02, count=50)
    assert bootstrap(a, b) == bootstrap(a, b)
    assert bootstrap(a, b).low != bootstrap(a, b, seed=1).low


def test_equal_systems_do_not_differ_and_the_p_value_is_never_0() -> None:
    same = bootstrap([0.5, 0.1], [0.5, 0.1])
    assert (same.difference, same.low, same.high, same.p_value, same.significant) == (0.0, 0.0, 0.0, 1.0, False)
    assert bootstrap([1.0] * 9, [0.0] * 9, samples=999).p_value == 2 / 1000


def test_the_queries_are_paired() -> None:
    a, b = drawn_pair(0.05)
    shuffled = random.Random(0).sample(b, len(b))
    assert bootstrap(a, b).high - bootstrap(a, b).low < 0.8 * (bootstrap(a, shuffled).high - bootstrap(a, shuffled).low)


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 2.0]), ([float("nan")], [0.0])])
def test_values_that_cannot_be_compared_are_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(InvalidInput, match="bootstrap"):
        bootstrap(a, b)


def test_no_samples_are_refused() -> None:
    with pytest.raises(InvalidInput, match="samples: must be at least 1, not 0"):
        bootstrap([1.0], [0.0], samples=0)
