"""Speed, exactness and row independence of torch's 8-bit matrix products on a CPU, beside fp32 and bf16; a Markdown table.

    python scripts/gemm_int8.py [--rows N] [--level LEVEL ...]

Every level of instructions runs in a process of its own, held to it by ONEDNN_MAX_CPU_ISA and ATEN_CPU_CAPABILITY; `default`
is what the CPU has. The products are those of a Qwen3-Reranker-0.6B layer, each once. `exact`: the sums are those of whole
numbers in float64. `rows`: a row's bits do not depend on the number of rows, at multiples of 16. MKL and fbgemm choose their
instructions by themselves in part, so that below `default` their figures may flatter them. Knows no model; its figures hold
for the CPU it runs on.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from gigarank.model.quantized import QuantizedLinear, quantize

SHAPES = ((1024, 2048), (1024, 1024), (1024, 1024), (2048, 1024), (1024, 3072), (1024, 3072), (3072, 1024))
LEVELS = {
    "default": {},
    "avx512_vnni": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "avx2_vnni": {"ONEDNN_MAX_CPU_ISA": "AVX2_VNNI", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
ROUNDS, SLOW_S = 5, 1.0
COUNTED = (16, 48, 64, 128, 256)
Product = Callable[[Tensor], Tensor]


def products(weight: Tensor) -> Iterator[tuple[str, Product]]:
    """Each by its name, on a weight (out, in): fp32 rows in, whatever it gives out."""
    packed, narrow = torch.ops.mkldnn._reorder_linear_weight, weight.bfloat16()
    wide = packed(weight, None)
    yield "fp32 packed", lambda x: torch.ops.mkldnn._linear_pointwise(x, wide, None, "none", [], "")
    yield "fp32 plain", lambda x: torch.nn.functional.linear(x, weight)
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        half = packed(narrow, None)
        yield "bf16 packed", lambda x: torch.ops.mkldnn._linear_pointwise(x.bfloat16(), half, None, "none", [], "")
    matrix = quantize(weight)
    ours = QuantizedLinear(matrix)
    yield "onednn.qlinear_pointwise u8, quantising counted", ours
    yield "the same, the product alone", lambda x: ours._product(x.to(torch.uint8))
    signed = torch.ops.onednn.qlinear_prepack(matrix.values, None)
    zeros = torch.zeros(len(weight), dtype=torch.int32)
    yield (
        "onednn.qlinear_pointwise s8",
        lambda x: torch.ops.onednn.qlinear_pointwise(
            x.to(torch.int8), 1.0, 0, signed, matrix.scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        ),
    )
    yield "_int_mm", lambda x: torch._int_mm(x.to(torch.int8), matrix.values.T)
    yield "_weight_int8pack_mm", lambda x: torch._weight_int8pack_mm(x.bfloat16(), matrix.values, matrix.scales.bfloat16())
    yield from _dynamic(matrix.values, matrix.scales)


def _dynamic(values: Tensor, scales: Tensor) -> Iterator[tuple[str, Product]]:
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    stored = torch._make_per_channel_quantized_tensor(values, scales.double(), zeros, 0)
    for engine in ("fbgemm", "onednn"):
        torch.backends.quantized.engine = engine
        yield f"quantized.linear_dynamic {engine}", _one_scale(torch.ops.quantized.linear_prepack(stored, None))


def _one_scale(weight: Any) -> Product:
    return lambda x: torch.ops.quantized.linear_dynamic(x, weight, False)


def _inputs(name: str, rows: int, width: int) -> Tensor:
    """What a product reads: whole numbers where it takes bytes, already in the range of the signed or unsigned ones."""
    x = torch.randn(rows, width, generator=torch.Generator().manual_seed(1))
    if name in ("onednn.qlinear_pointwise s8", "_int_mm"):
        return (x * 40).round_().clamp_(-127, 127).to(torch.int8)
    return (x * 40 + 128).round_().clamp_(0, 255).to(torch.uint8) if name.startswith("the same") else x


def _exact(name: str, product: Product, x: Tensor, weight: Tensor) -> bool | None:
    """None for a product that keeps its whole numbers to itself."""
    matrix = quantize(weight)
    if name not in ("onednn.qlinear_pointwise s8", "_int_mm") and "quantising counted" not in name:
        return None
    scales = matrix.scales.double()
    if "quantising counted" in name:
        ours = QuantizedLinear(matrix)
        rows = ours.prepare(x)
        sums = (rows.values.double() - ours.levels - 1) @ matrix.values.double().T * scales * rows.scales
    else:
        sums = x.double() @ matrix.values.double().T * (1.0 if name == "_int_mm" else scales)
    return bool(torch.allclose(product(x).double(), sums, rtol=1e-5, atol=1e-9))


def _seconds(product: Product, x: Tensor) -> float:
    """The median of a few rounds after one that warms up; a product slower than SLOW_S runs once."""
    taken = []
    for turn in range(ROUNDS + 1):
        start = time.perf_counter()
        product(x)
        taken.append(time.perf_counter() - start)
        if turn == 0 and taken[0] > SLOW_S:
            return taken[0]
    return statistics.median(taken[1:])


@torch.inference_mode()
def measure(rows: int) -> dict[str, dict[str, Any]]:
    """By product: GFLOP/s over the layer, and what holds of its results on its first matrix."""
    torch.manual_seed(0)
    found: dict[str, dict[str, Any]] = {}
    seconds: dict[str, float] = {}
    for index, (inputs, outputs) in enumerate(SHAPES):
        weight = torch.randn(outputs, inputs) / inputs**0.5
        for name, product in products(weight):
            x = _inputs(name, rows, inputs)
            seconds[name] = seconds.get(name, 0.0) + _seconds(product, x)
            if index == 0:
                small = x[: max(COUNTED)]
                whole = product(small)
                same = all(torch.equal(product(small[:count].contiguous()), whole[:count]) for count in COUNTED)
                found[name] = {"exact": _exact(name, product, small, weight), "rows": same}
    flop = rows * sum(2 * inputs * outputs for inputs, outputs in SHAPES)
    return {name: {"gflops": round(flop / seconds[name] / 1e9, 1), **known} for name, known in found.items()}


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Products down, levels across; each GFLOP/s, and what does not hold."""
    names = list(dict.fromkeys(name for level in results.values() for name in level))
    lines = ["| product, GFLOP/s | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for name in names:
        cells = [_cell(level.get(name)) for level in results.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    wrong = ["wrong sums"] * (found["exact"] is False) + ["rows depend"] * (not found["rows"])
    return f"{found['gflops']:g}" + (f" ({', '.join(wrong)})" if wrong else "")


def main() -> None:
    parser = argparse.ArgumentParser(description="torch's 8-bit products on this CPU")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--level", action="append", choices=list(LEVELS), help="all if none is given")
    parser.add_argument("--here", action="store_true", help="measure in this process, as it is held; prints JSON")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.here:
        print(json.dumps(measure(given.rows)))
        return
    results = {}
    for level in given.level or LEVELS:
        command = [sys.executable, __file__, "--here", "--rows", str(given.rows)]
        done = subprocess.run(command, env=os.environ | LEVELS[level], stdout=subprocess.PIPE, check=True, text=True)
        results[level] = json.loads(done.stdout)
    print(table(results))
    print(
        json.dumps({"bench": "gemm_int8", "torch": torch.__version__, "threads": torch.get_num_threads(), "results": results})
    )


if __name__ == "__main__":
    main()
