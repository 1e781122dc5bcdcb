"""What 8 bits cost in quality: nDCG@10 and the order of the candidates in int8 and bf16 against fp32; a Markdown table.

    python scripts/quality_int8.py --data FOLDER [--results FOLDER] [--model MODEL] [--full] [--measured]

FOLDER holds BEIR folders. Every precision is a run of `gigarank eval run` with the same candidates, kept below `--results`; a
run that was ended goes on where it was. A query's correlations are taken over the candidates that both precisions scored, and
averaged over the queries with at least two; a set's row is the mean of its queries. Invariant: every figure is read from a
result, and two results are compared only where their sets are the same.
"""

import argparse
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau, spearmanr

from gigarank.evaluation.report_data import Measured, read_measured

REFERENCE, OTHERS = "fp32", ("bf16", "int8")
SHORT = ("--limit", "40", "--top-k", "20")
METRIC = "ndcg_cut_10"
MOST_LOST_MEAN, MOST_LOST_SET = 0.3, 1.0
"""Points of nDCG@10 that int8 may lose: on average, and on any one set."""


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    precisions = (REFERENCE, *OTHERS)
    if not asked.measured:
        for dtype in precisions:
            _run(asked, dtype)
    runs = {dtype: {one.result.set.name: one for one in read_measured(asked.results / dtype)[0]} for dtype in precisions}
    rows = [_row(name, {dtype: run[name] for dtype, run in runs.items()}) for name in _common(runs)]
    print(table(rows))
    lost = [-row["int8"] for _, row in rows]
    worst, _ = min(rows, key=lambda named: named[1]["int8"])
    print(
        f"\nint8 loses {np.mean(lost):.2f} points of nDCG@10 on average (at most {MOST_LOST_MEAN} wanted), and at most "
        f"{max(lost):.2f}, on {worst} (at most {MOST_LOST_SET} wanted)."
    )
    return 0 if np.mean(lost) <= MOST_LOST_MEAN and max(lost) <= MOST_LOST_SET else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a BEIR folder, or a folder of them")
    parser.add_argument("--results", type=Path, default=Path("results-int8"), help="where results are kept")
    parser.add_argument("--model", default="nano", help="a model's name or folder")
    parser.add_argument("--full", action="store_true", help="every query and 100 candidates, not 40 and 20")
    parser.add_argument("--measured", action="store_true", help="run nothing: only from the results that are there")
    return parser


def _run(asked: argparse.Namespace, dtype: str) -> None:
    program = [sys.executable, "-c", "import sys; from gigarank.cli import main; sys.exit(main())", "eval", "run"]
    settings = ["--data", str(asked.data), "--model", asked.model, "--dtype", dtype, "--max-tokens", "512"]
    settings += ["--output", str(asked.results / dtype), *(("--full",) if asked.full else SHORT)]
    if code := subprocess.run([*program, *settings], check=False, stdout=subprocess.DEVNULL).returncode:
        raise SystemExit(code)


def _common(runs: dict[str, dict[str, Measured]]) -> list[str]:
    """The sets that every precision has. Raises SystemExit where there are none, or where they are not the same data."""
    names = sorted(set.intersection(*(set(run) for run in runs.values())))
    for name in names:
        keys = {(run[name].result.set.fingerprint, run[name].result.first_stage.fingerprint) for run in runs.values()}
        if len(keys) > 1:
            raise SystemExit(f"{name}: the precisions were measured on different data or candidates; empty the results' folder")
    if not names:
        raise SystemExit("there is no set that every precision has results of")
    return names


Row = tuple[str, dict[str, float]]
"""A set's name and its figures."""


def _row(name: str, measured: dict[str, Measured]) -> Row:
    """One set: nDCG@10 in points, its change in each precision, and each one's correlations with fp32."""
    points = {dtype: 100 * one.result.metrics[METRIC].reranked for dtype, one in measured.items()}
    row = {REFERENCE: points[REFERENCE], "queries": float(measured[REFERENCE].result.set.queries)}
    exact = _logits(measured[REFERENCE])
    for dtype in OTHERS:
        kendall, spearman = correlations(exact, _logits(measured[dtype]))
        row |= {dtype: points[dtype] - points[REFERENCE], f"{dtype} tau": kendall, f"{dtype} rho": spearman}
    return name, row


def _logits(measured: Measured) -> dict[str, dict[str, float]]:
    """By query and document."""
    return {
        query: {pair.document: pair.logit for pair in pairs if pair.logit is not None}
        for query, pairs in measured.scores().items()
    }


def correlations(exact: dict[str, dict[str, float]], other: dict[str, dict[str, float]]) -> tuple[float, float]:
    """Kendall's tau-b and Spearman's rho over each query's candidates, averaged over the queries; NaN where there are none."""
    found = []
    for query, logits in exact.items():
        documents = [document for document in logits if document in other.get(query, {})]
        if len(documents) < 2:
            continue
        ours, theirs = [logits[one] for one in documents], [other[query][one] for one in documents]
        if min(len(set(ours)), len(set(theirs))) > 1:  # all candidates equal in one precision: no order to compare
            found.append((kendalltau(ours, theirs).statistic, spearmanr(ours, theirs).statistic))
    return tuple(np.mean(found, axis=0).tolist()) if found else (math.nan, math.nan)


def table(rows: Sequence[Row]) -> str:
    """A set a row, and the means of all."""
    head = ["set", "queries", "fp32 nDCG@10"]
    head += [text for dtype in OTHERS for text in (f"{dtype}, points", "Kendall's tau", "Spearman's rho")]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    numbers = [REFERENCE, *(key for dtype in OTHERS for key in (dtype, f"{dtype} tau", f"{dtype} rho"))]
    mean = {key: float(np.nanmean([row[key] for _, row in rows])) for key in numbers}
    mean["queries"] = sum(row["queries"] for _, row in rows)
    for name, row in (*rows, ("mean", mean)):
        cells = [f"{row[key]:+.2f}" if key in OTHERS else f"{row[key]:.{2 if key == REFERENCE else 3}f}" for key in numbers]
        lines.append(f"| {name} | {row['queries']:.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
