"""Quantised matrices on disk, so that a model's second loading in int8 reads half as much and rounds nothing.

One file a matrix, in a folder named after the checkpoint's files and the adapter's. Knows files; the rounding is the model
layer's. Invariants: a file has its name only when it is whole; one that is another checkpoint's, another matrix's or damaged
is made anew from the weights; a disk that takes nothing costs the next loading its haste and this one nothing.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gigarank.engine.identity import quick_fingerprint
from gigarank.engine.store import Checkpoint
from gigarank.model.quantized import QuantizedMatrix, quantize

_VERSION = "gigarank int8 2"
"""Raised whenever the same weight would become other numbers."""
_log = logging.getLogger(__name__)


class QuantizedCache:
    """The matrices of one checkpoint, below `cache`."""

    def __init__(self, cache: Path, checkpoint: Checkpoint) -> None:
        self.fingerprint = quick_fingerprint(checkpoint, _VERSION)
        self.folder = cache / "quantized" / self.fingerprint[:32]
        self._writable = True

    def matrix(self, name: str, read: Callable[[], Tensor]) -> QuantizedMatrix:
        """The matrix as it was kept; else quantised from what `read` gives, and kept."""
        path = self.folder / f"{name}.safetensors"
        if path.is_file():
            kept = self._kept(path, name)
            if kept is not None:
                return kept
            _log.warning("%s: damaged, or of other weights; made anew", path)
        made = quantize(read())
        self._keep(path, name, made)
        return made

    def _kept(self, path: Path, name: str) -> QuantizedMatrix | None:
        """None where the file does not hold, bit by bit, what was written for this matrix."""
        try:
            with safe_open(path, framework="pt") as opened:
                found = QuantizedMatrix(opened.get_tensor("values"), opened.get_tensor("scales").clone())
                if opened.metadata() != self._about(name, found):
                    return None
        except (SafetensorError, OSError):
            return None
        return found

    def _keep(self, path: Path, name: str, made: QuantizedMatrix) -> None:
        if not self._writable:
            return
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file({"values": made.values, "scales": made.scales}, beside, metadata=self._about(name, made))
            beside.replace(path)
        except (SafetensorError, OSError) as error:
            self._writable = False
            with suppress(OSError):
                beside.unlink()
            _log.warning("%s: quantised weights cannot be kept: %s", self.folder, error)

    def _about(self, name: str, matrix: QuantizedMatrix) -> dict[str, str]:
        digest = hashlib.sha256()
        for tensor in (matrix.values, matrix.scales):
            digest.update(tensor.contiguous().view(torch.uint8).numpy().data)
        return {"fingerprint": self.fingerprint, "name": name, "sha256": digest.hexdigest()}
