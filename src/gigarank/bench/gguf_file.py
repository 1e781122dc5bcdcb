"""A checkpoint folder as a GGUF file in Q8_0, as llama.cpp's own converter lays a Qwen3 reranker out.

The answer words' two rows of the head are `cls.output`, pooling is by rank, and the prompt is the template "rerank". Knows no
runtime. Invariant: tokens keep their ids; matrices are Q8_0 and everything else fp32.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors import safe_open

from gigarank.engine.loading import read_config
from gigarank.errors import InvalidInput
from gigarank.model.config import ModelConfig
from gigarank.prompt import PromptFormat

_HEAD, _TABLE = "lm_head.weight", "model.embed_tokens.weight"


def write_gguf(folder: Path, prompt: PromptFormat, file: Path) -> None:
    """Raises InvalidInput where the model is no Qwen3: llama.cpp scores with two rows of the head for that one alone."""
    config = read_config(folder)
    if config.model_type != "qwen3":
        raise InvalidInput(
            f"model_type: llama.cpp reranks with qwen3 alone, not {config.model_type}",
            param="model_type",
            limit="qwen3",
            received=config.model_type,
        )
    writer = gguf.GGUFWriter(file, "qwen3")
    _describe(writer, config)
    ids = _add_tokenizer(writer, json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")), config.vocab_size)
    writer.add_chat_template([{"name": "rerank", "template": prompt.render(None, "{query}", "{document}")}])
    answers = (ids[prompt.yes], ids[prompt.no])
    for name, values in _tensors(folder / "model.safetensors", config, answers):
        if values.ndim == 2 and name != "cls.output.weight":
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_classifier_output_labels(["yes", "no"])


def _add_tokenizer(writer: gguf.GGUFWriter, told: dict[str, Any], size: int) -> dict[str, int]:
    """Every token's id."""
    ids: dict[str, int] = dict(told["model"]["vocab"])
    kinds = dict.fromkeys(ids.values(), gguf.TokenType.NORMAL)
    for added in told["added_tokens"]:
        ids[added["content"]] = added["id"]
        kinds[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    named = {place: token for token, place in ids.items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([named.get(place, f"[PAD{place}]") for place in range(size)])
    writer.add_token_types([kinds.get(place, gguf.TokenType.UNUSED) for place in range(size)])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in told["model"]["merges"]])
    writer.add_eos_token_id(ids["<|im_end|>"])
    writer.add_pad_token_id(ids["<|endoftext|>"])
    writer.add_add_bos_token(False)
    return ids


def _tensors(file: Path, config: ModelConfig, answers: tuple[int, int]) -> Iterator[tuple[str, np.ndarray]]:
    """Under llama.cpp's names, in fp32."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config.num_hidden_layers)
    head = _TABLE if config.tie_word_embeddings else _HEAD
    with safe_open(file, framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - it is no mapping
            values = tensors.get_tensor(name).to(torch.float32).numpy()
            if name == head:
                yield "cls.output.weight", np.ascontiguousarray(values[list(answers)])
            if name != _HEAD:
                yield names.get_name(name, try_suffixes=(".weight",)), values
