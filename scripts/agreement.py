"""One pair at an official shape, ours against transformers, layer by layer; a line and JSON.

    python scripts/agreement.py [--shape SHAPE] [--layers N] [--place FOLDER]

Writes a checkpoint of random bf16 numbers below FOLDER (8B: 16.4 GB) and removes it. Both compute in fp32 with one layer at a
time in memory. Exit code 1: the raw logits are further apart than the tolerance.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from gigarank.bench import machine
from gigarank.bench.agreement import TOLERANCE, compare
from gigarank.bench.sizes import write

QUERY = "How do plants turn sunlight into energy?"
DOCUMENT = "Photosynthesis: chlorophyll in the leaves takes up light, and the plant makes sugar of water and carbon dioxide."


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shape", choices=["0.6b", "4b", "8b"], default="8b")
    parser.add_argument("--layers", type=int, help="shorten the model for a look; the result says so")
    parser.add_argument("--place", type=Path, help="where the checkpoint is written (the system's folder for temporary files)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="gigarank-agreement-", dir=asked.place) as place:
        print(f"{asked.shape}: writing random weights", file=sys.stderr)
        prompt = write(Path(place), asked.shape, asked.layers)
        print("one pair by both, layer by layer", file=sys.stderr)
        started = time.perf_counter()
        found = compare(Path(place), prompt, QUERY, DOCUMENT)
    layers = f", {asked.layers} layers" if asked.layers else ""
    print(f"{asked.shape}{layers}, {found.tokens} tokens: ours {found.ours:.6f}, transformers {found.theirs:.6f}")
    result = {"ours": found.ours, "theirs": found.theirs, "difference": found.difference, "tolerance": TOLERANCE}
    whole = {"bench": "agreement", "shape": asked.shape, "layers": asked.layers, "tokens": found.tokens, **result}
    print(json.dumps({**whole, "seconds": time.perf_counter() - started, "machine": machine.describe(machine.PACKAGES)}))
    return 0 if found.difference <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
