"""One pair of 32,768 tokens beside what its arithmetic alone takes: a Markdown table and JSON.

    python scripts/long_context.py [--shape SHAPE] [--tokens N] [--layers N] [--place FOLDER]

Writes a checkpoint of random numbers (0.6B: 1.2 GB), ranks one pair in fp32, times its matrix products, and counts attention's
operations at the rate of torch's kernel. With all 28 layers of 0.6B it takes about half an hour on two cores.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gigarank.bench import machine
from gigarank.bench.long_context import RATE_TOKENS, measure
from gigarank.bench.sizes import write


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shape", choices=["0.6b", "4b", "nano"], default="0.6b")
    parser.add_argument("--tokens", type=int, default=32_768, help="of the whole prompt")
    parser.add_argument("--layers", type=int, help="shorten the model; the result says so")
    parser.add_argument("--rate-tokens", type=int, default=RATE_TOKENS, help="at which attention's rate is measured")
    parser.add_argument("--place", type=Path, help="where the checkpoint is written (the system's folder for temporary files)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="gigarank-long-", dir=asked.place) as place:
        print(f"{asked.shape}: writing random weights", file=sys.stderr)
        write(Path(place), asked.shape, asked.layers)
        found = measure(Path(place), asked.shape, asked.tokens, asked.rate_tokens)
    print(table(found))
    print(json.dumps({"bench": "long-context", "shape": asked.shape, **found, "machine": machine.describe(machine.PACKAGES)}))
    return 0


def table(found: dict[str, Any]) -> str:
    """One row: the pair, its parts, and the ratio."""
    gigabytes = {name: f"{found[name] / 2**30:.2f} GiB" for name in ("weights_bytes", "peak_bytes")}
    cells = {
        "layers": found["layers"],
        "tokens": f"{found['tokens']:,}",
        "whole": f"{found['whole_s']} s",
        "products": f"{found['products_s']} s",
        "attention at torch's rate": f"{found['attention_s']} s ({found['attention_gflop_per_s']} GFLOP/s)",
        "whole / both": found["ratio"],
        "weights": gigabytes["weights_bytes"],
        "peak memory": gigabytes["peak_bytes"],
    }
    return "\n".join(
        ["| " + " | ".join(cells) + " |", "|---" * len(cells) + "|", "| " + " | ".join(map(str, cells.values())) + " |"]
    )


if __name__ == "__main__":
    sys.exit(main())
