"""A checkpoint of random weights in the layout of the official repositories: every contestant loads the same folder.

The folder also holds what sentence-transformers needs to know that a causal model is a reranker: modules.json, the answer
words' ids in 1_LogitScore, and the prompt as a chat template. Invariant: the weights are bf16 on disk, as the official
ones are, so that a contestant's fp32 copy is exact.
"""

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Tokenizer

from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.catalogue import MODELS, Shape
from gigarank.errors import InvalidInput
from gigarank.model.config import ModelConfig
from gigarank.model.weights import TensorDict, random_tensors
from gigarank.prompt import PromptFormat, prompt_format

SHAPES: dict[str, str] = {
    "0.6b": "qwen3-reranker-0.6b",
    "4b": "qwen3-reranker-4b",
    "8b": "qwen3-reranker-8b",
    "nano": "nano",
}
PAD, END = "<|endoftext|>", "<|im_end|>"


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
    _write_json(folder / "config.json", config.to_json())
    _write_json(folder / "gigarank.json", {"prompt": prompt.id})


def write_reranker_layout(folder: Path, prompt: PromptFormat, tokenizer: Tokenizer, longest: int) -> None:
    """What transformers and sentence-transformers read beside the weights and the tokenizer."""
    _write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": PAD, "eos_token": END, "model_max_length": longest},
    )
    (folder / "chat_template.jinja").write_text(chat_template(prompt), encoding="utf-8")
    _write_json(folder / "modules.json", _MODULES)
    _write_json(folder / "sentence_bert_config.json", _TRANSFORMER)
    _write_json(folder / "config_sentence_transformers.json", {"model_type": "CrossEncoder", "prompts": {}})
    (folder / "1_LogitScore").mkdir(exist_ok=True)
    answers = {"true_token_id": tokenizer.token_to_id(prompt.yes), "false_token_id": tokenizer.token_to_id(prompt.no)}
    _write_json(folder / "1_LogitScore" / "config.json", answers)


def chat_template(prompt: PromptFormat) -> str:
    """The prompt as a Jinja template over the roles system (the instruction), query and document.

    Jinja drops one newline at the end of a template, so one more than the suffix has stands there.
    """
    instruction, query, document = (_role(role) for role in ("system", "query", "document"))
    instruction = f'{instruction} | default("{prompt.default_instruction}", true)'
    body = prompt.body(_hole(instruction), _hole(query), _hole(document))
    return prompt.prefix + body + prompt.suffix + "\n"


_MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
    {
        "idx": 1,
        "name": "1",
        "path": "1_LogitScore",
        "type": "sentence_transformers.cross_encoder.modules.logit_score.LogitScore",
    },
]
_TRANSFORMER = {
    "transformer_task": "text-generation",
    "modality_config": {
        "text": {"method": "forward", "method_output_name": "logits"},
        "message": {"method": "forward", "method_output_name": "logits", "format": "flat"},
    },
    "module_output_name": "causal_logits",
}


def _role(role: str) -> str:
    return f'messages | selectattr("role", "eq", "{role}") | map(attribute="content") | first'


def _hole(expression: str) -> str:
    return "{{ " + expression + " }}"


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
