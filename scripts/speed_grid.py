"""Pairs a second by documents and their tokens, of one shape with random weights: a Markdown table and JSON.

    python scripts/speed_grid.py [--shape SHAPE] [--dtype DTYPE] [--documents N,N] [--tokens N,N] [--repeats N] [--place FOLDER]

Writes a checkpoint of random numbers below FOLDER (0.6B: 1.2 GB, 8B: 16.4 GB), and removes it. Exit code 2: what cannot be
measured.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gigarank.bench import grid, machine
from gigarank.bench.checkpoint import SHAPES, shape_of
from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.bench.sizes import write
from gigarank.cli.progress import CountBar
from gigarank.engine.reranker import Reranker
from gigarank.errors import GigarankError
from gigarank.types import DTYPES


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="gigarank-grid-", dir=asked.place) as place:
            write(Path(place), asked.shape, asked.layers)
            model = Reranker.load(Path(place), device="cpu", dtype=asked.dtype)
            vocabulary = qwen_tokenizer(shape_of(asked.shape)[0].vocab_size)
            with CountBar("rankings") as bar:
                cells = grid.measure(model, vocabulary, asked.documents, asked.tokens, repeats=asked.repeats, progress=bar)
    except GigarankError as error:
        print(f"grid: error: {error}", file=sys.stderr)
        return 2
    layers = f", {asked.layers} layers" if asked.layers else ""
    print("\n".join(grid.table(f"{asked.shape}{layers}, {asked.dtype}", cells)))
    rows = [{"documents": one.documents, "tokens": one.tokens, "seconds": one.seconds} for one in cells]
    about = {"bench": "grid", "shape": asked.shape, "layers": asked.layers, "dtype": asked.dtype, "cells": rows}
    print(json.dumps(about | {"machine": machine.describe(machine.PACKAGES)}))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="0.6b")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--layers", type=int, help="shorten the model for a look; the result says so")
    parser.add_argument("--documents", type=_numbers, default=grid.DOCUMENTS, help="comma-separated")
    parser.add_argument("--tokens", type=_numbers, default=grid.TOKENS, help="of a document, comma-separated")
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--place", type=Path, help="where the checkpoint is written (the system's folder for temporary files)")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
