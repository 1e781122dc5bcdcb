"""What an evaluation leaves behind: one JSON file a task, and beside it the pairs' scores.

Knows files and their schema; measures nothing. A folder of results is `<output>/<model>/<set>.json`, with `<set>.trec` (a run
file of the reranked order), `<set>.qrels` (its queries' judgments) and `<set>.scores.jsonl` (a line a query) beside it.
Invariant: a result file is written whole or not at all, and reading gives back what was written, or an error that names the
file and the field.
"""

import dataclasses
import json
import os
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from gigarank.errors import BadFile

FORMAT = 1
SUPERSEDED = "superseded"
"""The folder that results move to when other settings take their place; `read_results` leaves it out."""


@dataclass(frozen=True, slots=True)
class SetInfo:
    """Which queries were asked. `documents_scored` counts pairs of a query and a document; `language` and `domain` are None
    where the set does not say."""

    name: str
    fingerprint: str
    queries: int
    documents_scored: int
    language: str | None = None
    domain: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model answered. `prompt` is the prompt format's id, `parameters` the number of weights; None if not known."""

    name: str
    fingerprint: str
    prompt: str
    parameters: int | None = None


@dataclass(frozen=True, slots=True)
class FirstStageInfo:
    """Where the candidates came from: at most `top_k` a query. `scores` says whose score stands for the first stage: of a set's
    own candidates, which have none, it is BM25's."""

    name: str
    top_k: int
    fingerprint: str
    scores: str = ""


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """One metric's means over the queries. `interval` is the 95% interval of reranked minus first stage, in the metric's units,
    by paired bootstrap."""

    reranked: float
    first_stage: float
    oracle: float
    fused: float | None
    interval: tuple[float, float]
    p_value: float
    significant: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """A pair without a score, and why. It stands behind every scored candidate of its query."""

    query: str
    document: str
    message: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What scoring cost. `tokens` counts document tokens that were read; `seconds` the time inside the model, over all runs
    that contributed."""

    pairs: int
    tokens: int
    seconds: float
    pairs_per_second: float


@dataclass(frozen=True, slots=True)
class Provenance:
    """What computed it, where, and when (UTC, ISO 8601). `commit` None: not run from a git checkout."""

    code_version: str
    commit: str | None
    packages: dict[str, str]
    machine: dict[str, Any]
    started: str
    finished: str


QueryMetrics = dict[str, dict[str, float]]
"""side -> metric -> value; the sides are reranked, first_stage, oracle, and fused where it was asked for."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """One set, one model, one first stage. `key` is the hash of everything that the scores depend on."""

    set: SetInfo
    model: ModelInfo
    instruction: str | None
    first_stage: FirstStageInfo
    numerics: dict[str, Any]
    limit: int | None
    main_metric: str
    metrics: dict[str, MetricSummary]
    by_query: dict[str, QueryMetrics]
    cost: Cost
    provenance: Provenance
    key: str = ""
    metrics_key: str = ""
    fuse_weight: float | None = None
    failures: tuple[Failure, ...] = ()
    published: dict[str, Any] | None = None
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class PairScore:
    """One scored pair. `logit` None: it failed. `tokens` of the document that were read; `truncated`: some were not."""

    query: str
    document: str
    logit: float | None
    first_stage: float
    tokens: int
    truncated: bool


def write_result(path: Path, result: TaskResult) -> None:
    """Writes the result's JSON whole or not at all, on the disk when it returns."""
    write_whole(path, json.dumps(dataclasses.asdict(result), ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Writes a file beside its place and puts it there when it is on the disk; makes the folders it lacks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read_result(path: Path) -> TaskResult:
    """Raises BadFile that names the file and the field."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadFile(f"{path}: cannot be read as a result: {error}", param="result", received=str(path)) from error
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        raise BadFile(f"{path}: format must be {FORMAT}, not {found!r}", param="format", limit=FORMAT, received=found)
    return _record(TaskResult, value, f"{path}: ")


def read_results(folder: Path) -> list[TaskResult]:
    """The results below a folder, by model and set; those in SUPERSEDED are left out. Raises BadFile where there are none."""
    paths = sorted(path for path in folder.rglob("*.json") if SUPERSEDED not in path.relative_to(folder).parts)
    if not paths:
        raise BadFile(f"{folder}: holds no results", param="results", received=str(folder))
    return [read_result(path) for path in paths]


def scores_path(result: Path) -> Path:
    """The file of the pairs' scores beside a result's `<set>.json`."""
    return result.with_name(result.name.removesuffix(".json") + ".scores.jsonl")


def read_scores(path: Path) -> Iterator[PairScore]:
    """The pairs of a `<set>.scores.jsonl`, in the order of the candidates. Raises BadFile that names the line."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                pairs = [PairScore(row["query"], *pair) for pair in row.get("documents", ())]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                place = f"{path}, line {number}"
                raise BadFile(f"{place}: cannot be read as a query's scores: {error}", param="scores") from error
            yield from pairs


Record = TypeVar("Record")


def _record(kind: type[Record], value: Any, place: str) -> Record:
    """A dataclass from its JSON object: every field of its type, none unknown, none missing that has no default."""
    if not isinstance(value, dict):
        raise BadFile(f"{place}must be an object, not {type(value).__name__}", param=place.split(": ")[-2])
    hints = get_type_hints(kind)
    fields: dict[str, dataclasses.Field[Any]] = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := [name for name in value if name not in fields]:
        raise BadFile(f"{place}{unknown[0]}: no such field", param=unknown[0], limit=sorted(fields), received=unknown[0])
    for name, item in fields.items():
        if name not in value and item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise BadFile(f"{place}{name}: is missing", param=name)
    return kind(**{name: _value(hints[name], given, f"{place}{name}: ") for name, given in value.items()})


def _value(hint: Any, given: Any, place: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, Union):
        return None if given is None else _value(inner[0], given, place)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _record(hint, given, place)
    if hint is Any:
        return given
    expected = {float: (int, float), tuple: (list,)}.get(origin or hint, (origin or hint,))
    if not isinstance(given, expected) or (isinstance(given, bool) and hint is not bool):
        wanted = getattr(origin or hint, "__name__", str(hint))
        raise BadFile(f"{place}must be {wanted}, not {given!r:.60}", param=place.split(": ")[-2], received=repr(given)[:60])
    if origin is tuple:
        kinds = inner[:1] * len(given) if inner[1:] == (...,) else inner
        if len(kinds) != len(given):
            raise BadFile(f"{place}must have {len(kinds)} values, not {len(given)}", param=place.split(": ")[-2])
        return tuple(_value(kind, one, place) for kind, one in zip(kinds, given, strict=True))
    if origin in (dict, Mapping):
        return {name: _value(inner[1], one, f"{place}{name}: ") for name, one in given.items()}
    return float(given) if hint is float else given
