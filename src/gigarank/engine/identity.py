"""What a model is, in 64 hexadecimal digits: equal where the scores come from the same bytes.

Reads whole files, so it is asked for only where results are kept. Invariant: any change of weights, config, tokenizer, prompt
note or adapter gives another fingerprint; a folder's name and place do not count.
"""

import hashlib
from pathlib import Path

from gigarank.engine.download import file_sha256
from gigarank.engine.store import Checkpoint

_COUNTED = ("config.json", "tokenizer.json", "gigarank.json", "*.safetensors", "model.safetensors.index.json")
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


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
