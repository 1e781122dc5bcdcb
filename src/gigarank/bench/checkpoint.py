"""A checkpoint of random weights in the layout of the official repositories: every contestant loads the same folder.

The folder also holds what sentence-transformers needs to know that a causal model is a reranker: modules.json, the answer
words' ids in 1_LogitScore, and the prompt as a chat template. Invariant: the weights are bf16 on disk, as the official
ones are, so that a contestant's fp32 copy is exact.
"""

import errno
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Tokenizer

from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.catalogue import MODELS, Shape
from gigarank.engine.layout import chat_template, write_json, write_reranker_layout
from gigarank.errors import InvalidInput
from gigarank.model.config import ModelConfig
from gigarank.model.weights import TensorDict, random_tensors
from gigarank.prompt import PromptFormat, prompt_format

__all__ = ["SHAPES", "chat_template", "shape_of", "write_checkpoint", "write_model", "write_reranker_layout"]

SHAPES: dict[str, str] = {
    "0.6b": "qwen3-reranker-0.6b",
    "4b": "qwen3-reranker-4b",
    "8b": "qwen3-reranker-8b",
    "nano": "nano",
}


def shape_of(name: str, layers: int | None = None) -> tuple[Shape, PromptFormat]:
    """A catalogue shape by its short name, cut to `layers` where given, and its prompt format."""
    model = next((model for model in MODELS if model.name == SHAPES.get(name)), None)
    if model is None:
        known = ", ".join(SHAPES)
        raise InvalidInput(f"shape: {name!r} is not among {known}", param="shape", limit=known, received=name)
    full = model.shape.num_hidden_layers
    if layers is not None and not 1 <= layers <= full:
        raise InvalidInput(f"layers: 1 to {full}, not {layers}", param="layers", limit=full, received=layers)
    return replace(model.shape, num_hidden_layers=layers or full), prompt_format(model.prompt)


def write_checkpoint(folder: Path, shape: Shape, prompt: PromptFormat, seed: int = 0) -> Tokenizer:
    """Writes the whole folder; returns its tokenizer, Qwen3's, cut to the shape's vocabulary where that is smaller."""
    folder.mkdir(parents=True, exist_ok=True)
    config = ModelConfig.from_shape(shape)
    tokenizer = qwen_tokenizer(shape.vocab_size)
    source = random_tensors(config, seed, torch.bfloat16)
    write_model(folder, config, source, prompt)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    write_reranker_layout(folder, prompt, tokenizer, shape.max_position_embeddings)
    return tokenizer


def write_model(folder: Path, config: ModelConfig, source: TensorDict, prompt: PromptFormat) -> None:
    """config.json, the weights, and the prompt's name for the engine."""
    tensors = {name: source.get(name).contiguous() for name in source.shapes()}
    try:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    except SafetensorError as error:  # what safetensors makes of a full disk
        raise OSError(errno.EIO, f"cannot be written: {error}", str(folder / "model.safetensors")) from error
    write_json(folder / "config.json", config.to_json())
    write_json(folder / "gigarank.json", {"prompt": prompt.id})
