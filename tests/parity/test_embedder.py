"""The embedder against transformers and against sentence-transformers' way of pooling, and its own rules."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import tiny
from gigarank.engine.embedder import Embedder
from gigarank.errors import InvalidInput
from gigarank.types import EngineOptions

QUERIES = ["What is the capital of China?", "Explain gravity", "", "火星は？"]
DOCUMENTS = ["The capital of China is Beijing.", "Gravity is a force. " * 120, "", "<|endoftext|> is text"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the official embedding model is saved: tensors without the 'model.' prefix."""
    path = tmp_path_factory.mktemp("tiny-embedder")
    tensors = tiny.tensors_of("qwen3").tensors
    save_file({name.removeprefix("model."): tensor for name, tensor in tensors.items()}, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(tiny.CONFIGS["qwen3"].to_json()))
    (path / "tokenizer.json").write_text(tiny.qwen_json())
    return path


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Callable[..., Embedder]:
    """Each once: Qwen3's whole vocabulary takes seconds to read, and to embed changes nothing."""

    @cache
    def load(dtype: str = "auto", **options: Any) -> Embedder:
        return Embedder.load(folder, dtype=dtype, options=EngineOptions(**options))

    return load


@pytest.fixture(scope="module")
def theirs() -> Any:
    return tiny.reference(tiny.CONFIGS["qwen3"], tiny.tensors_of("qwen3"), "fp64").model


@torch.no_grad()
def last_states(model: Any, texts: list[str], limit: int = 8_192) -> np.ndarray:
    """The last token's final hidden state of each text, closed by <|endoftext|>, one text at a time."""
    ids = [[*tiny.qwen_text().plain([text], "x")[0][: limit - 1], 151643] for text in texts]
    return np.stack([model(torch.tensor([one])).last_hidden_state[0, -1].numpy() for one in ids])


def unit(rows: np.ndarray) -> np.ndarray:
    result: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return result


@pytest.mark.parametrize("budget", [4_096, 50])
@pytest.mark.parametrize("dimensions", [None, 64, 32, 1])
def test_documents_equal_transformers(
    loaded: Callable[..., Embedder], theirs: Any, budget: int, dimensions: int | None
) -> None:
    ours = loaded("fp64", max_batch_tokens=budget)
    wanted = unit(last_states(theirs, DOCUMENTS)[:, :dimensions])
    np.testing.assert_allclose(ours.embed(documents=DOCUMENTS, dimensions=dimensions), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("task", [None, "Find code"])
def test_queries_stand_behind_their_task(loaded: Callable[..., Embedder], theirs: Any, task: str | None) -> None:
    named = task or "Given a web search query, retrieve relevant passages that answer the query"
    wanted = unit(last_states(theirs, [f"Instruct: {named}\nQuery:{query}" for query in QUERIES]))
    got = loaded("fp32").embed(queries=QUERIES, task=task)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)
    assert got.dtype == np.float32


def test_a_long_text_is_cut_at_its_end_and_keeps_its_closing_token(loaded: Callable[..., Embedder], theirs: Any) -> None:
    short = loaded("fp64", max_pair_tokens=20)
    wanted = unit(last_states(theirs, DOCUMENTS, limit=20))
    np.testing.assert_allclose(short.embed(documents=DOCUMENTS), wanted, rtol=0, atol=1e-6)


def test_vectors_have_length_one_and_do_not_depend_on_the_others(loaded: Callable[..., Embedder]) -> None:
    ours = loaded()
    together = ours.embed(documents=DOCUMENTS)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)
    for place, document in enumerate(DOCUMENTS):
        assert np.array_equal(ours.embed(documents=[document])[0], together[place])
    assert ours.embed(documents=[]).shape == (0, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of the two"),
        ({"queries": ["a"], "documents": ["b"]}, "exactly one of the two"),
        ({"documents": "a text"}, "documents: must be a list, not str"),
        ({"queries": ["a", 3]}, r"queries\[1\]: must be a string, not int"),
        ({"documents": ["a"], "dimensions": 65}, "dimensions: must be from 1 to 64, not 65"),
        ({"documents": ["a"], "dimensions": 2.5}, "dimensions: must be a whole number, not float"),
        ({"queries": ["a"], "task": 5}, "task: must be a string, not int"),
        ({"queries": ["a", "b\ud800"]}, r"queries\[1\]: not valid Unicode, a lone surrogate at character 1"),
        ({"documents": ["a"], "dimensions": 0}, "dimensions: must be from 1 to 64, not 0"),
    ],
)
def test_bad_input_is_named(loaded: Callable[..., Embedder], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        loaded().embed(**arguments)


def test_a_reranker_is_no_embedder_and_the_other_way_round() -> None:
    with pytest.raises(InvalidInput, match=r"nano is a reranker, not an embedder; load it with Reranker\.load"):
        Embedder.load("nano")
