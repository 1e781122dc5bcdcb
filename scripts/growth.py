"""How cost grows with documents, their length, the query's length and threads: SVG plots, a table, one line of JSON.

    python scripts/growth.py [--shape SHAPE] [--dtype DTYPE] [--layers N] [--quick] [--repeats N] [--out FOLDER]
                             [--documents N,N] [--document-tokens N,N] [--query-tokens N,N] [--threads N,N]

Random weights of an official shape. An axis given as "" is not measured. Exit code 2: an option that cannot be measured.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gigarank.bench import machine
from gigarank.bench.checkpoint import SHAPES, shape_of
from gigarank.bench.growth import QUICK, Steps, check, measure
from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.bench.sizes import write
from gigarank.cli.progress import CountBar
from gigarank.engine.reranker import Reranker
from gigarank.errors import GigarankError
from gigarank.evaluation.plots import Line, plot_growth, to_file
from gigarank.types import DTYPES, JsonObject

TITLES = {
    "documents": "Pairs a second over the number of documents",
    "document_tokens": "Pairs a second over the length of the documents",
    "query_tokens": "Pairs a second over the length of the query",
}
LABELS = {"documents": "documents", "document_tokens": "tokens of a document", "query_tokens": "tokens of the query"}


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    steps = _steps(asked)
    try:
        check(steps, asked.repeats, os.cpu_count() or 1)
        shape, _ = shape_of(asked.shape, asked.layers)
    except GigarankError as error:
        print(f"growth: error: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="gigarank-growth-") as place:
        write(Path(place), asked.shape, asked.layers)
        model = Reranker.load(Path(place), device="cpu", dtype=asked.dtype)
        with CountBar("rankings") as bar:
            found = measure(model, qwen_tokenizer(shape.vocab_size), steps, repeats=asked.repeats, progress=bar)
    asked.out.mkdir(parents=True, exist_ok=True)
    written = draw(found["points"], asked.out)
    print(f"{asked.shape}, {shape.num_hidden_layers} layers, {asked.dtype}, {asked.repeats} rounds\n\n{table(found)}\n")
    about: JsonObject = {"bench": "growth", "shape": asked.shape, "layers": shape.num_hidden_layers, "dtype": asked.dtype}
    about |= found | {"plots": written, "linear": model.numerics.linear, "machine": machine.describe(machine.PACKAGES)}
    print(json.dumps(about))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shape", default="0.6b", choices=list(SHAPES))
    parser.add_argument("--dtype", default="fp32", choices=DTYPES)
    parser.add_argument("--layers", type=int, help="shorten the model for a look; the result says so")
    parser.add_argument("--quick", action="store_true", help="few steps, none of them long")
    parser.add_argument("--repeats", type=int, default=2, help="rounds; every step runs once a round")
    parser.add_argument("--out", type=Path, default=Path("growth"), help="the folder of the plots")
    for axis in ("documents", "document-tokens", "query-tokens", "threads"):
        parser.add_argument(f"--{axis}", type=_numbers, help="several with commas, instead of the usual steps")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part.replace("_", "")) for part in text.split(",") if part.strip())


def _steps(asked: argparse.Namespace) -> Steps:
    usual = QUICK if asked.quick else Steps()
    cores = os.cpu_count() or 1
    usual = replace(usual, threads=tuple(number for number in usual.threads if number <= cores))
    given = {name: getattr(asked, name) for name in ("documents", "document_tokens", "query_tokens", "threads")}
    return replace(usual, **{name: value for name, value in given.items() if value is not None})


def draw(points: Sequence[JsonObject], folder: Path) -> list[str]:
    """One plot an axis, a line for each number of threads; gives the files' names."""
    written = []
    for axis in dict.fromkeys(point["axis"] for point in points):
        own = [point for point in points if point["axis"] == axis]
        lines = [
            Line(
                f"{threads} thread{'' if threads == 1 else 's'}",
                tuple((point["value"], point["pairs_per_second"]) for point in own if point["threads"] == threads),
            )
            for threads in dict.fromkeys(point["threads"] for point in own)
        ]
        name = f"{axis.replace('_', '-')}.svg"
        (folder / name).write_text(to_file(plot_growth(lines, TITLES[axis], LABELS[axis])), encoding="utf-8")
        written.append(name)
    return written


def table(found: JsonObject) -> str:
    """A step a row."""
    lines = ["| axis | value | threads | documents | pairs/s | tokens read/s |", "|---|---|---|---|---|---|"]
    for point in found["points"]:
        cells = [LABELS[point["axis"]], f"{point['value']:,}", str(point["threads"]), f"{point['documents']:,}"]
        cells += [f"{point['pairs_per_second']:.3g}", f"{point['read_tokens_per_second']:,.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"\n{LABELS[one['axis']]} {one['value']:,} left out: {one['reason']}" for one in found["left_out"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
