"""A tiny GGUF file, written by the gguf package: what is read from it, and what is refused and why."""

import re
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from gigarank.errors import CheckpointError, UnsupportedArchitecture
from gigarank.model.gguf import read_gguf, read_metadata

Build = Callable[..., Path]


@pytest.fixture
def tensors(tiny_gguf: Build) -> dict[str, np.ndarray]:
    """The tiny file's own tensors, under GGUF's names, to change before a file is written from them."""
    return {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(tiny_gguf()).tensors}


def test_config_stands_under_transformers_names(tiny_gguf: Build) -> None:
    config, _ = read_gguf(tiny_gguf())
    assert config == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": 64,
        "vocab_size": 16,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100_000.0,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }


def test_keys_that_may_be_left_out_have_llamas_defaults(tiny_gguf: Build) -> None:
    left_out = dict.fromkeys(("attention.head_count_kv", "rope.freq_base", "rope.dimension_count", "vocab_size"))
    values = {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(tiny_gguf()).tensors}
    for layer in range(2):
        for name in ("attn_k", "attn_v"):
            values[f"blk.{layer}.{name}.weight"] = np.zeros((32, 32), dtype=np.float32)
    config, _ = read_gguf(tiny_gguf(numbers=left_out, tensors=values))
    read = {name: config[name] for name in ("num_key_value_heads", "rope_theta", "head_dim", "vocab_size")}
    assert read == {"num_key_value_heads": 4, "rope_theta": 10_000.0, "head_dim": 8, "vocab_size": 16}


def test_tensors_stand_under_transformers_names(tiny_gguf: Build) -> None:
    _, tensors = read_gguf(tiny_gguf())
    inner = ["input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
    inner += ["post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    expected = {f"model.layers.{layer}.{name}.weight" for layer in range(2) for name in inner}
    assert {name for name, _ in tensors} == expected | {"model.embed_tokens.weight", "model.norm.weight"}


def test_values_are_kept_and_may_be_written_to(tiny_gguf: Build, tensors: dict[str, np.ndarray]) -> None:
    read = dict(read_gguf(tiny_gguf())[1])
    assert np.array_equal(read["model.layers.1.mlp.down_proj.weight"].numpy(), tensors["blk.1.ffn_down.weight"])
    assert all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in read.values())
    read["model.norm.weight"].zero_()  # a view of the mapped file would crash here


@pytest.mark.parametrize(("name", "heads"), [("attn_q", 4), ("attn_k", 2)])
def test_query_and_key_rows_are_put_back(tiny_gguf: Build, tensors: dict[str, np.ndarray], name: str, heads: int) -> None:
    """The writer's permutation as llama.cpp's convert_hf_to_gguf.py has it, applied here, must be undone."""
    plain = tensors[f"blk.0.{name}.weight"]
    out = plain.shape[0]
    tensors[f"blk.0.{name}.weight"] = np.ascontiguousarray(
        plain.reshape(heads, 2, out // heads // 2, -1).swapaxes(1, 2).reshape(plain.shape)
    )
    assert not np.array_equal(tensors[f"blk.0.{name}.weight"], plain)
    read = dict(read_gguf(tiny_gguf(tensors=tensors))[1])
    assert np.array_equal(read[f"model.layers.0.self_attn.{name[-1]}_proj.weight"].numpy(), plain)


def test_untied_head_is_read(tiny_gguf: Build, tensors: dict[str, np.ndarray]) -> None:
    tensors["output.weight"] = np.full((16, 32), 2.0, dtype=np.float32)
    config, read = read_gguf(tiny_gguf(tensors=tensors))
    assert config["tie_word_embeddings"] is False
    assert dict(read)["lm_head.weight"].eq(2.0).all()


def test_quantised_tensor_comes_dequantised(tiny_gguf: Build, tensors: dict[str, np.ndarray]) -> None:
    kind = gguf.GGMLQuantizationType.Q8_0
    read = dict(read_gguf(tiny_gguf(quantised=("blk.0.ffn_up.weight", kind)))[1])["model.layers.0.mlp.up_proj.weight"]
    plain = tensors["blk.0.ffn_up.weight"]
    assert np.array_equal(read.numpy(), gguf.dequantize(gguf.quantize(plain, kind), kind))
    assert 0 < np.abs(read.numpy() - plain).max() < 0.05


def test_metadata_is_read_by_prefix(tiny_gguf: Build) -> None:
    assert read_metadata(tiny_gguf(), "tokenizer.ggml.e") == {"tokenizer.ggml.eos_token_id": 1}


def refused(path: Path, error: type[CheckpointError], *said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_gguf(path)
    assert type(caught.value) is error
    for part in (str(path), *said):
        assert part in caught.value.message


def test_another_architecture_is_refused_by_its_name(tiny_gguf: Build) -> None:
    refused(tiny_gguf(architecture="mamba"), UnsupportedArchitecture, "'mamba'", "llama")


@pytest.mark.parametrize("key", ["rope.scaling.type", "attention.sliding_window", "expert_count", "logit_scale"])
def test_a_key_that_may_change_the_mathematics_is_refused(tiny_gguf: Build, key: str) -> None:
    refused(tiny_gguf(numbers={key: 4}), UnsupportedArchitecture, f"llama.{key}")


@pytest.mark.parametrize("key", ["block_count", "attention.layer_norm_rms_epsilon"])
def test_a_missing_key_is_named(tiny_gguf: Build, key: str) -> None:
    refused(tiny_gguf(numbers={key: None}), CheckpointError, f"missing keys llama.{key}")


@pytest.mark.parametrize(
    ("numbers", "error", "said"),
    [
        ({"vocab_size": 17}, CheckpointError, ("17", "16 tokens")),
        ({"block_count": 4_000_000_000}, CheckpointError, ("4000000000 layers", "20 tensors")),
        ({"block_count": 0}, CheckpointError, ("llama.block_count", "is 0")),
        ({"attention.head_count": [4, 4]}, CheckpointError, ("llama.attention.head_count", "[4, 4]")),
        ({"attention.head_count_kv": 3}, CheckpointError, ("4 query heads", "3 key heads")),
        ({"attention.layer_norm_rms_epsilon": -1.0}, CheckpointError, ("rms_epsilon", "-1.0")),
        ({"rope.freq_base": float("nan")}, CheckpointError, ("llama.rope.freq_base", "nan")),
        ({"rope.dimension_count": 4}, UnsupportedArchitecture, ("llama.rope.dimension_count is 4", "8")),
        ({"attention.value_length": 16}, UnsupportedArchitecture, ("llama.attention.value_length is 16", "8")),
        ({"attention.key_length": 7}, CheckpointError, ("width 7",)),
    ],
)
def test_an_inconsistent_number_is_refused(
    tiny_gguf: Build, numbers: dict[str, object], error: type[CheckpointError], said: tuple[str, ...]
) -> None:
    refused(tiny_gguf(numbers=numbers), error, *said)


def test_an_unknown_tensor_is_named(tiny_gguf: Build, tensors: dict[str, np.ndarray]) -> None:
    tensors["blk.0.attn_q.bias"] = np.zeros(32, dtype=np.float32)
    refused(tiny_gguf(tensors=tensors), UnsupportedArchitecture, "unknown tensors blk.0.attn_q.bias")


def test_a_missing_tensor_is_named(tiny_gguf: Build, tensors: dict[str, np.ndarray]) -> None:
    del tensors["blk.1.ffn_up.weight"]
    refused(tiny_gguf(tensors=tensors), CheckpointError, "missing tensors blk.1.ffn_up.weight")


def test_a_misshaped_tensor_is_named_with_both_shapes(tiny_gguf: Build, tensors: dict[str, np.ndarray]) -> None:
    tensors["blk.1.ffn_up.weight"] = np.zeros((48, 32), dtype=np.float32)
    refused(tiny_gguf(tensors=tensors), CheckpointError, "blk.1.ffn_up.weight", "(48, 32)", "(64, 32)")


def test_a_type_without_dequantisation_is_named(tiny_gguf: Build, tensors: dict[str, np.ndarray]) -> None:
    tensors["output_norm.weight"] = np.zeros(32, dtype=np.int32)
    refused(tiny_gguf(tensors=tensors), UnsupportedArchitecture, "I32")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04 a zip")
    refused(path, CheckpointError, "no GGUF file", "PK")


def test_an_empty_and_an_absent_file_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.gguf"
    empty.touch()
    refused(empty, CheckpointError, "no GGUF file")
    refused(tmp_path / "absent.gguf", CheckpointError, "No such file or directory")


def test_a_cut_file_is_refused_wherever_it_is_cut(tiny_gguf: Build) -> None:
    whole = tiny_gguf().read_bytes()
    cut = tiny_gguf().with_name("cut.gguf")
    for size in [*range(5, 1500, 13), len(whole) // 2, len(whole) - 33]:
        cut.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=re.escape(str(cut))):
            read_gguf(cut)
