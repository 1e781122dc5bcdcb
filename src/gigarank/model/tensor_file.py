"""A safetensors file read and written tensor by tensor, so that no whole model is in memory.

The layout is safetensors' own: eight bytes of length, a JSON header, the numbers. Knows names and numbers. Invariant: the file
has its name only when it is whole; a failure leaves what was there before.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gigarank.errors import CheckpointError

NAMES: dict[torch.dtype, str] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
}
_MAPPED_BYTES = 2**28


class MappedFile:
    """A file that is mapped anew after every `_MAPPED_BYTES` that were read of it. Pages stay in memory as long as their
    mapping, and a mapping as long as a tensor of it: so what was read and converted goes again, and what is kept stays. Vectors
    are copied: a norm's few numbers would keep all matrices that were read beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_bytes = 0
        self._opened = self._open()

    def names(self) -> list[str]:
        return list(self._opened.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._opened.get_slice(name).get_shape())

    def get(self, name: str) -> Tensor:
        if self._read_bytes > _MAPPED_BYTES:
            self._opened, self._read_bytes = self._open(), 0
        tensor: Tensor = self._opened.get_tensor(name)
        self._read_bytes += tensor.numel() * tensor.element_size()
        return tensor.clone() if tensor.dim() == 1 else tensor

    def _open(self) -> Any:
        try:
            return safe_open(self.path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{self.path}: cannot be read as safetensors: {error}", param="model") from error


def write_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype, get: Callable[[str], Tensor]) -> None:
    """Writes all tensors of `shapes` in one `dtype`; `get` is asked for each once, in the order of the names."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(_header(shapes, dtype))
            for name in sorted(shapes):
                file.write(_bytes(get(name).to(dtype)))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink()


def _header(shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in sorted(shapes):
        stop = start + torch.Size(shapes[name]).numel() * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(shapes[name]), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
