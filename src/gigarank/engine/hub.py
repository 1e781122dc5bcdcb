"""Checkpoints of the Hugging Face hub: found in its cache, or fetched into it.

huggingface_hub does the work and owns the cache; HF_HUB_OFFLINE, HF_HOME, HF_TOKEN and HF_ENDPOINT are its switches and keep
their meaning. Invariant: a folder that is given holds the whole checkpoint, every shard of it.
"""

import io
import json
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.utils.tqdm import tqdm

from gigarank import catalogue
from gigarank.engine.download import DownloadProgress
from gigarank.errors import CheckpointError, ModelUnavailable, UnknownModel

_WORDS = ["config.json", "tokenizer.json", "gigarank.json"]
_PATTERNS = [*_WORDS, "*.safetensors", "model.safetensors.index.json"]
_PROBE_SECONDS = 5.0


def cached(repository: str, revision: str | None = None, *, weights: bool = True) -> Path | None:
    """The complete checkpoint in the hub's cache, or None; without `weights` its config and tokenizer are enough. No
    network."""
    try:
        folder = snapshot_download(repository, revision=revision, allow_patterns=_wanted(weights), local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return None if missing_files(Path(folder), weights=weights) else Path(folder)


def fetch(
    repository: str, revision: str | None = None, progress: DownloadProgress | None = None, *, weights: bool = True
) -> Path:
    """Brings the checkpoint into the hub's cache; without `weights` its config and tokenizer.

    Raises UnknownModel where the hub has no such repository or revision for this user, ModelUnavailable where it cannot
    be asked (that is known after seconds: one short request goes before the transfer), CheckpointError where the
    repository holds no whole checkpoint.
    """
    try:
        HfApi().model_info(repository, revision=revision, timeout=_PROBE_SECONDS)
        wanted = _wanted(weights)
        folder = snapshot_download(repository, revision=revision, allow_patterns=wanted, tqdm_class=_bar(progress))
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise _refused(repository, revision, error) from error
    except OfflineModeIsEnabled as error:
        raise _unavailable(repository, "the hub was not asked, because HF_HUB_OFFLINE is set") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, XetDownloadError, httpx2.HTTPError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code == httpx2.codes.NOT_FOUND:
            raise _refused(repository, revision, error) from error  # a mirror that does not send the hub's own codes
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise _unavailable(repository, f"{constants.ENDPOINT} could not be asked: {said}") from error
    except OSError as error:
        raise _unavailable(repository, f"it could not be written to {constants.HF_HUB_CACHE}: {error}") from error
    if missing := missing_files(Path(folder), weights=weights):
        raise CheckpointError(f"{repository}: the repository holds no {', '.join(missing)}", received=missing)
    return Path(folder)


def _wanted(weights: bool) -> list[str]:
    return _PATTERNS if weights else _WORDS


def missing_files(folder: Path, *, weights: bool = True) -> list[str]:
    """What a checkpoint folder lacks: config.json, tokenizer.json, the weights, or single shards that its index names."""
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    if not weights:
        return missing
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            shards = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError):
            return [*missing, "readable model.safetensors.index.json"]
        return missing + sorted(shard for shard in shards if not (folder / str(shard)).is_file())
    return missing if any(folder.glob("*.safetensors")) else [*missing, "*.safetensors"]


def _refused(repository: str, revision: str | None, error: Exception) -> UnknownModel:
    if isinstance(error, GatedRepoError):
        said = "its makers ask for an agreement: accept it on the model's page, then set HF_TOKEN"
    elif isinstance(error, RevisionNotFoundError):
        said = f"the hub has it, but not its revision {revision!r}"
    else:
        said = "the hub has no such repository, or shows it only to others (set HF_TOKEN)"
    if isinstance(error, RevisionNotFoundError):
        return UnknownModel(f"{repository}: {said}", param="revision", received=revision)
    nearest = catalogue.unknown(repository).limit
    return UnknownModel(
        f"{repository}: {said}; nearest known: {', '.join(nearest)}", param="model", limit=nearest, received=repository
    )


def _unavailable(repository: str, said: str) -> ModelUnavailable:
    known = catalogue.find(repository) is not None
    misspelt = "" if known else f" (nearest known names: {', '.join(catalogue.unknown(repository).limit)})"
    return ModelUnavailable(
        f"{repository} is not on this machine (looked in {constants.HF_HUB_CACHE}), and {said}; fetch it where the hub can be "
        f"reached, or copy its folder here and name the folder{misspelt}",
        param="model",
        received=repository,
    )


def _bar(progress: DownloadProgress | None) -> type[tqdm]:
    """A bar for huggingface_hub that draws nothing and reports bytes."""

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.counts_bytes = kwargs.get("unit") == "B"
            own = {"disable": progress is None, "file": io.StringIO()}
            super().__init__(*args, **(kwargs | own))  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            drawn = super().update(n)
            if progress is not None and self.counts_bytes and not self.disable:
                progress("weights", int(self.n), int(self.total or self.n))
            return bool(drawn)

    return Bar
