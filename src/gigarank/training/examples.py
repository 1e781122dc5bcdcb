"""Which rows and which of their documents each step of a stage sees: drawn once, from a seed.

Knows rows, no tokens and no model. Invariant: the same data, stage and seed give the same examples in the same order, so that
a run that goes on sees what it would have seen; a row's positives are never all left out.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from gigarank.errors import BadFile, InvalidInput
from gigarank.training.importers import ImportOptions, ImportReport, import_rows
from gigarank.training.lines import read_lines
from gigarank.training.recipe import TAUGHT, Data, Stage
from gigarank.training.rows import Row

_NEEDS = {
    "infonce": "a document with label 0 beside the positive",
    "listnet": "two documents or more",
    "lambda": "documents with different labels",
    "ranknet": "documents with different labels",
    "margin_mse": "a teacher's scores of a positive and a negative",
    "mse": "a teacher's score",
    "kl": "a teacher's scores of two documents or more",
}
"""What a row must have so that a loss is not zero whatever the model says; other losses need nothing more than a row."""


@dataclass(frozen=True, slots=True)
class Example:
    """One query of one step: the row by its number, its documents by theirs, and (row, document) of other rows' documents
    that stand in as negatives."""

    row: int
    documents: tuple[int, ...]
    others: tuple[tuple[int, int], ...] = ()


def read_data(stage: Stage, kind: str = "reranker") -> list[list[Row]]:
    """The rows of each of the stage's files. Raises BadFile that names file, line and field, also for a row from which no loss
    of the stage learns, and a loss that learns from no row; InvalidInput where `in_batch` finds no other query."""
    files = [_read(data, stage, kind) for data in stage.data]
    rows = [row for file in files for row in file]
    for loss in stage.losses:
        if not any(_teaches(loss, row, stage, kind) for row in rows):
            names = ", ".join(str(data.path) for data in stage.data)
            raise BadFile(
                f"{names}: losses.{loss}: would learn nothing: it needs {_NEEDS[loss]}, which no row has",
                param=f"losses.{loss}",
                limit=1,
                received=0,
            )
    if stage.in_batch and len({row.query for row in rows}) < 2:
        raise InvalidInput("in_batch: the data hold one query only", param="in_batch", limit=2, received=1)
    return files


def _read(data: Data, stage: Stage, kind: str) -> list[Row]:
    rows: list[Row] = []
    for row in import_rows(data.path, ImportOptions(format="rows", instruction=data.instruction), ImportReport()):
        if not any(_teaches(loss, row, stage, kind) for loss in stage.losses):
            field = "scores" if set(stage.losses) <= TAUGHT else "labels"
            wanted = "; ".join(f"{loss} needs {_NEEDS[loss]}" for loss in stage.losses)
            received = row.scores if field == "scores" else row.labels
            raise BadFile(
                f"{place_of(data.path, len(rows))}: {field}: {wanted}, not {received!r:.80}",
                param=field,
                limit=wanted,
                received=received,
            )
        rows.append(row)
        if data.max_rows is not None and len(rows) >= data.max_rows:
            break
    if not rows:
        raise BadFile(f"{data.path}: holds no rows", param=str(data.path), limit=1, received=0)
    return rows


def place_of(path: Path, number: int) -> str:
    """File and line of a row that was read from it as the `number`-th, counted from 0."""
    line = next(islice(read_lines(path), number, None), None)
    return f"{path}: row {number + 1}" if line is None else f"{path}:{line.number}"


def _teaches(loss: str, row: Row, stage: Stage, kind: str) -> bool:
    """Whether the loss depends on what the model says of this row. Documents of other queries are negatives, too."""
    if loss not in TAUGHT and (stage.in_batch or (kind == "embedder" and stage.at_once > 1)):
        return True
    known = [label for label, score in zip(row.labels, row.scores or (), strict=False) if score is not None]
    found = {
        "infonce": min(row.labels) <= 0,
        "listnet": len(row.documents) > 1,
        "lambda": len(set(row.labels)) > 1,
        "ranknet": len(set(row.labels)) > 1,
        "margin_mse": bool(known) and min(known) <= 0 < max(known),
        "mse": bool(known),
        "kl": len(known) > 1,
    }
    return found.get(loss, True)


def steps_of(stage: Stage, rows: Sequence[Sequence[Row]]) -> int:
    """How many steps the stage takes."""
    if stage.steps is not None:
        return stage.steps
    return max(1, math.floor(stage.epochs * sum(_taken(stage, rows)) / stage.queries))


def draw(stage: Stage, rows: Sequence[Sequence[Row]]) -> list[Example]:
    """All examples of the stage, step after step; rows are numbered through all files.

    Within a step examples of like length stand together, so that a forward of several is padded little. Where a step takes more
    queries than there are rows, rows stand in it more than once.
    """
    whole = [row for file in rows for row in file]
    wanted = steps_of(stage, rows) * stage.queries
    found: list[Example] = []
    stream = _epochs(stage, rows)
    dice = random.Random(f"documents {stage.seed}")
    while len(found) < wanted:
        step = [Example(number, _documents(whole[number], stage.documents, dice)) for number in _next(stream, stage.queries)]
        if stage.in_batch:
            step = [replace(one, others=_others(one, step, whole, stage.in_batch, dice)) for one in step]
        found += sorted(step, key=lambda one: _characters(one, whole)) if stage.at_once > 1 else step
    return found


def _taken(stage: Stage, rows: Sequence[Sequence[Row]]) -> list[int]:
    return [max(1, round(data.share * len(file))) for data, file in zip(stage.data, rows, strict=True)]


def _epochs(stage: Stage, rows: Sequence[Sequence[Row]]) -> Iterator[int]:
    """Row numbers without an end, every epoch mixed anew."""
    epoch = 0
    while True:
        dice = random.Random(f"rows {stage.seed} {epoch}")
        numbers: list[int] = []
        start = 0
        for count, file in zip(_taken(stage, rows), rows, strict=True):
            own = range(start, start + len(file))
            numbers += [*own] * (count // len(file)) + dice.sample(own, count % len(file))
            start += len(file)
        dice.shuffle(numbers)
        yield from numbers
        epoch += 1


def _next(stream: Iterator[int], count: int) -> list[int]:
    return [next(stream) for _ in range(count)]


def _documents(row: Row, most: int, dice: random.Random) -> tuple[int, ...]:
    """At most `most` documents: at least one positive, positives on half of the places or fewer where negatives fill them."""
    positive = [place for place, label in enumerate(row.labels) if label > 0]
    negative = [place for place, label in enumerate(row.labels) if label <= 0]
    dice.shuffle(positive)
    dice.shuffle(negative)
    least = max(1, most // 2, most - len(negative))
    kept = positive[:least]
    return tuple(sorted(kept + negative[: most - len(kept)]))


def _others(
    own: Example, step: Sequence[Example], rows: Sequence[Row], count: int, dice: random.Random
) -> tuple[tuple[int, int], ...]:
    """Documents of the step's other queries, none of them a document of this row."""
    texts = set(rows[own.row].documents)
    pool = [
        (other.row, place)
        for other in step
        if rows[other.row].query != rows[own.row].query
        for place in other.documents
        if rows[other.row].documents[place] not in texts
    ]
    return tuple(dice.sample(pool, min(count, len(pool))))


def _characters(example: Example, rows: Sequence[Row]) -> int:
    return sum(len(rows[example.row].documents[place]) for place in example.documents)
