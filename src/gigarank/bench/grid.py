"""Pairs a second by number of documents and their length: what a model's page shows as its speed.

Every cell takes its turn, round after round; a figure is the median round's. Knows no peers and draws nothing. Invariant: a
cell's documents are the bench's own, of lengths that vary as its workloads do.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from gigarank.bench.workloads import Workload, head, request
from gigarank.engine.reranker import Reranker
from gigarank.errors import InvalidInput
from gigarank.types import Progress

DOCUMENTS, TOKENS = (1, 10, 30), (40, 140, 500)
_WARM_DOCUMENTS, _WARM_WORDS = 2, 50


@dataclass(frozen=True, slots=True)
class Cell:
    """The seconds of all rounds of one number of documents of about so many tokens each."""

    documents: int
    tokens: int
    seconds: tuple[float, ...]

    @property
    def pairs_per_second(self) -> float:
        return self.documents / statistics.median(self.seconds)


def measure(
    model: Reranker, tokenizer: Tokenizer, documents: Sequence[int], tokens: Sequence[int], *, repeats: int, progress: Progress
) -> list[Cell]:
    """Cells row by row. Raises InvalidInput for a number below 1."""
    for name, values in (("documents", documents), ("tokens", tokens), ("repeats", [repeats])):
        if not values or min(values) < 1:
            raise InvalidInput(f"{name}: at least 1, not {list(values)}", param=name, limit=1, received=list(values))
    cells = [(count, length) for count in documents for length in tokens]
    asked = {cell: request(Workload("grid", *cell), tokenizer, model.prompt) for cell in cells}
    seconds: dict[tuple[int, int], list[float]] = {cell: [] for cell in asked}
    for number in range(repeats):
        for place, (cell, one) in enumerate(asked.items(), 1):
            if number == 0:
                warm = head(one, _WARM_DOCUMENTS, _WARM_WORDS)
                model.rank(warm.query, warm.documents)
            started = time.perf_counter()
            model.rank(one.query, one.documents)
            seconds[cell].append(time.perf_counter() - started)
            progress(number * len(asked) + place, repeats * len(asked))
    return [Cell(*cell, tuple(taken)) for cell, taken in seconds.items()]


def table(name: str, cells: Sequence[Cell]) -> list[str]:
    """Markdown: a row a number of documents, a column a length, pairs a second in the cells."""
    lengths = list(dict.fromkeys(cell.tokens for cell in cells))
    lines = [
        "| model | documents | " + " | ".join(f"{length:,} tokens" for length in lengths) + " |",
        "|---" * (2 + len(lengths)) + "|",
    ]
    for count in dict.fromkeys(cell.documents for cell in cells):
        row = [f"{cell.pairs_per_second:.3g}" for cell in cells if cell.documents == count]
        lines.append(f"| {name} | {count:,} | {' | '.join(row)} |")
    return lines
