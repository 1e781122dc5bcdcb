"""The three official sizes with random weights: loaded and ranked in every precision that fits; a Markdown table and JSON.

    python scripts/sizes.py [--shape SHAPE ...] [--dtype DTYPE ...] [--documents N] [--layers N] [--place FOLDER]

Writes a checkpoint of bf16 numbers below FOLDER (0.6B 1.2 GB, 4B 8 GB, 8B 16.4 GB), loads it once in each precision, each time
in a process of its own, and removes it. 8B in fp32 and bf16 is left out unless named: it does not fit 24 GB. int8 is loaded
twice, the second time from the quantised matrices that the first one left. Exit code 1: more memory than the bound was taken.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gigarank.bench import machine
from gigarank.bench.sizes import FACTOR, ROOM_BYTES, Case, in_own_process, write

USUAL = {"0.6b": ("int8", "bf16", "fp32"), "4b": ("int8", "bf16", "fp32"), "8b": ("int8",)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shape", action="append", choices=[*USUAL, "nano"], help="all three if none is given")
    parser.add_argument("--dtype", action="append", choices=["int8", "bf16", "fp32"], help="those that fit if none is given")
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--layers", type=int, help="shorten the models for a look; the result says so")
    parser.add_argument("--place", type=Path, help="where checkpoints are written (the system's folder for temporary files)")
    asked = parser.parse_args(arguments)
    found: list[dict[str, Any]] = []
    for shape in asked.shape or USUAL:
        for result in _measured(asked, shape):
            print(f"{shape} {result['dtype']}: loaded in {result['load_s']} s", file=sys.stderr)
            found.append(result)
    print(table(found))
    print(json.dumps({"bench": "sizes", "machine": machine.describe(machine.PACKAGES), "results": found}))
    return 0 if all(result["within"] for result in found) else 1


def _measured(asked: argparse.Namespace, shape: str) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="gigarank-sizes-", dir=asked.place) as place:
        folder = Path(place) / "checkpoint"
        os.environ["GIGARANK_CACHE"] = str(Path(place) / "cache")
        print(f"{shape}: writing random weights", file=sys.stderr)
        write(folder, shape, asked.layers)
        for dtype in asked.dtype or USUAL.get(shape, ("int8",)):
            for keep in (True, True) if dtype == "int8" else (False,):
                yield in_own_process(folder, Case(shape, dtype, asked.documents, keep))


def table(found: Sequence[dict[str, Any]]) -> str:
    """A load a row."""
    head = ("shape", "layers", "dtype", "documents", "load", "rank", "weights", "peak memory", f"{FACTOR} x weights + 1 GiB")
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    seen: set[tuple[str, str]] = set()
    for one in found:
        again = (one["shape"], one["dtype"]) in seen
        seen.add((one["shape"], one["dtype"]))
        sizes = [f"{one[key] / ROOM_BYTES:.2f} GiB" for key in ("weights_bytes", "peak_bytes", "bound_bytes")]
        kind = one["dtype"] + (", from the cache" if again else "")
        cells = [one["shape"], one["layers"], kind, one["documents"], f"{one['load_s']} s", f"{one['rank_s']} s", *sizes]
        lines.append("| " + " | ".join(map(str, cells)) + ("" if one["within"] else " (exceeded)") + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
