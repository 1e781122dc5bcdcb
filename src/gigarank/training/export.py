"""A model written as a folder of its own: the official layout, with any adapter or mixture in its weights.

Knows folders and tensors. Invariant: the folder has its name only when it is whole, a folder that is there is not touched, and
nothing in it depends on the sources any more.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from gigarank.engine import adapters
from gigarank.engine.json_file import read_json
from gigarank.engine.layout import write_embedder_layout, write_json, write_reranker_layout
from gigarank.engine.loading import read_config
from gigarank.engine.numerics import TORCH_DTYPES
from gigarank.engine.reranker import choose_prompt
from gigarank.engine.store import Checkpoint
from gigarank.errors import CheckpointError, InvalidInput
from gigarank.model.layer_stack import layer_count, with_layers
from gigarank.model.tensor_file import write_tensors
from gigarank.model.weights import TensorFiles, TensorSource, check_names
from gigarank.prompt import QWEN3_EMBEDDING_V1
from gigarank.types import Dtype, EngineOptions

_CONFIG_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "fp64": "float64"}
_BESIDE = ("generation_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt")
_EMBEDDER = ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "tokenizer_config.json")
_EMBEDDER_FOLDERS = ("1_Pooling", "2_Normalize")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """`kind`: what the folder is to be, reranker or embedder. `dtype` of the numbers on disk; None is the checkpoint's own."""

    dtype: Dtype | None = None
    kind: str = "reranker"


def source_of(checkpoint: Checkpoint) -> TensorSource:
    """A checkpoint's tensors, its adapter merged in."""
    config, source = read_config(checkpoint.folder), TensorFiles(checkpoint.folder)
    check_names(source.shapes(), config)
    if checkpoint.adapter is None:
        return source
    return adapters.merged(source, config, checkpoint.adapter, checkpoint.model)[1]


def export(checkpoint: Checkpoint, source: TensorSource, target: Path, options: ExportOptions, card: str = "") -> Path:
    """Writes `source`'s tensors with all else of `checkpoint`, and the card as README.md.

    Raises InvalidInput for a target that holds something, CheckpointError for a checkpoint that is not what it should be,
    OSError for a full disk; then no folder of that name is left.
    """
    with _appearing(target) as work:
        _write_config(checkpoint.folder, work, source, options)
        _write_tokenizer(checkpoint, work, options)
        (work / "README.md").write_text(card, encoding="utf-8")
    return target


def export_adapter(checkpoint: Checkpoint, target: Path, dtype: Dtype | None = None, card: str = "") -> Path:
    """Writes the checkpoint's adapter as a folder of its own, in `dtype` (None: as it is), with the base's name and the card.

    Raises InvalidInput for a checkpoint without an adapter and for numbers that `dtype` cannot hold; otherwise as `export`.
    """
    if checkpoint.adapter is None:
        raise InvalidInput(f"adapter: {checkpoint.name} has none", param="adapter", limit=1, received=0)
    adapters.merged(TensorFiles(checkpoint.folder), read_config(checkpoint.folder), checkpoint.adapter, checkpoint.model)
    tensors = TensorFiles(checkpoint.adapter)
    if dtype is not None and (lost := _lost(tensors, TORCH_DTYPES[dtype])):
        raise InvalidInput(f"dtype: {dtype} cannot hold {lost}; bf16 has fp32's range", param="dtype", received=dtype)
    with _appearing(target) as work:
        write_json(work / adapters.CONFIG, dict(read_json(checkpoint.adapter / adapters.CONFIG, "adapter")))
        write_json(work / adapters.NOTE, {"base": adapters.base_of(checkpoint.adapter)})
        stored = TORCH_DTYPES[dtype or _own_dtype(tensors)]
        write_tensors(work / adapters.WEIGHTS, tensors.shapes(), stored, tensors.get)
        (work / "README.md").write_text(card, encoding="utf-8")
    return target


def _lost(tensors: TensorSource, dtype: torch.dtype) -> str:
    """The first tensor whose numbers are too great for the dtype, or ""."""
    return next((name for name in sorted(tensors.shapes()) if not tensors.get(name).to(dtype).isfinite().all()), "")


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name at the end; no folder of that name is left where that fails."""
    require_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.{os.getpid()}")
    work.mkdir()
    try:
        yield work
        if target.exists():
            target.rmdir()  # it is empty, or this is refused
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def require_free(target: Path) -> None:
    """Raises InvalidInput where something would be overwritten."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InvalidInput(f"output: {target} is there already; nothing is overwritten", param="output", received=str(target))


def _write_config(folder: Path, work: Path, source: TensorSource, options: ExportOptions) -> None:
    dtype = options.dtype or _own_dtype(source)
    raw = with_layers(read_json(folder / "config.json"), layer_count(source.shapes()))
    raw.pop("torch_dtype", None)
    write_json(work / "config.json", raw | {"dtype": _CONFIG_NAMES[dtype]})
    write_tensors(work / "model.safetensors", source.shapes(), TORCH_DTYPES[dtype], source.get)


def _own_dtype(source: TensorSource) -> Dtype:
    """That of the last tensor by name, a matrix of a layer or the final norm: merged ones come in fp32."""
    name = max(source.shapes())
    stored = source.get(name).dtype
    names: dict[torch.dtype, Dtype] = {value: key for key, value in TORCH_DTYPES.items()}
    if stored not in names:
        raise CheckpointError(f"{name}: dtype {stored} cannot be exported", param="dtype", received=str(stored))
    return names[stored]


def _write_tokenizer(checkpoint: Checkpoint, work: Path, options: ExportOptions) -> None:
    folder = checkpoint.folder
    shutil.copyfile(folder / "tokenizer.json", work / "tokenizer.json")
    for name in _BESIDE:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, work / name)
    if options.kind == "reranker":
        prompt = choose_prompt(checkpoint, EngineOptions())
        write_json(work / "gigarank.json", {"prompt": prompt.id})
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        write_reranker_layout(work, prompt, tokenizer, read_config(folder).max_position_embeddings)
        return
    if not (folder / "1_Pooling").is_dir():  # a base that was none, or was saved without its layout
        config = read_config(folder)
        write_embedder_layout(work, QWEN3_EMBEDDING_V1, config.hidden_size, config.max_position_embeddings)
        return
    for name in _EMBEDDER:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, work / name)
    for name in _EMBEDDER_FOLDERS:
        if (folder / name).is_dir():
            shutil.copytree(folder / name, work / name)
