"""Where the engine's time goes, part by part, in each precision; a Markdown table and one line of JSON.

    python scripts/profile_parts.py [--shape SHAPE] [--dtype DTYPE ...] [--layers N] [--docs N] [--workload NAME]

Random weights of an official shape; a workload of `gigarank bench engine` once to warm up and once timed. Attention and small
operations are all that is neither product, quantising, text nor head. Exit code 1: they take more than their limit in fp32.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gigarank.bench import machine
from gigarank.bench.checkpoint import shape_of
from gigarank.bench.peers import Ours
from gigarank.bench.profile import REST, SMALL, parts_of
from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.bench.sizes import write
from gigarank.bench.workloads import request, select
from gigarank.types import Dtype

MOST_SHARE = 0.12
DTYPES: tuple[Dtype, ...] = ("fp32", "bf16", "int8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shape", default="0.6b")
    parser.add_argument("--dtype", action="append", choices=DTYPES, help="all three if none is given")
    parser.add_argument("--layers", type=int, help="shorten the model for a look; the result says so")
    parser.add_argument("--docs", type=int, help="documents, instead of the workload's own number")
    parser.add_argument("--workload", default="passages")
    asked = parser.parse_args(arguments)
    shape, prompt = shape_of(asked.shape, asked.layers)
    (workload,) = select(asked.workload, asked.docs)
    asked_for = request(workload, qwen_tokenizer(shape.vocab_size), prompt)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="gigarank-profile-") as place:
        write(Path(place), asked.shape, asked.layers)
        chosen: Sequence[Dtype] = asked.dtype or DTYPES
        for dtype in chosen:
            ours = Ours(Path(place), dtype, prompt)
            ours.scores(asked_for.query, asked_for.documents)
            found[dtype] = parts_of(lambda: ours.scores(asked_for.query, asked_for.documents))  # noqa: B023 - called at once
    print(f"{asked.shape}, {shape.num_hidden_layers} layers, {workload.documents} documents of {workload.tokens} tokens\n")
    print(table(found))
    about = machine.describe(machine.PACKAGES)
    print(json.dumps({"bench": "profile", "shape": asked.shape, "seconds": found, "small": shares(found), "machine": about}))
    return 1 if shares(found).get("fp32", 0.0) > MOST_SHARE else 0


def shares(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """By precision, what attention and small operations take of the whole."""
    return {
        dtype: round(sum(parts.get(name, 0.0) for name in (*SMALL, REST)) / sum(parts.values()), 4)
        for dtype, parts in found.items()
    }


def table(found: dict[str, dict[str, float]]) -> str:
    """Parts down, precisions across: seconds and their share."""
    names = list(dict.fromkeys(name for parts in found.values() for name in parts))
    lines = ["| part | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    for name in names:
        cells = [_cell(parts.get(name, 0.0), sum(parts.values())) for parts in found.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("| whole | " + " | ".join(f"{sum(parts.values()):.2f} s" for parts in found.values()) + " |")
    small = shares(found)
    lines.append("| attention and small operations | " + " | ".join(f"{100 * small[dtype]:.1f}%" for dtype in found) + " |")
    return "\n".join(lines)


def _cell(seconds: float, whole: float) -> str:
    return f"{seconds:.3f} s ({100 * seconds / whole:.1f}%)" if seconds else "-"


if __name__ == "__main__":
    sys.exit(main())
