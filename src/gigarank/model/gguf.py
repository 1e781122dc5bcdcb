"""Reads a GGUF file of a Llama decoder as a checkpoint in transformers' names.

The `gguf` package parses and dequantises; here the names, the row order and the counts are put right. Knows no text:
the file's tokenizer is read by engine.gguf_tokenizer. Invariant: a file is read whole or refused; no key that could
change the mathematics and no tensor is passed over.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import torch

from gigarank.errors import CheckpointError, UnsupportedArchitecture

_MAGIC = b"GGUF"

_BROKEN = (ValueError, IndexError, KeyError, OverflowError, EOFError, TypeError)
"""What gguf's parser raises on a file that is cut or overwritten: it indexes a memory map without checks of its own."""

_REQUIRED = {
    "llama.embedding_length": "hidden_size",
    "llama.block_count": "num_hidden_layers",
    "llama.attention.head_count": "num_attention_heads",
    "llama.feed_forward_length": "intermediate_size",
    "llama.context_length": "max_position_embeddings",
}
_EPSILON = "llama.attention.layer_norm_rms_epsilon"
_OPTIONAL = {
    "llama.attention.head_count_kv",
    "llama.attention.key_length",
    "llama.attention.value_length",
    "llama.rope.dimension_count",
    "llama.rope.freq_base",
    "llama.vocab_size",
}

_OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def read_gguf(path: str | os.PathLike[str]) -> tuple[dict[str, object], Iterator[tuple[str, torch.Tensor]]]:
    """The file's config and tensors, both under transformers' names; tensors are fp32, dequantised one at a time.

    Raises CheckpointError for a broken or inconsistent file, UnsupportedArchitecture for one that is whole, but no
    Llama that this engine would run rightly. Names, shapes and quantisations are checked before the first tensor comes.
    """
    path = Path(path)
    reader = _open(path)
    config = _config(path, _metadata(path, reader, ""), [tensor.name for tensor in reader.tensors])
    _check_tensors(path, reader, _shapes(config))
    return config, _tensors(reader, config)


def read_metadata(path: str | os.PathLike[str], prefix: str) -> dict[str, object]:
    """The file's own key-value pairs whose keys start with `prefix`."""
    return _metadata(Path(path), _open(Path(path)), prefix)


def _open(path: Path) -> gguf.GGUFReader:
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}", param="path", received=str(path)) from error
    if magic != _MAGIC:
        raise CheckpointError(f"{path}: no GGUF file: starts with {magic!r}", limit=str(_MAGIC), received=str(magic))
    try:
        return gguf.GGUFReader(path)
    except _BROKEN as error:
        raise CheckpointError(f"{path}: a broken GGUF file: {error}", received=str(path)) from error


def _metadata(path: Path, reader: gguf.GGUFReader, prefix: str) -> dict[str, object]:
    try:
        return {key: field.contents() for key, field in reader.fields.items() if key.startswith(prefix)}
    except _BROKEN as error:
        raise CheckpointError(f"{path}: broken metadata in the GGUF file: {error}", received=str(path)) from error


def _check_keys(path: Path, metadata: dict[str, object]) -> None:
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise UnsupportedArchitecture(
            f"{path}: architecture {architecture!r} cannot be read; known: llama", limit="llama", received=architecture
        )
    own = {key for key in metadata if key.startswith("llama.")}
    if unknown := sorted(own - {*_REQUIRED, _EPSILON} - _OPTIONAL):
        raise UnsupportedArchitecture(f"{path}: unknown keys {', '.join(unknown)}", received=unknown)
    if missing := sorted({*_REQUIRED, _EPSILON} - own):
        raise CheckpointError(f"{path}: missing keys {', '.join(missing)}", received=missing)


def _config(path: Path, metadata: dict[str, object], tensors: list[str]) -> dict[str, object]:
    """The metadata as a config.json of transformers' llama; refuses keys that it does not know."""
    _check_keys(path, metadata)
    counts = {name: _count(path, metadata, key) for key, name in _REQUIRED.items()}
    if counts["num_hidden_layers"] > len(tensors):
        raise CheckpointError(f"{path}: {counts['num_hidden_layers']} layers, but only {len(tensors)} tensors")
    config: dict[str, object] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in tensors,
        "rms_norm_eps": _real(path, metadata, _EPSILON, 0.0),
        "rope_theta": _real(path, metadata, "llama.rope.freq_base", 10_000.0),
        "vocab_size": _vocabulary(path, metadata),
    }
    named = {f"{name}_token_id": metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
    known = {name: value for name, value in named.items() if value is not None}
    return config | counts | _heads(path, metadata) | known


def _count(path: Path, metadata: dict[str, object], key: str, default: int = 0) -> int:
    value = metadata.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CheckpointError(f"{path}: {key} must be a whole number above 0, is {value!r}", param=key, received=value)
    return value


def _real(path: Path, metadata: dict[str, object], key: str, default: float) -> float:
    """A positive number, as the shortest decimal that its fp32 stands for, so that 1e-5 comes back as 1e-5."""
    value = metadata.get(key, default)
    if not isinstance(value, float) or not math.isfinite(value) or value <= 0:
        raise CheckpointError(f"{path}: {key} must be a finite number above 0, is {value!r}", param=key, received=value)
    return float(str(np.float32(value)))


def _heads(path: Path, metadata: dict[str, object]) -> dict[str, object]:
    heads = _count(path, metadata, "llama.attention.head_count")
    groups = _count(path, metadata, "llama.attention.head_count_kv", heads)
    hidden = _count(path, metadata, "llama.embedding_length")
    width = _count(path, metadata, "llama.attention.key_length", hidden // heads)
    if heads % groups or width % 2:
        raise CheckpointError(
            f"{path}: {heads} query heads cannot share {groups} key heads of width {width}",
            received=[heads, groups, width],
        )
    for key in ("llama.attention.value_length", "llama.rope.dimension_count"):
        if (value := _count(path, metadata, key, width)) != width:
            raise UnsupportedArchitecture(
                f"{path}: {key} is {value}; this engine needs the head's width, {width}",
                param=key,
                limit=width,
                received=value,
            )
    return {"num_key_value_heads": groups, "head_dim": width}


def _vocabulary(path: Path, metadata: dict[str, object]) -> int:
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list):
        raise CheckpointError(f"{path}: missing key tokenizer.ggml.tokens", received=None)
    stated = _count(path, metadata, "llama.vocab_size", len(tokens))
    if stated != len(tokens):
        raise CheckpointError(
            f"{path}: llama.vocab_size is {stated}, but the file has {len(tokens)} tokens",
            limit=stated,
            received=len(tokens),
        )
    return len(tokens)


def _shapes(config: dict[str, object]) -> dict[str, tuple[int, ...]]:
    """Every tensor that a file of this config must hold, under GGUF's names."""
    size = {key: value for key, value in config.items() if isinstance(value, int)}
    hidden, inner, vocabulary = size["hidden_size"], size["intermediate_size"], size["vocab_size"]
    queries = size["num_attention_heads"] * size["head_dim"]
    keys = size["num_key_value_heads"] * size["head_dim"]
    block: dict[str, tuple[int, ...]] = {
        "attn_norm": (hidden,),
        "attn_q": (queries, hidden),
        "attn_k": (keys, hidden),
        "attn_v": (keys, hidden),
        "attn_output": (hidden, queries),
        "ffn_norm": (hidden,),
        "ffn_gate": (inner, hidden),
        "ffn_up": (inner, hidden),
        "ffn_down": (hidden, inner),
    }
    outer = {"token_embd.weight": (vocabulary, hidden), "output_norm.weight": (hidden,)}
    head = {} if config["tie_word_embeddings"] else {"output.weight": (vocabulary, hidden)}
    layers = range(size["num_hidden_layers"])
    return outer | head | {f"blk.{n}.{name}.weight": shape for n in layers for name, shape in block.items()}


def _check_tensors(path: Path, reader: gguf.GGUFReader, shapes: dict[str, tuple[int, ...]]) -> None:
    found = {tensor.name: tensor for tensor in reader.tensors}
    if unknown := sorted(found.keys() - shapes.keys()):
        raise UnsupportedArchitecture(f"{path}: unknown tensors {', '.join(unknown)}", received=unknown)
    if missing := sorted(shapes.keys() - found.keys()):
        raise CheckpointError(f"{path}: missing tensors {', '.join(missing)}", received=missing)
    for name, shape in shapes.items():
        stored = tuple(int(size) for size in reversed(found[name].shape))  # GGUF writes the fastest axis first
        if stored != shape:
            raise CheckpointError(
                f"{path}: tensor {name} has the shape {stored}, expected {shape}",
                param=name,
                limit=shape,
                received=stored,
            )
    for kind in {tensor.tensor_type for tensor in found.values()}:
        _, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        try:
            gguf.dequantize(np.zeros(block_bytes, dtype=np.uint8), kind)
        except NotImplementedError as error:
            raise UnsupportedArchitecture(f"{path}: tensors of type {kind.name} cannot be dequantised") from error


def _tensors(reader: gguf.GGUFReader, config: dict[str, object]) -> Iterator[tuple[str, torch.Tensor]]:
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for tensor in reader.tensors:
        values = np.array(gguf.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)  # a copy: writable, own memory
        if tensor.name in _OUTER:
            yield _OUTER[tensor.name], torch.from_numpy(values)
            continue
        _, layer, name, _ = tensor.name.split(".")
        count = heads.get(name)
        rows = values if not isinstance(count, int) else _halves(values, count)
        yield f"model.layers.{layer}.{_INNER[name]}.weight", torch.from_numpy(rows)


def _halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """Undo the row order for interleaved rotary: in each head, even rows become the first half, odd rows the second."""
    pairs = rows.reshape(heads, -1, 2, rows.shape[-1])  # (heads, head_dim / 2, 2, hidden)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows.shape))
