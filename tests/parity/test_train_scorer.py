"""What training computes is what serving computes: a packed query's answers are the engine's, of every kind of model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from gigarank.engine.embedder import Embedder
from gigarank.engine.loading import assemble
from gigarank.engine.numerics import choose_numerics
from gigarank.engine.tokenizer import PromptTokenizer
from gigarank.prompt import QWEN3_EMBEDDING_V1, QWEN3_V1
from gigarank.training import attention
from gigarank.training.attention import NAME
from gigarank.training.examples import Example
from gigarank.training.packing import EmbedderTexts, PackedExamples, RerankerPrompts, collate
from gigarank.training.recipe import Data, Stage
from gigarank.training.rows import Row
from gigarank.training.scorer import Answers, Scorer
from gigarank.types import EngineOptions, Pair

ROWS = [
    Row("red planet", ("Mars is red.", "Whales sing.", "Das Meer ist salzig, 海は塩辛い"), (1.0, 0.0, 0.0), None, "Find it"),
    Row("salt", ("The sea is salty because rivers carry minerals into it.",), (1.0,)),
]
EXAMPLES = [Example(0, (0, 1, 2), ((1, 0),)), Example(1, (0,))]
STAGE = Stage(name="s", losses={"bce": 1.0}, data=(Data(path=Path("a")),))


def batch(encodes: Any) -> dict[str, torch.Tensor]:
    packed = PackedExamples(EXAMPLES, ROWS, encodes)
    found = collate([packed[0], packed[1]])
    return {name: found[name] for name in ("input_ids", "position_ids", "blocks", "rows", "columns")}


def reference(name: str, attends: str) -> Any:
    model = tiny.reference(tiny.CONFIGS[name], tiny.tensors_of(name))
    model.set_attn_implementation(attends)
    return model


@pytest.mark.parametrize("attends", ["sdpa", NAME])
@pytest.mark.parametrize("name", ["qwen3", "qwen3-untied", "qwen2", "llama"])
def test_a_packed_query_has_the_engines_scores(name: str, attends: str) -> None:
    text = tiny.qwen_text()
    answers = Answers(text.single("yes"), text.single("no"), whole=True)
    scorer = Scorer(reference(name, attends), answers)
    with torch.no_grad():
        found, log_sum = scorer(**batch(RerankerPrompts(PromptTokenizer(text, QWEN3_V1, 512), STAGE)))
    pairs = [Pair("red planet", one, "Find it") for one in (*ROWS[0].documents, ROWS[1].documents[0])]
    pairs.append(Pair("salt", ROWS[1].documents[0], None))
    expected = [score.logit for score in tiny.reranker(name).score(pairs)]
    torch.testing.assert_close(found[:, 1] - found[:, 0], torch.tensor(expected), rtol=0, atol=1e-4)
    assert log_sum is not None and (log_sum > found.max(1).values).all()
    rows_only = Scorer(scorer.causal, Answers(answers.yes, answers.no, whole=False))
    with torch.no_grad():
        again, nothing = rows_only(**batch(RerankerPrompts(PromptTokenizer(text, QWEN3_V1, 512), STAGE)))
    torch.testing.assert_close(again, found, rtol=0, atol=1e-5)
    assert nothing is None


def test_a_document_that_stands_twice_is_computed_once_and_scored_twice() -> None:
    row = Row("red planet", ("Mars is red.", "Whales sing.", "Mars is red."), (1.0, 0.0, 0.0))
    encodes = RerankerPrompts(PromptTokenizer(tiny.qwen_text(), QWEN3_V1, 512), STAGE)
    packed = PackedExamples([Example(0, (0, 1, 2))], [row], encodes)[0]
    assert packed.blocks.max() == 2
    assert packed.ends[0] == packed.ends[2] != packed.ends[1]
    found = collate([packed])
    assert len(found["rows"]) == len(found["labels"]) == 3


@pytest.mark.parametrize("most_scores", [attention.MOST_SCORES, 0], ids=["side by side", "one by one"])
def test_both_attentions_have_the_same_gradients(monkeypatch: pytest.MonkeyPatch, most_scores: int) -> None:
    monkeypatch.setattr(attention, "MOST_SCORES", most_scores)
    encodes = RerankerPrompts(PromptTokenizer(tiny.qwen_text(), QWEN3_V1, 512), STAGE)
    gradients = []
    for attends in ("sdpa", NAME):
        model = reference("qwen3", attends)
        found, _ = Scorer(model, Answers(1, 2, whole=False))(**batch(encodes))
        (found[:, 1] - found[:, 0]).square().sum().backward()
        gradients.append({name: value.grad for name, value in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("attends", ["sdpa", NAME])
def test_an_embedders_texts_have_the_engines_vectors(attends: str) -> None:
    text = tiny.qwen_text()
    scorer = Scorer(reference("qwen3", attends), None)
    with torch.no_grad():
        found, _ = scorer(**batch(EmbedderTexts(text, QWEN3_EMBEDDING_V1, STAGE, 512)))
    numerics = choose_numerics("cpu", "fp32")
    loaded = assemble("qwen3", tiny.CONFIGS["qwen3"], tiny.tensors_of("qwen3"), EngineOptions(), numerics)
    embedder = Embedder(loaded, text)
    expected = [
        *embedder.embed(queries=["red planet"], task="Find it"),
        *embedder.embed(documents=[*ROWS[0].documents, ROWS[1].documents[0]]),
        *embedder.embed(queries=["salt"]),
        *embedder.embed(documents=[ROWS[1].documents[0]]),
    ]
    torch.testing.assert_close(found, torch.from_numpy(np.stack(expected)), rtol=0, atol=1e-5)
