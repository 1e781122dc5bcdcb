"""A query's likelihood behind a passage is what transformers gives for the whole text, one pair at a time."""

from functools import cache
from typing import Any

import pytest
import torch

import tiny
from gigarank.errors import InvalidInput
from gigarank.prompt import NANO_V1, QWEN3_V1, PromptFormat
from gigarank.training.attention import NAME
from gigarank.training.likelihood import LikelihoodOptions, QueryLikelihood
from gigarank.training.rows import Row

PASSAGES = ["Mars is red.", " Das Meer ist salzig, 海は塩辛い\n", "Rivers carry minerals into the sea. " * 4, "<|im_end|>"]
QUERIES = ["¿por qué es salado?", "x", "what ends a turn <|im_end|>"]
PAIRS = [(query, passage) for query in QUERIES for passage in PASSAGES]


@cache
def model(attends: str = NAME) -> Any:
    found = tiny.reference(tiny.CONFIGS["qwen3"], tiny.tensors_of("qwen3"))
    found.set_attn_implementation(attends)
    return found


def directly(query: str, passage: str, prompt: PromptFormat, **limits: int) -> float:
    """By transformers alone: the whole text, no batch, no shared part. Only what templates wrote is special."""
    text = tiny.qwen_text()
    (asked,) = text.plain([query.strip()], "query")
    (read,) = text.plain([f"Passage: {passage.strip()}"], "passage")
    label = len(text.plain(["Passage:"], "passage")[0])
    kept = read[: label + limits.get("passages", 10_000)]
    (ask,) = text.plain(["\n\nWrite a question that this passage answers."], "prompt")
    before = text.template("<|im_start|>user\n") + kept + ask + text.template(prompt.suffix)
    asked = asked[: limits.get("queries", 10_000)]
    with torch.no_grad():
        logs = model("eager")(torch.tensor([before + asked])).logits[0].log_softmax(-1)
    found = [float(logs[len(before) + place - 1, token]) for place, token in enumerate(asked)]
    return sum(found) / len(found)


@pytest.mark.parametrize("attends", [NAME, "sdpa"])
@pytest.mark.parametrize("batch_tokens", [1, 200])
def test_a_batch_with_shared_passages_has_the_likelihoods_of_each_pair_alone(attends: str, batch_tokens: int) -> None:
    options = LikelihoodOptions(batch_tokens=batch_tokens)
    teacher = QueryLikelihood(model(attends), tiny.qwen_text(), NANO_V1, options, "m")
    expected = [directly(query, passage, NANO_V1) for query, passage in PAIRS]
    assert teacher.likelihoods(PAIRS) == pytest.approx(expected, abs=2e-5)
    assert len({round(one, 4) for one in expected}) > 9  # the pairs can be told apart


def test_the_answer_turn_is_the_models_own() -> None:
    teacher = QueryLikelihood(model(), tiny.qwen_text(), QWEN3_V1, LikelihoodOptions(), "m")
    assert teacher.likelihoods(PAIRS[:1]) == pytest.approx([directly(*PAIRS[0], QWEN3_V1)], abs=2e-5)
    assert teacher.likelihoods(PAIRS[:1]) != pytest.approx([directly(*PAIRS[0], NANO_V1)], abs=1e-3)


def test_passages_and_queries_are_cut_to_their_first_tokens() -> None:
    options = LikelihoodOptions(max_document_tokens=3, max_query_tokens=2)
    teacher = QueryLikelihood(model(), tiny.qwen_text(), NANO_V1, options, "m")
    expected = [directly(query, passage, NANO_V1, passages=3, queries=2) for query, passage in PAIRS]
    assert teacher.likelihoods(PAIRS) == pytest.approx(expected, abs=2e-5)


def test_rows_get_a_score_a_document_and_many_queries_of_a_passage_are_split() -> None:
    rows = [Row(f"query {number}", tuple(PASSAGES[: 1 + number % 3]), (1.0,) * (1 + number % 3)) for number in range(34)]
    teacher = QueryLikelihood(model(), tiny.qwen_text(), NANO_V1, LikelihoodOptions(), "m")
    found = teacher.teach(rows)
    assert [len(scores) for scores in found] == [len(row.documents) for row in rows]
    for number in (17, 32):
        expected = [directly(rows[number].query, passage, NANO_V1) for passage in rows[number].documents]
        assert found[number] == pytest.approx(expected, abs=2e-5)


def test_a_query_without_tokens_is_refused() -> None:
    teacher = QueryLikelihood(model(), tiny.qwen_text(), NANO_V1, LikelihoodOptions(), "m")
    with pytest.raises(InvalidInput, match="query: has no tokens"):
        teacher.likelihoods([("  ", "a")])
