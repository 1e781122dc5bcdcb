"""The race's rows as figures and as a table. Arithmetic and text only.

Invariant: a ratio is the median of the ratios within each round, and above 1 where ours is faster.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import combinations

from gigarank.bench.race_entries import Entry
from gigarank.bench.summary import ratio
from gigarank.types import JsonObject

HEAD = "| workload | contestant | median | pairs/s | beside it | ours is faster | largest difference of a logit | same order |"


def difference(found: Sequence[float], expected: Sequence[float]) -> float:
    """The largest; infinity where a score is no number."""
    each = [abs(one - other) for one, other in zip(found, expected, strict=True)]
    return max(each, default=0.0) if all(math.isfinite(one) for one in each) else math.inf


def same_order(found: Sequence[float], expected: Sequence[float]) -> float:
    """The share of pairs of documents that both put in the same order; 1 where there is no pair to put in one."""
    pairs = [(a, b) for a, b in combinations(range(len(expected)), 2) if expected[a] != expected[b]]
    alike = sum((found[a] - found[b]) * (expected[a] - expected[b]) > 0 for a, b in pairs)
    return alike / len(pairs) if pairs else 1.0


def measured(entry: Entry, documents: int, theirs: Sequence[float], ours: Sequence[float]) -> JsonObject:
    """A row's figures of time: seconds of each round, theirs and those of ours that it took turns with."""
    typical = statistics.median(theirs)
    return {
        "name": entry.name,
        "against": entry.against,
        "tolerance": entry.tolerance,
        "reason": "",
        "median_s": _short(typical),
        "pairs_per_second": _short(documents / typical),
        "ours_is_faster": ratio(theirs, ours),
        "seconds": [_short(one) for one in theirs],
        "ours_seconds": [_short(one) for one in ours],
    }


def unfit(entry: Entry, reason: str) -> JsonObject:
    """The row of one that was not measured."""
    return {"name": entry.name, "against": entry.against, "reason": reason}


def reference_row(name: str, documents: int, rows: Sequence[JsonObject]) -> JsonObject:
    """The reference's own row, of all its turns beside the others."""
    seconds = [one for row in rows if row["against"] == name and not row["reason"] for one in row["ours_seconds"]]
    if not seconds:
        return {"name": name, "against": "", "reason": "nobody raced it"}
    typical = statistics.median(seconds)
    figures = {"median_s": _short(typical), "pairs_per_second": _short(documents / typical), "seconds": seconds}
    return {"name": name, "against": "", "reason": ""} | figures


def table(result: JsonObject) -> str:
    """A contestant and workload a row, those that did not run with their reason, then everybody's versions and flags."""
    lines = [HEAD, "|---|---|---|---|---|---|---|---|"]
    for one in result["results"]:
        lines += [_line(one["workload"], row) for row in one["rows"]]
    lines += [_failed("-", name, reason) for name, reason in result.get("absent", {}).items()]
    lines.append("")
    lines += [f"- {name}: {about['how']}" for name, about in result["contestants"].items()]
    return "\n".join(lines)


def _line(workload: str, row: JsonObject) -> str:
    if row["reason"]:
        return _failed(workload, row["name"], row["reason"])
    figures = f"{row['median_s']:.3g} s | {row['pairs_per_second']:.3g}"
    if not row["against"]:
        return f"| {workload} | {row['name']} | {figures} | | | | |"
    found = row["ours_is_faster"]
    shown = f"{found['median']:.2f} ({found['min']:.2f} to {found['max']:.2f})"
    checked = f"{row['max_logit_difference']:.1e} | {row['same_order']:.3f}"
    return f"| {workload} | {row['name']} | {figures} | {row['against']} | {shown} | {checked} |"


def _failed(workload: str, name: str, reason: str) -> str:
    return f"| {workload} | {name} | {reason.replace('|', '/')} | | | | | |"


def _short(value: float) -> float:
    return float(f"{value:.4g}")
