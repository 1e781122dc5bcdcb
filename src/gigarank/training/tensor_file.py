"""A safetensors file written tensor by tensor, so that no whole model is in memory.

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
from torch import Tensor

NAMES: dict[torch.dtype, str] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
}


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
