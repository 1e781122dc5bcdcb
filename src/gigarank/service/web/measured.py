"""Figures that were measured here, as the documentation states them.

Reads tables of docs/quality.md and docs/performance.md: a figure has one place, and the commands that made it stand beside it.
Knows no page. Invariant: what is not in those tables is not shown as measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from gigarank.service.web.shipped import text

_GRID = "## By documents and tokens"
_SHAPES = {
    "nano": "nano",
    "qwen3-reranker-0.6b": "0.6b",
    "qwen3-reranker-4b": "4b",
    "qwen3-reranker-8b": "8b",
}
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Quality:
    """nDCG@10 of one set: the first stage's order, the model's, and the best one that the candidates allow."""

    name: str
    queries: int
    first: float
    reranked: float
    oracle: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Speed:
    """Of a server with the model: a load, its pairs a second, and what else was measured."""

    load: str
    pairs_per_s: str
    note: str


@dataclass(frozen=True, slots=True)
class Grid:
    """Pairs a second: a row has the precision, the number of documents, and a figure for each of `lengths`."""

    lengths: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]

    @property
    def right_heads(self) -> list[str]:
        """The lengths as heads of columns of numbers."""
        return [f">{length}" for length in self.lengths]


@cache
def quality_of(model: str) -> tuple[Quality, ...]:
    """The last row is the mean over all sets; nothing where nothing was measured."""
    if model != "nano":
        return ()
    rows = list(_table(text("docs", "quality.md"), "### By set"))
    return tuple(
        Quality(
            row["name"],
            int(row["queries"].replace(",", "")),
            float(row["first stage"]),
            float(row["reranked"]),
            float(row["oracle"]),
            row["reranked is"],
        )
        for row in rows
    )


@cache
def speed_of(model: str) -> tuple[Speed, ...]:
    page = text("docs", "performance.md")
    if model == "nano":
        rows = [row for row in _table(page, "## The server") if row["what"].startswith("nano,")]
        return tuple(Speed(f"{row['what'][6:]}, {row['load']}", row["pairs/s"], f"p50 {row['p50']}") for row in rows)
    return ()


@cache
def grid_of(model: str) -> Grid | None:
    """None where nothing was measured."""
    own = f"{_SHAPES.get(model, '')}, "
    rows = [row for row in _table(text("docs", "performance.md"), _GRID) if row["model"].startswith(own)]
    if not rows:
        return None
    lengths = tuple(name for name in rows[0] if name.endswith(" tokens"))
    found = [(row["model"].removeprefix(own), row["documents"], tuple(row[name] for name in lengths)) for row in rows]
    return Grid(lengths, tuple(found))


def _table(page: str, heading: str) -> Iterator[Row]:
    """The rows of the first table under the heading that begins so."""
    lines = iter(page.splitlines())
    if not any(line.startswith(heading) for line in lines):
        return
    names: list[str] = []
    for line in lines:
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not names:
                names = cells
            elif not set(line) <= set("|-: "):
                yield dict(zip(names, cells, strict=True))
        elif names:
            return
