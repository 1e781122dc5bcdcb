"""Which rows and which of their documents each step of a stage sees: drawn once, from a seed.

Knows rows, no tokens and no model. Invariant: the same data, stage and seed give the same examples in the same order, so that
a run that goes on sees what it would have seen; a row's positives are never all left out.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gigarank.errors import BadFile, InvalidInput
from gigarank.training.importers import ImportOptions, ImportReport, import_rows
from gigarank.training.recipe import TAUGHT, Data, Stage
from gigarank.training.rows import Row


@dataclass(frozen=True, slots=True)
class Example:
    """One query of one step: the row by its number, its documents by theirs, and (row, document) of other rows' documents
    that stand in as negatives."""

    row: int
    documents: tuple[int, ...]
    others: tuple[tuple[int, int], ...] = ()


def read_data(stage: Stage) -> list[list[Row]]:
    """The rows of each of the stage's files. Raises BadFile that names file, line and field, or a row that no loss of the
    stage can use."""
    return [_read(data, stage) for data in stage.data]


def _read(data: Data, stage: Stage) -> list[Row]:
    rows: list[Row] = []
    for row in import_rows(data.path, ImportOptions(format="rows", instruction=data.instruction), ImportReport()):
        if set(stage.losses) <= TAUGHT and sum(score is not None for score in row.scores or ()) < 2:
            wanted = ", ".join(stage.losses)
            raise BadFile(
                f"{data.path}: row {len(rows) + 1}: scores: {wanted} needs a teacher's scores of two documents or more",
                param="scores",
                limit=2,
                received=row.scores,
            )
        rows.append(row)
        if data.max_rows is not None and len(rows) >= data.max_rows:
            break
    if not rows:
        raise BadFile(f"{data.path}: holds no rows", param=str(data.path), limit=1, received=0)
    return rows


def steps_of(stage: Stage, rows: Sequence[Sequence[Row]]) -> int:
    """How many steps the stage takes."""
    if stage.steps is not None:
        return stage.steps
    return max(1, math.floor(stage.epochs * sum(_taken(stage, rows)) / stage.queries))


def draw(stage: Stage, rows: Sequence[Sequence[Row]]) -> list[Example]:
    """All examples of the stage, step after step; rows are numbered through all files.

    Within a step examples of like length stand together, so that a forward of several is padded little. Raises InvalidInput
    where a step takes more queries than there are.
    """
    whole = [row for file in rows for row in file]
    wanted = steps_of(stage, rows) * stage.queries
    if stage.in_batch and len({row.query for row in whole}) < 2:
        raise InvalidInput("in_batch: the data hold one query only", param="in_batch", limit=2, received=1)
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
