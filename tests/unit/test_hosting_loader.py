"""What a checkpoint will take, known from headers; the machine's memory; and models that must not be served."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gigarank import catalogue
from gigarank.engine.trial import require_sound
from gigarank.errors import CheckpointError
from gigarank.model.weights import expected_shapes
from gigarank.service.hosting import machine
from gigarank.service.hosting.loader import EngineLoader, measured_bytes, weight_bytes
from gigarank.service.hosting.specs import ModelSpec
from tiny import reranker


def test_weight_is_in_the_compute_dtype_but_for_the_embedding(tmp_path: Path) -> None:
    tensors = {
        "model.embed_tokens.weight": torch.zeros(10, 4, dtype=torch.bfloat16),
        "model.layers.0.mlp.up_proj.weight": torch.zeros(6, 4, dtype=torch.bfloat16),
        "lm_head.weight": torch.zeros(10, 4, dtype=torch.float32),
    }
    file = tmp_path / "model.safetensors"
    save_file(tensors, file, metadata={"format": "pt"})
    assert weight_bytes([file], 4) == 40 * 2 + 24 * 4 + 40 * 4
    assert weight_bytes([file], 2) == 40 * 2 + 24 * 2 + 40 * 4


@pytest.mark.parametrize("content", [b"", b"\x05\0\0\0\0\0\0\0{", b"\x02\0\0\0\0\0\0\0[]", b'\x07\0\0\0\0\0\0\0{"w":1}'])
def test_a_file_that_is_no_safetensors_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: its header cannot be read"):
        weight_bytes([file], 4)


def test_a_loaded_models_weights_are_counted_once_each() -> None:
    for name in ("qwen3", "qwen3-untied", "llama-biased"):
        model = reranker(name)
        shapes = expected_shapes(model.config)
        assert measured_bytes(model) == 4 * sum(math.prod(shape) for shape in shapes.values())


def test_a_model_in_8_bits_is_counted_so() -> None:
    model = reranker("qwen3", "int8")
    shapes = expected_shapes(model.config).items()
    matrices = {name: shape for name, shape in shapes if len(shape) == 2 and "embed" not in name}
    rest = sum(math.prod(shape) for name, shape in shapes if name not in matrices)
    scales = sum(shape[0] for shape in matrices.values())
    assert measured_bytes(model) == sum(map(math.prod, matrices.values())) + 4 * (rest + scales)


def test_a_catalogue_model_in_8_bits_keeps_its_embedding_in_16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gigarank.engine.hub.constants.HF_HUB_CACHE", str(tmp_path))
    known = catalogue.RERANKER_0_6B
    embedding = known.shape.vocab_size * known.shape.hidden_size
    assert EngineLoader(device="cpu", dtype="int8").survey(ModelSpec("x", "0.6b")).memory_bytes == known.parameters + embedding


def test_a_catalogue_model_that_is_not_here_is_described_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gigarank.engine.hub.constants.HF_HUB_CACHE", str(tmp_path))
    facts = EngineLoader(device="cpu", dtype="bf16").survey(ModelSpec("x", "0.6b"))
    known = catalogue.RERANKER_0_6B
    assert facts.memory_bytes == 2 * known.parameters
    assert (facts.kind, facts.dtype, facts.prompt, facts.repository) == ("reranker", "bf16", "qwen3-v1", known.repository)
    assert facts.fetch_bytes > 0
    assert facts.read_bytes_per_s == 0.0
    assert facts.max_pair_tokens == 32_768
    assert EngineLoader(device="cpu").survey(ModelSpec("e", "qwen3-embedding-0.6b")).kind == "embedder"


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    whole = machine.memory_bytes([])
    narrow, wide, none = tmp_path / "narrow", tmp_path / "wide", tmp_path / "none"
    narrow.write_text("1048576\n")
    wide.write_text(f"{10 * whole}\n")
    none.write_text("max\n")
    assert machine.memory_bytes([none, wide, tmp_path / "absent"]) == whole
    assert machine.memory_bytes([wide, narrow]) == 1_048_576


def test_the_speed_of_reading_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(1 << 20))
    assert machine.read_bytes_per_s([file]) > 1e6
    assert machine.read_bytes_per_s([]) == 0.0


def test_a_sound_model_passes_and_a_broken_one_says_how() -> None:
    require_sound(reranker())
    model = reranker("qwen3-untied")
    model.runner.decoder.weights = dataclasses.replace(
        model.runner.decoder.weights, final_norm=torch.zeros_like(model.runner.decoder.weights.final_norm)
    )
    with pytest.raises(CheckpointError, match="self-test failed: scores: different documents have the same score"):
        require_sound(model)


def test_headers_are_json_as_safetensors_documents_them(tmp_path: Path) -> None:
    """The layout by hand: length, header, numbers."""
    header = json.dumps(
        {"__metadata__": {"format": "pt"}, "w": {"dtype": "F16", "shape": [3], "data_offsets": [0, 6]}}
    ).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(6))
    assert weight_bytes([file], 4) == 12
