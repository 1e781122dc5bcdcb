"""config.json: what transformers 4 and 5 write is read, what would be computed wrongly is refused with the reason."""

from typing import Any

import pytest

from gigarank.catalogue import EMBEDDING_0_6B, MODELS, RERANKER_0_6B, Model
from gigarank.errors import CheckpointError, UnsupportedArchitecture
from gigarank.model.config import ModelConfig, parse_config

# As the hub's Qwen3-Reranker-0.6B has it, written by transformers 4.
OFFICIAL: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 151643,
    "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 1024, "initializer_range": 0.02,
    "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
    "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
    "rope_scaling": None, "rope_theta": 1000000, "sliding_window": None, "tie_word_embeddings": True,
    "torch_dtype": "bfloat16", "transformers_version": "4.51.3", "use_cache": True, "use_sliding_window": False,
    "vocab_size": 151669,
}  # fmt: skip


def changed(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in (OFFICIAL | values).items() if value != "ABSENT"}


def test_the_official_config_is_the_catalogues_shape() -> None:
    assert parse_config(OFFICIAL) == ModelConfig.from_shape(RERANKER_0_6B.shape)
    assert parse_config(OFFICIAL).query_size == 2048
    assert parse_config(OFFICIAL).key_value_size == 1024


def test_transformers_5_keys_give_the_same() -> None:
    five = changed(
        rope_theta="ABSENT", rope_scaling="ABSENT", torch_dtype="ABSENT", dtype="bfloat16",
        rope_parameters={"rope_theta": 1000000, "rope_type": "default"}, layer_types=["full_attention"] * 28,
    )  # fmt: skip
    assert parse_config(five) == parse_config(OFFICIAL)
    assert parse_config(changed(rope_theta="ABSENT")).rope_theta == 10_000.0


def test_a_scaling_added_by_hand_to_a_newer_file_is_refused_too() -> None:
    both = changed(
        rope_parameters={"rope_theta": 1000000, "rope_type": "default"}, rope_scaling={"type": "yarn", "factor": 4.0}
    )
    both["rope_scaling"]["rope_type"] = "yarn"
    with pytest.raises(UnsupportedArchitecture, match="rope_scaling 'yarn'"):
        parse_config(both)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_what_is_written_is_read_back(model: Model) -> None:
    config = ModelConfig.from_shape(model.shape)
    assert parse_config(config.to_json()) == config


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("model_type", "bert", r"model_type 'bert' is not supported; supported: qwen3, qwen2, llama"),
        ("model_type", None, "model_type None is not supported"),
        ("use_sliding_window", True, "use_sliding_window True"),
        ("layer_types", ["full_attention", "sliding_attention"], "layer_types 'sliding_attention'"),
        ("rope_scaling", {"type": "yarn", "factor": 4.0}, "rope_scaling 'yarn'"),
        ("rope_scaling", {"rope_type": "llama3", "factor": 8.0}, "rope_scaling 'llama3'"),
        ("rope_parameters", {"rope_type": "dynamic", "rope_theta": 1e6}, "rope_scaling 'dynamic'"),
        (
            "rope_parameters",
            {"full_attention": {"rope_type": "default", "rope_theta": 1e6}},
            "rope_parameters 'full_attention'",
        ),
        ("partial_rotary_factor", 0.5, "partial_rotary_factor 0.5"),
        ("partial_rotary_factor", 0, "partial_rotary_factor 0"),
        ("partial_rotary_factor", [0.5], r"partial_rotary_factor \[0.5\]"),
        ("pretraining_tp", {"a": 1}, "pretraining_tp {'a': 1}"),
        ("hidden_act", "gelu", "hidden_act 'gelu'"),
        ("hidden_act", ["silu"], r"hidden_act \['silu'\]"),
        ("mlp_bias", True, "mlp_bias True"),
        ("quantization_config", {"quant_method": "gptq"}, "quantization_config True"),
    ],
)
def test_what_the_decoder_would_compute_wrongly_is_refused(key: str, value: Any, shown: str) -> None:
    with pytest.raises(UnsupportedArchitecture, match=shown):
        parse_config(changed(**{key: value}))


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("hidden_size", None, "hidden_size must be a whole number from 1 to 2,147,483,647, not None"),
        ("num_hidden_layers", 0, "num_hidden_layers must be .* not 0"),
        ("num_hidden_layers", 10**30, "num_hidden_layers must be a whole number from 1 to 10,000, not 1000"),
        ("vocab_size", 10**12, "vocab_size must be a whole number from 1 to 2,147,483,647"),
        ("vocab_size", "many", "vocab_size must be .* not 'many'"),
        ("intermediate_size", True, "intermediate_size must be .* not True"),
        ("num_key_value_heads", 5, "num_attention_heads 16 is no multiple of num_key_value_heads 5"),
        ("rms_norm_eps", None, "rms_norm_eps must be a number above 0, not None"),
        ("rope_theta", "1e6x", "rope_theta must be a number above 0, not '1e6x'"),
        ("rope_scaling", "yarn", "rope_scaling must be an object, not 'yarn'"),
        ("head_dim", 127, "head_dim must be even for rotary positions, not 127"),
        ("rms_norm_eps", float("inf"), "rms_norm_eps must be a number above 0, not inf"),
        ("layer_types", 5, "layer_types must be a list, not 5"),
        ("tie_word_embeddings", "false", "tie_word_embeddings must be true or false, not 'false'"),
        ("attention_bias", 1, "attention_bias must be true or false, not 1"),
        ("use_sliding_window", "no", "use_sliding_window must be true or false, not 'no'"),
    ],
)
def test_nonsense_is_named(key: str, value: Any, shown: str) -> None:
    with pytest.raises(CheckpointError, match=shown) as caught:
        parse_config(changed(**{key: value}))
    assert caught.value.param == key


def test_biases_follow_the_architecture() -> None:
    assert not parse_config(OFFICIAL).qkv_bias
    two = parse_config(changed(model_type="qwen2"))
    assert (two.qk_norm, two.qkv_bias, two.output_bias) == (False, True, False)
    llama = parse_config(changed(model_type="llama", attention_bias=True))
    assert (llama.qk_norm, llama.qkv_bias, llama.output_bias) == (False, True, True)


def test_sizes_that_may_be_left_out_have_transformers_defaults() -> None:
    config = parse_config(
        changed(model_type="llama", head_dim="ABSENT", num_key_value_heads="ABSENT", tie_word_embeddings="ABSENT")
    )
    assert (config.head_dim, config.num_key_value_heads, config.tie_word_embeddings) == (64, 16, False)


def test_the_embedder_has_the_rerankers_shape_but_a_shorter_context() -> None:
    embedder, reranker = ModelConfig.from_shape(EMBEDDING_0_6B.shape), ModelConfig.from_shape(RERANKER_0_6B.shape)
    assert embedder.max_position_embeddings == 32_768 < reranker.max_position_embeddings
