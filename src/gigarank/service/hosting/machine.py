"""What this machine has for models: memory that a container may narrow, and how fast a file is read.

Knows files of the system and no models. Invariant: a limit that cannot be read is no limit, and never an error.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_SAMPLE_BYTES = 32 << 20
_CHUNK_BYTES = 1 << 20


def memory_bytes(limits: Sequence[Path] = _CGROUP_LIMITS) -> int:
    """The machine's memory, or its container's (cgroup v2, v1) where that is less."""
    least = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in limits:
        least = min(least, _limit(path) or least)
    return least


def read_bytes_per_s(paths: Sequence[Path]) -> float:
    """Measured on the first 32 MiB of the largest of the files; 0.0 where there is nothing to read.

    What the system has in its cache is read as fast as it will be when the model is loaded.
    """
    largest = max(paths, key=lambda path: path.stat().st_size, default=None)
    if largest is None:
        return 0.0
    began, read = time.perf_counter(), 0
    with largest.open("rb", buffering=0) as file:
        while read < _SAMPLE_BYTES and (chunk := file.read(_CHUNK_BYTES)):
            read += len(chunk)
    return read / max(time.perf_counter() - began, 1e-6)


def _limit(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
