"""Two stages' scores as one: through the library's own ranking, and what is refused."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

import tiny
from gigarank import FirstStage
from gigarank.engine.fusion import with_fused
from gigarank.engine.reranker import Reranker
from gigarank.errors import InvalidInput
from gigarank.types import Score

QUERY = "Which planet is red?"
DOCUMENTS = ["Mars is red.", "", "Venus is bright.", "火星"]
FOUND = [3.0, -1.0, 12.5, 0.25]


@pytest.fixture(scope="module")
def model() -> Reranker:
    return tiny.reranker()


def order(model: Reranker, scores: list[float], weight: float = 1.0, **options: Any) -> list[int]:
    return [one.index for one in model.rank(QUERY, FirstStage(DOCUMENTS, scores, weight), **options)]


def test_the_order_is_that_of_both_standardised(model: Reranker) -> None:
    alone = model.rank(QUERY, DOCUMENTS)
    both = model.rank(QUERY, FirstStage(DOCUMENTS, FOUND, 0.5))
    logits = np.array([one.logit for one in sorted(alone, key=lambda one: one.index)])
    found = np.array(FOUND)
    wanted = (logits - logits.mean()) / logits.std() + 0.5 * (found - found.mean()) / found.std()
    assert [one.index for one in both] == list(np.argsort(-wanted))
    assert {one.index: one.fused for one in both} == pytest.approx(dict(enumerate(wanted)))
    assert {dataclasses.replace(one, fused=None) for one in both} == set(alone)


def test_a_weight_of_none_keeps_the_models_order_and_a_great_one_takes_the_first_stages(model: Reranker) -> None:
    assert order(model, FOUND, 0.0) == [one.index for one in model.rank(QUERY, DOCUMENTS)]
    assert order(model, FOUND, 1e6) == [2, 0, 3, 1]


def test_neither_unit_nor_zero_of_the_first_stage_matters(model: Reranker) -> None:
    assert order(model, [1000 + 7 * score for score in FOUND]) == order(model, FOUND)


def test_top_n_is_taken_of_the_fused_order(model: Reranker) -> None:
    assert order(model, FOUND, 1e6, top_n=2) == [2, 0]


def test_equal_scores_of_the_first_stage_say_nothing(model: Reranker) -> None:
    assert order(model, [5.0] * 4) == [one.index for one in model.rank(QUERY, DOCUMENTS)]


def test_without_a_first_stage_there_is_no_fused_score(model: Reranker) -> None:
    assert all(one.fused is None for one in model.rank(QUERY, DOCUMENTS))


def test_scores_are_matched_by_their_documents_place() -> None:
    some = [Score(3, 0.5, 1.0, 1, False), Score(0, 0.5, 0.0, 1, False)]
    fused = with_fused(some, [9.0, 0.0, 0.0, 1.0], 1.0)
    assert [one.fused for one in fused] == [0.0, 0.0]  # +1 - 1, -1 + 1


@pytest.mark.parametrize(
    ("given", "message", "param"),
    [
        (FirstStage(DOCUMENTS, [1.0, 2.0]), "one a document is needed, 4 in all, not 2", "first_stage_scores"),
        (FirstStage(DOCUMENTS, [1.0, math.nan, 1.0, 1.0]), r"\[1\]: must be a finite number, not nan", "first_stage_scores[1]"),
        (FirstStage(DOCUMENTS, [1.0, "2", 1.0, 1.0]), r"\[1\]: must be a finite number, not '2'", "first_stage_scores[1]"),  # type: ignore[list-item]
        (FirstStage(DOCUMENTS, FOUND, -0.5), "must be a number from 0 on, not -0.5", "first_stage_weight"),
        (FirstStage(DOCUMENTS, FOUND, math.nan), "must be a number from 0 on, not nan", "first_stage_weight"),
    ],
)
def test_bad_input_is_named(model: Reranker, given: FirstStage, message: str, param: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        model.rank(QUERY, given)
    assert caught.value.param == param
