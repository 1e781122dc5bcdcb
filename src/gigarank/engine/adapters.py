"""A LoRA adapter's folder, as peft writes it: which base it is for, and the base's tensors with it merged in.

Knows files and names; the algebra is the model layer's. Invariant: an adapter is merged into the base that it names, or
refused; nothing of it is left out.
"""

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from gigarank import catalogue
from gigarank.engine.json_file import read_json
from gigarank.engine.presence import ADAPTER_WEIGHTS
from gigarank.errors import CheckpointError
from gigarank.model.adapter import MergedTensors, parse_adapter, read_factors
from gigarank.model.config import ModelConfig
from gigarank.model.layer_stack import StackedTensors, stacked_config
from gigarank.model.weights import TensorDict, TensorSource

CONFIG, WEIGHTS, NOTE = "adapter_config.json", ADAPTER_WEIGHTS, "gigarank.json"


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter and no whole model."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def adapter_folder(path: str | os.PathLike[str]) -> Path:
    """The folder of an adapter that the caller named. Raises CheckpointError where it holds none."""
    folder = Path(path).expanduser()
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            hint = "; save it as safetensors" if (folder / "adapter_model.bin").exists() else ""
            raise CheckpointError(
                f"{folder}: no adapter, the folder holds no {name}{hint}", param="adapter", received=str(path)
            )
    return folder


def base_of(folder: Path) -> str:
    """The name of the base: what gigarank.json says, else peft's config. Raises CheckpointError where neither does."""
    note = read_json(folder / NOTE, "adapter") if (folder / NOTE).is_file() else {}
    name = note.get("base") or read_json(folder / CONFIG, "adapter").get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise CheckpointError(
            f"{folder / CONFIG}: base_model_name_or_path names no base; name the model, and this folder as its adapter",
            param="base_model_name_or_path",
            received=name,
        )
    known = catalogue.find(name)
    return name if known is None else known.name


def merged(
    source: TensorSource, config: ModelConfig, folder: Path, model: catalogue.Model | None
) -> tuple[ModelConfig, TensorSource]:
    """What a base is with the adapter in it; `model` is what the catalogue knows the base as. It has other layers than the base
    where the adapter was made for a stack of them.

    Raises CheckpointError that names the folder and what is wrong: another base, missing, extra or misshaped tensors.
    """
    _require_base(folder, model)
    try:
        adapter = parse_adapter(read_json(folder / CONFIG, "adapter"))
        if adapter.stack is not None:
            config, source = stacked_config(config, adapter.stack), StackedTensors(source, adapter.stack)
        tensors = TensorDict(load_file(folder / WEIGHTS))
        return config, MergedTensors(source, read_factors(tensors, adapter, config))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder / WEIGHTS}: cannot be read as safetensors: {error}", param="adapter") from error
    except CheckpointError as error:
        said = f"{folder}: {error.message} (it was made for {_base_shown(folder)})"
        raise type(error)(said, param=error.param, limit=error.limit, received=error.received) from error


def _require_base(folder: Path, model: catalogue.Model | None) -> None:
    named = catalogue.find(_base_shown(folder))
    if named is not None and model is not None and named.name != model.name:
        raise CheckpointError(
            f"{folder}: the adapter was made for {named.name}, not for {model.name}",
            param="adapter",
            limit=named.name,
            received=model.name,
        )


def _base_shown(folder: Path) -> str:
    try:
        return base_of(folder)
    except CheckpointError:
        return "a base that it does not name"
