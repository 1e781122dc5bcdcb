"""The real dimensions: 0.6B's shape, random weights, fp32 and bf16, against the model card's own code.

The reference computes with the same tensors: at 8B's shape a copy of its two vocabularies alone would be 5 GB.
"""

import dataclasses
import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import tiny
from gigarank.bench.sizes import BlockTensors
from gigarank.catalogue import RERANKER_0_6B, RERANKER_4B, RERANKER_8B, Model
from gigarank.engine.loading import assemble
from gigarank.engine.numerics import choose_numerics
from gigarank.engine.reranker import Reranker
from gigarank.engine.tokenizer import PromptTokenizer
from gigarank.model.config import ModelConfig
from gigarank.model.weights import TensorDict, random_tensors
from gigarank.prompt import QWEN3_V1
from gigarank.types import EngineOptions, Pair

pytestmark = pytest.mark.slow
CONFIG = ModelConfig.from_shape(RERANKER_0_6B.shape)
PAIRS = [
    Pair("Which planet is known as the Red Planet?", "Mars is often referred to as the Red Planet."),
    Pair("Which planet is known as the Red Planet?", ""),
    Pair("Which planet is known as the Red Planet?", "Venus is Earth's twin. " * 60),
    Pair("area of a circle", "def area(r):\n    return 3.14159 * r ** 2\n", "Find code"),
]


@pytest.fixture(scope="module")
def tensors() -> Iterator[TensorDict]:
    yield random_tensors(CONFIG, seed=6, dtype=torch.bfloat16)
    gc.collect()


def ours(tensors: TensorDict, dtype: str, options: EngineOptions, config: ModelConfig = CONFIG) -> Reranker:
    loaded = assemble("0.6b", config, tensors, options, choose_numerics("cpu", dtype))
    return Reranker(loaded, PromptTokenizer(tiny.qwen_text(), QWEN3_V1, loaded.max_pair_tokens))


def card(model: Any) -> list[float]:
    ids = [tiny.card_ids(QWEN3_V1, pair.instruction, pair.query, pair.document) for pair in PAIRS]
    return [tiny.card_logit(model, one) for one in ids]


def test_fp32_equals_the_model_card_to_1e_4(tensors: TensorDict) -> None:
    wide = TensorDict({name: tensor.float() for name, tensor in tensors.tensors.items()})
    wanted = card(tiny.reference(CONFIG, wide, "fp32", shared=True))
    del wide
    gc.collect()
    for options in (EngineOptions(), EngineOptions(max_batch_tokens=200)):
        got = [score.logit for score in ours(tensors, "fp32", options).score(PAIRS)]
        assert got == pytest.approx(wanted, abs=1e-4, rel=0)


def test_bf16_stays_within_its_stated_tolerance(tensors: TensorDict) -> None:
    model = ours(tensors, "bf16", EngineOptions())
    got = [score.logit for score in model.score(PAIRS)]
    wanted = card(tiny.reference(CONFIG, tensors, "bf16", shared=True))
    assert got == pytest.approx(wanted, abs=model.numerics.tolerance, rel=0)


@pytest.mark.parametrize("known", [RERANKER_4B, RERANKER_8B], ids=lambda known: known.name)
def test_the_larger_shapes_equal_transformers_over_two_layers(known: Model) -> None:
    config = dataclasses.replace(ModelConfig.from_shape(known.shape), num_hidden_layers=2)
    block = BlockTensors(config, seed=4)  # true random numbers would take most of the test's time
    source = TensorDict({name: block.get(name).float() for name in block.shapes()})
    got = [score.logit for score in ours(source, "fp32", EngineOptions(), config).score(PAIRS)]
    gc.collect()
    assert got == pytest.approx(card(tiny.reference(config, source, shared=True)), abs=1e-4, rel=0)
