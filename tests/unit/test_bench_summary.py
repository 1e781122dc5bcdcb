"""From seconds to figures: medians, ratios within a round, tokens counted both ways, and peers that disagree."""

import pytest

from gigarank.bench.gemm import BatchRows
from gigarank.bench.summary import Round, agreement, disagreeing, headline, ratio, summarise
from gigarank.bench.workloads import Request, Workload
from gigarank.catalogue import NANO
from gigarank.model.config import ModelConfig

CONFIG = ModelConfig.from_shape(NANO.shape)
ROUNDS = [
    Round({"gigarank": 2.0, "gemm_limit": 1.8, "transformers": 6.0}, {"transformers": 1e-6}, 0.5),
    Round({"gigarank": 4.0, "gemm_limit": 3.2, "transformers": 8.0}, {"transformers": 2e-6}, 0.5),
    Round({"gigarank": 1.0, "gemm_limit": 0.5, "transformers": 4.0}, {"transformers": 0.0}, 0.25),
]


@pytest.fixture
def result() -> dict[str, object]:
    asked = Request("q", ("a", "b", "c", "d"), read_tokens=1_000)
    return summarise(Workload("short", 100, 40), asked, ROUNDS, [BatchRows(300, 3), BatchRows(100, 1)], CONFIG)


def test_speed_is_of_the_median_round(result: dict[str, object]) -> None:
    assert result["pairs_per_second"] == 4 / 2.0
    assert result["tokens_per_second"] == 400 / 2.0
    assert result["read_tokens_per_second"] == 1_000 / 2.0
    assert (result["computed_tokens"], result["read_tokens"]) == (400, 1_000)
    assert result["batch_rows"] == [304, 112]


def test_ratios_are_taken_within_a_round_before_the_median(result: dict[str, object]) -> None:
    assert result["ratio_to_peers"] == {"transformers": {"median": 3.0, "min": 2.0, "max": 4.0}}
    assert result["ratio_to_gemm_limit"] == {"median": 0.8, "min": 0.5, "max": 0.9}
    assert ratio([6, 8, 4], [2, 4, 1])["median"] != 6 / 2 / 2  # medians of each divided would be another number


def test_the_result_says_what_was_run(result: dict[str, object]) -> None:
    assert result["workload"] == {
        "name": "short",
        "documents": 4,
        "tokens": 40,
        "lengths": "each 1 +- 0.4 times that",
        "query_tokens": 12,
    }
    assert result["seconds"] == {"gigarank": [2.0, 4.0, 1.0], "gemm_limit": [1.8, 3.2, 0.5], "transformers": [6.0, 8.0, 4.0]}
    single = summarise(Workload("single", 1, 90, whole_pair=True), Request("q", ("a",), 90), ROUNDS, [BatchRows(90, 1)], CONFIG)
    assert single["workload"]["lengths"] == "whole pair"


def test_the_limit_is_stated_in_operations_a_second(result: dict[str, object]) -> None:
    multiplied = 2 * (304 + 112) * 106_168_320 + 2 * 0  # 30 layers of 3,538,944 weights, the last one for all rows
    assert 0.9 < float(str(result["gemm_limit_gflops"])) / (multiplied / 1.8 / 1e9) < 1.0  # the last layer does less


def test_the_headline_is_the_first_workloads(result: dict[str, object]) -> None:
    top = headline(result | {"peak_memory_bytes": 7})
    assert (top["pairs_per_second"], top["tokens_per_second"], top["peak_memory_bytes"]) == (2.0, 200.0, 7)
    assert "seconds" not in top


@pytest.mark.parametrize(("difference", "agrees"), [(0.0, True), (1e-3, True), (1.01e-3, False), (float("inf"), False)])
def test_a_peer_agrees_up_to_the_tolerance(difference: float, agrees: bool) -> None:
    found = agreement({"transformers": difference}, 1e-3)
    assert found["transformers"]["agrees"] is agrees
    assert found["transformers"]["tolerance"] == 1e-3


def test_a_peer_that_answers_nan_disagrees() -> None:
    assert agreement({"transformers": float("nan")}, 1e-3)["transformers"]["agrees"] is False


def test_disagreeing_peers_are_named_with_workload_and_numbers() -> None:
    good, bad = agreement({"transformers": 0.0}, 1e-3), agreement({"sentence-transformers": 0.25}, 1e-3)
    results = [{"workload": {"name": "short"}, "agreement": good}, {"workload": {"name": "long"}, "agreement": good | bad}]
    assert disagreeing({"results": results}) == ["long: sentence-transformers differs by 0.25, allowed 0.001"]
    assert disagreeing({"results": results[:1]}) == []
