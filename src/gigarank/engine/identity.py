"""What a model is, in 64 hexadecimal digits: equal where the scores come from the same bytes.

The whole fingerprint reads whole files, so it is asked for only where results leave the machine; the quick one is for what
stays on it. Invariant of the whole one: any change of weights, config, tokenizer, prompt
note or adapter gives another fingerprint; a folder's name and place do not count.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from gigarank.engine.download import file_sha256
from gigarank.engine.store import Checkpoint

_COUNTED = ("config.json", "tokenizer.json", "gigarank.json", "*.safetensors", "model.safetensors.index.json")
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_ENDS_BYTES = 65_536  # of a file's beginning and end, which count beside its size and time


def fingerprint(folder: Path, adapter: Path | None = None) -> str:
    """sha256 over the names and hashes of a checkpoint's files, and of the adapter's that is merged into it."""
    files = sorted({path for pattern in _COUNTED for path in folder.glob(pattern)})
    if adapter is not None:
        files += [adapter / name for name in _ADAPTER]
    lines = "".join(f"{file_sha256(path)}  {path.name}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def fingerprint_of(checkpoint: Checkpoint | None) -> str:
    """The fingerprint of where a model came from; "" for one that never was a file."""
    return "" if checkpoint is None else fingerprint(checkpoint.folder, checkpoint.adapter)


def quick_fingerprint(checkpoint: Checkpoint, purpose: str) -> str:
    """sha256 over `purpose`, and over name, size, time and both ends of every file that the weights depend on: for what is
    made from weights faster than whole files are read."""
    digest = hashlib.sha256(purpose.encode())
    for path in _weight_files(checkpoint):
        known = path.stat()
        digest.update(f"\n{path.name} {known.st_size} {known.st_mtime_ns}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_ENDS_BYTES))
            file.seek(max(0, known.st_size - _ENDS_BYTES))
            digest.update(file.read(_ENDS_BYTES))
    return digest.hexdigest()


def _weight_files(checkpoint: Checkpoint) -> Iterator[Path]:
    yield from sorted(checkpoint.folder.glob("*.safetensors"))
    yield checkpoint.folder / "config.json"
    if checkpoint.adapter is not None:
        yield from (checkpoint.adapter / name for name in _ADAPTER)
