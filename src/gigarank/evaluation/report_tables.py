"""Tables of a report as texts in rows, before they are HTML or Markdown.

Knows rows and how a figure is written; no markup. Invariant: every row has as many cells as the table has headings, and its
first cell names it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gigarank.evaluation.report_data import Measured
from gigarank.evaluation.report_rows import CostRow, Row

_FINGERPRINT = 12  # characters of a hash that are shown; the results hold it whole


@dataclass(frozen=True, slots=True)
class Table:
    """`texts`: how many of the first columns are words; the others are numbers."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def interval(values: tuple[float, float] | None) -> str:
    return "" if values is None else f"{values[0]:+.4f} to {values[1]:+.4f}"


def row_table(caption: str, rows: Sequence[Row], *, published: bool = False) -> Table:
    """Means and what they are worth; a column for models where there are several, for fused figures where there are any."""
    several = len({row.model for row in rows}) > 1
    fused = any(row.fused is not None for row in rows)
    headings = ["name", *(["model"] if several else []), "metric", "queries", "first stage", "reranked"]
    headings += [
        *(["fused"] if fused else []),
        "oracle",
        "difference, 95%",
        "reranked is",
        *(["published"] if published else []),
    ]
    return Table(
        caption,
        tuple(headings),
        tuple(
            (
                row.name,
                *([row.model] if several else []),
                row.metric,
                f"{row.queries:,}",
                number(row.first_stage),
                number(row.reranked),
                *([number(row.fused)] if fused else []),
                number(row.oracle),
                interval(row.interval),
                row.verdict,
                *(["" if row.published is None else f"{row.published:.2f}"] if published else []),
            )
            for row in rows
        ),
        texts=3 if several else 2,
    )


def cost_table(rows: Sequence[CostRow]) -> Table:
    return Table(
        "What scoring cost",
        ("name", "model", "pairs", "tokens", "seconds", "pairs/s", "tokens/s"),
        tuple(
            (
                row.name,
                row.model,
                f"{row.pairs:,}",
                f"{row.tokens:,}",
                f"{row.seconds:.1f}",
                f"{row.pairs_per_second:.1f}",
                f"{row.tokens_per_second:.0f}",
            )
            for row in rows
        ),
        texts=2,
    )


def provenance_table(measured: Sequence[Measured]) -> Table:
    """What all results agree on, and, where they do not, every value."""
    values: dict[str, list[str]] = {}
    for one in measured:
        for name, value in _origin(one).items():
            found = values.setdefault(name, [])
            if value not in found:
                found.append(value)
    return Table("How the figures were made", ("what", "value"), tuple((k, "; ".join(v)) for k, v in values.items()), texts=2)


def _origin(one: Measured) -> dict[str, str]:
    result, made = one.result, one.result.provenance
    machine = {name: value for name, value in made.machine.items() if name not in ("versions", "load_average")}
    return {
        "model": result.model.name,
        "weights": result.model.fingerprint,
        "prompt": result.model.prompt,
        "instruction": "the prompt's own, or the queries'" if result.instruction is None else result.instruction,
        "first stage": f"{result.first_stage.name}, scores by {result.first_stage.scores or result.first_stage.name}",
        "candidates a query, at most": f"{result.first_stage.top_k:,}",
        "queries a set, at most": "all" if result.limit is None else f"{result.limit:,}",
        "fusion weight": "not fused" if result.fuse_weight is None else f"{result.fuse_weight:g}",
        "numerics": _listed(result.numerics),
        "code": f"gigarank {made.code_version}, commit {made.commit or 'not known'}",
        "packages": _listed(made.packages),
        "machine": _listed(machine),
    }


def _listed(values: dict[str, Any]) -> str:
    plain = {name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for name, value in values.items()}
    return ", ".join(f"{name} {value}" for name, value in plain.items())


def set_provenance_table(measured: Sequence[Measured]) -> Table:
    """Each result's data, when it was made, and what failed; fingerprints shortened."""
    return Table(
        "The results",
        ("set", "model", "data", "key", "started", "finished", "failed pairs"),
        tuple(
            (
                one.result.set.name,
                one.result.model.name,
                one.result.set.fingerprint[:_FINGERPRINT],
                one.result.key[:_FINGERPRINT],
                one.result.provenance.started,
                one.result.provenance.finished,
                str(len(one.result.failures)),
            )
            for one in measured
        ),
        texts=6,
    )
