"""The script behind docs/decisions/0003: one command, one JSON line, with both measurements for both kernels."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "gemm_invariance.py"


@pytest.mark.slow
def test_it_prints_one_line_with_speed_and_invariance_of_both_kernels() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "kv"], capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert result["bench"] == "gemm_invariance"
    assert result["shapes"] == ["kv"]
    assert result["threads"] >= 1
    for kernel in ("plain", "packed"):
        speeds = result[kernel]["gflops_by_rows"]
        assert list(speeds) == ["256", "1024", "2048"]
        assert all(speed > 0 for speed in speeds.values())
        variant = result[kernel]["variant_row_counts"]
        assert variant == sorted(set(variant))
        assert 1024 not in variant, "rows of the reference size must equal the reference"


@pytest.mark.slow
def test_the_8_bit_products_are_measured_level_by_level_and_ours_is_exact_and_independent() -> None:
    script = SCRIPT.with_name("gemm_int8.py")
    command = [sys.executable, str(script), "--rows", "16", "--level", "default", "--level", "avx2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *lines, last = done.stdout.splitlines()
    assert lines[0] == "| product, GFLOP/s | default | avx2 |"
    results = json.loads(last)["results"]
    for level in ("default", "avx2"):
        ours = results[level]["onednn.qlinear_pointwise u8, quantising counted"]
        assert ours["gflops"] > 0
        assert (ours["exact"], ours["rows"]) == (True, True), level
    assert any(line.startswith("| onednn.qlinear_pointwise u8") and "wrong" not in line for line in lines)
