"""`gigarank eval run --suite`: a published suite, task by task, through mteb.

Knows how to ask, to keep and to show; the tasks are gigarank.evaluation's. A task's figures are lines of
`<output>/<model>/<suite>.suite.jsonl`, written when the task is done, after its run files; what a task under way has scored is
kept beside them. Invariant: a task whose lines are
there under the same key (model, prompt, numerics, first stage, depth, limit,
revision, packages, machine, metric code) is not run again.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gigarank.cli.output import note
from gigarank.cli.progress import CountBar
from gigarank.errors import InvalidInput

if TYPE_CHECKING:
    from gigarank.engine.reranker import Reranker
    from gigarank.evaluation.dense import Embeds
    from gigarank.evaluation.suites import SuiteTask

OWN, BM25 = "own", "bm25"
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SuiteRun:
    """What is run: `embedder` None takes BM25's candidates or the tasks' own, as `first_stage` says. `provenance` goes into
    every line; `machine` describes where it runs; `vectors` is a folder that keeps documents' vectors for other runs too."""

    suite: str
    reranker: "Reranker"
    embedder: "Embeds | None"
    top_k: int
    limit: int | None
    path: Path
    provenance: Callable[[str], Row]
    machine: Row = field(default_factory=dict)
    first_stage: str = OWN
    mteb_convention: bool = False
    vectors: Path | None = None


def check_first_stage(asked: str | None, dense: str) -> str:
    """The published protocol's embedder, BM25, or the tasks' own candidates. Raises InvalidInput."""
    chosen = dense if asked is None else asked.lower()
    if chosen not in (dense, BM25, OWN):
        known = f"{dense}, {BM25} or {OWN}"
        message = f"first_stage: a suite's is {known}, not {asked}"
        raise InvalidInput(message, param="first_stage", limit=known, received=asked)
    return chosen


def run_suite(run: SuiteRun) -> list[Row]:
    """The rows of all tasks, those that were there and those that are run now."""
    from gigarank.evaluation.suites import find_suite

    found: list[Row] = []
    suite = find_suite(run.suite)
    for number, described in enumerate(suite.tasks, 1):
        key = task_key(run, described)
        rows = kept(run.path, key) or list(_run_task(run, described, key, f"{described.name} ({number} of {len(suite.tasks)})"))
        for row in rows:
            note(_line(row))
        found += rows
    return found


def task_key(run: SuiteRun, described: "SuiteTask") -> str:
    """The hash of everything that a task's figures depend on."""
    from gigarank.evaluation import provenance
    from gigarank.evaluation.candidates import digest
    from gigarank.evaluation.dense import dense_key

    model, embedder = run.reranker, run.embedder
    return digest(
        [
            [described.name, described.dataset, described.revision, list(described.splits), described.instruction],
            [model.fingerprint, model.prompt.id, provenance.numerics_of(model.numerics, model.max_pair_tokens)],
            _stage_key(run) if embedder is None else dense_key(embedder),
            run.mteb_convention,
            provenance.scored_by(run.machine),
            [run.top_k, run.limit, described.metric, provenance.metrics_version()],
        ]
    )


def _stage_key(run: SuiteRun) -> str:
    from gigarank.engine import bm25

    return bm25.options() if run.first_stage == BM25 else OWN


def kept(path: Path, key: str) -> list[Row]:
    """The rows of a finished task: every one of them, or none."""
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    rows = [row for line in lines if line and (row := _parsed(line)).get("key") == key]
    return rows if rows and len(rows) == rows[0]["rows"] else []


def _parsed(line: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError:
        return {}  # a line that was cut off
    return row if isinstance(row, dict) else {}


def _run_task(run: SuiteRun, described: "SuiteTask", key: str, title: str) -> Iterator[Row]:
    from gigarank.evaluation.provenance import now
    from gigarank.evaluation.suite_run import SuiteOptions, pinned, task_run
    from gigarank.evaluation.task import slug
    from gigarank.evaluation.trec import with_escaped, write_run

    started = now()
    with CountBar(title) as bar:
        options = SuiteOptions(
            top_k=run.top_k,
            limit=run.limit,
            bm25=run.first_stage == BM25,
            mteb_convention=run.mteb_convention,
            scores=scores_path(run.path, key),
            vectors=run.vectors,
            progress=bar,
        )
        rows = task_run(pinned(described), described, run.reranker, run.embedder, options)
    shared = {"key": key, "rows": len(rows), "model": run.reranker.name, "fingerprint": run.reranker.fingerprint}
    made_with = run.provenance(started)
    for row in rows:
        write_run(trec_path(run.path, row), with_escaped(row.pop("run")), slug(run.reranker.name))
    settings: Row = {"top_k": run.top_k, "limit": run.limit, "mteb_convention": run.mteb_convention, "provenance": made_with}
    settings |= {"first_stage_name": run.first_stage if run.embedder is None else run.embedder.name}
    whole = [shared | row | settings for row in rows]
    append(run.path, whole)
    scores_path(run.path, key).unlink(missing_ok=True)
    yield from whole


def scores_path(path: Path, key: str) -> Path:
    """Where the scores of a task under way are kept until its rows are written."""
    return path.with_name(f".{path.name}.{key[:16]}.scores")


def trec_path(path: Path, row: Row) -> Path:
    """The run file of a row, beside the suite's lines: <suite>.<task>.<split>.<subset>.trec."""
    from gigarank.evaluation.task import slug

    name = path.name.removesuffix(".suite.jsonl")
    return path.with_name(".".join([name, *(slug(row[part]) for part in ("task", "split", "subset"))]) + ".trec")


def append(path: Path, rows: Sequence[Row]) -> None:
    """All of a task's lines at once, behind a line feed that ends what was cut off, and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write("\n" if file.tell() else "")
        file.write("".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))
        file.flush()
        os.fsync(file.fileno())


def _line(row: Row) -> str:
    found, first = row["reranked"], row["first_stage"]
    return f"{row['task']} ({row['subset']}, {row['split']}): {row['metric']} {found:.4f} (first stage {first:.4f})"


def to_table(rows: Sequence[Row]) -> str:
    """A Markdown table, a row a task, language and split."""
    heading = ["task", "subset", "split", "metric", "queries", "first stage", "reranked", "oracle"]
    lines = [heading, ["---"] * len(heading), *map(_cells, rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _cells(row: Row) -> list[str]:
    figures = [row.get(side) for side in ("first_stage", "reranked", "oracle")]
    shown = ["" if figure is None else f"{figure:.4f}" for figure in figures]
    return [row["task"], row["subset"], row["split"], row["metric"], str(row["queries"]), *shown]
