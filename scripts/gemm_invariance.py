"""Speed and row invariance of the two fp32 matrix products that torch has on a CPU; prints one JSON line.

    python scripts/gemm_invariance.py [SHAPE ...]

`plain` is torch.nn.functional.linear (MKL in torch's x86 builds), `packed` is oneDNN's product on a weight packed
once. The shapes are the matrices of a Qwen3-Reranker-0.6B layer, each once. A row count is variant if some row of a
product of so many rows differs, in any bit, from the same row of a product of `REFERENCE_ROWS` rows. Knows no model;
its figures hold for the CPU it runs on.
"""

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

SHAPES = {"q": (1024, 2048), "kv": (1024, 1024), "o": (2048, 1024), "gate_up": (1024, 3072), "down": (3072, 1024)}
TIMED_ROWS = (256, 1024, 2048)
REFERENCE_ROWS = 1024
OFFSETS = (0, 7, 100)
ROUNDS = 5
ROW_COUNTS = (*range(1, 33), *range(40, 257, 8), 320, 384, 400, 448, 512, 528, 640, 768, 896, 1000, 1024)

Product = Callable[[Tensor], Tensor]


def products(weight: Tensor) -> dict[str, Product]:
    """The two kernels on one weight (out, in)."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    return {
        "plain": lambda x: torch.nn.functional.linear(x, weight),
        "packed": lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], ""),
    }


def variant_row_counts(product: Product, x: Tensor) -> list[int]:
    reference = product(x[:REFERENCE_ROWS])
    return [count for count in ROW_COUNTS if not _is_invariant(product, x, reference, count)]


def _is_invariant(product: Product, x: Tensor, reference: Tensor, count: int) -> bool:
    for offset in OFFSETS:
        rows = product(x[offset : offset + count].contiguous())
        shared = min(count, REFERENCE_ROWS - offset)
        if not torch.equal(rows[:shared], reference[offset : offset + shared]):
            return False
    return True


def interleaved_seconds(kernels: dict[str, Product], x: Tensor) -> dict[str, float]:
    """The median time of each kernel over rounds that run all of them, so that other load hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in kernels}
    for turn in range(ROUNDS + 1):
        for name, product in kernels.items():
            start = time.perf_counter()
            product(x)
            if turn:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def measure(names: list[str]) -> dict[str, Any]:
    torch.manual_seed(0)
    seconds = {name: dict.fromkeys(TIMED_ROWS, 0.0) for name in ("plain", "packed")}
    variant: dict[str, set[int]] = {"plain": set(), "packed": set()}
    for inputs, outputs in (SHAPES[name] for name in names):
        kernels = products(torch.randn(outputs, inputs) / inputs**0.5)
        x = torch.randn(max(*TIMED_ROWS, REFERENCE_ROWS + max(OFFSETS)), inputs)
        for name, product in kernels.items():
            variant[name].update(variant_row_counts(product, x))
        for rows in TIMED_ROWS:
            for name, taken in interleaved_seconds(kernels, x[:rows]).items():
                seconds[name][rows] += taken
    flop = sum(2 * inputs * outputs for inputs, outputs in (SHAPES[name] for name in names))  # one row
    return {name: _summary(flop, seconds[name], variant[name]) for name in seconds}


def _summary(flop: int, seconds: dict[int, float], variant: set[int]) -> dict[str, Any]:
    return {
        "gflops_by_rows": {str(rows): round(flop * rows / taken / 1e9, 1) for rows, taken in seconds.items()},
        "variant_row_counts": sorted(variant),
        "invariant_from_2_rows": not variant - {1},
        "invariant_at_multiples_of_16": not [count for count in variant if count % 16 == 0],
    }


def main() -> None:
    names = sys.argv[1:] or list(SHAPES)
    machine = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "shapes": names,
    }
    print(json.dumps({"bench": "gemm_invariance", **machine, **measure(names)}))


if __name__ == "__main__":
    main()
