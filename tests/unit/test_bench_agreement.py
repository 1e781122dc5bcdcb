"""The comparison layer by layer, on tiny models: that it is the whole engine, and that it would see a difference."""

import dataclasses
from functools import cache
from pathlib import Path

import pytest
import torch

import tiny
from gigarank.bench.agreement import TOLERANCE, Agreement, compare, reference_logit, streamed
from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.engine.layout import write_json
from gigarank.engine.reranker import Reranker
from gigarank.engine.tokenizer import TextTokenizer
from gigarank.model.tensor_file import write_tensors
from gigarank.model.weights import random_tensors
from gigarank.prompt import QWEN3_V1

QUERY, DOCUMENT = "How do plants live?", "They turn light into sugar."
CONFIGS = {name: dataclasses.replace(tiny.CONFIGS[name], vocab_size=10_000) for name in ("qwen3", "qwen3-untied")}
"""Their vocabulary is read at once, where Qwen3's whole one takes seconds."""


@cache
def text() -> TextTokenizer:
    return TextTokenizer(qwen_tokenizer(10_000).to_str())


def ids_of_the_card() -> list[int]:
    prefix, suffix = text().template(QWEN3_V1.prefix), text().template(QWEN3_V1.suffix)
    return prefix + text().plain([QWEN3_V1.body(None, QUERY, DOCUMENT)], "body")[0] + suffix


def checkpoint(folder: Path, name: str, changed: str = "") -> Path:
    """A folder in bf16; the tensor `changed` is twice what it was."""
    config, source = CONFIGS[name], random_tensors(CONFIGS[name], seed=len(name))
    folder.mkdir(parents=True)
    write_tensors(
        folder / "model.safetensors",
        source.shapes(),
        torch.bfloat16,
        lambda tensor: source.get(tensor) * (2.0 if tensor == changed else 1.0),
    )
    write_json(folder / "config.json", config.to_json())
    (folder / "tokenizer.json").write_text(qwen_tokenizer(10_000).to_str(), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["qwen3", "qwen3-untied"])
def test_ours_and_transformers_agree(tmp_path: Path, name: str) -> None:
    found = compare(checkpoint(tmp_path / "model", name), QWEN3_V1, QUERY, DOCUMENT)
    assert found.difference < TOLERANCE / 10
    assert found.tokens == len(ids_of_the_card())
    assert abs(found.ours) > TOLERANCE


def test_products_that_are_read_when_asked_give_the_engine_s_own_score(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "model", "qwen3")
    pairs = [(QUERY, DOCUMENT), (QUERY, ""), (QUERY, "sugar " * 300)]
    whole = Reranker.load(folder, device="cpu", dtype="fp32").score(pairs)
    assert [score.logit for score in streamed(folder, QWEN3_V1).score(pairs)] == [score.logit for score in whole]


@pytest.mark.parametrize(
    "tensor", ["model.layers.1.self_attn.k_norm.weight", "model.layers.2.mlp.down_proj.weight", "model.norm.weight"]
)
def test_a_reference_of_other_weights_is_seen(tmp_path: Path, tensor: str) -> None:
    ids, answers = ids_of_the_card(), (text().single("yes"), text().single("no"))
    read = [
        reference_logit(checkpoint(tmp_path / (changed or "same"), "qwen3", changed), CONFIGS["qwen3"], ids, answers)
        for changed in ("", tensor)
    ]
    assert not Agreement(read[0], read[1], len(ids)).difference <= TOLERANCE
