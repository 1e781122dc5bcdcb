"""What a report is made from: the results of a folder, what is known about their sets, and the sets' texts where they are.

Knows files; draws and computes nothing. Invariant: texts and judgments are taken from a data folder only where its
fingerprint is the result's, so that nothing is said about other data.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gigarank.errors import BadFile, InvalidInput
from gigarank.evaluation.beir import read_beir
from gigarank.evaluation.calibration import Labelled
from gigarank.evaluation.sets import EvalSet
from gigarank.evaluation.store import SUPERSEDED, PairScore, TaskResult, read_result, read_scores, scores_path

NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class About:
    """What the files of a set do not say. `language` is the queries', `documents` the documents' where it is another one;
    `made` how the set was made from its source; `solved_by` names the first stage that leaves a reranker next to nothing."""

    domain: str | None = None
    language: str | None = None
    documents: str | None = None
    licence: str = ""
    source: str = ""
    made: str = ""
    solved_by: str = ""


@dataclass(frozen=True)
class Measured:
    """One result with its file, what is known about its set, and the set itself where it was found."""

    path: Path
    result: TaskResult
    about: About = field(default_factory=About)
    data: EvalSet | None = None

    @property
    def domain(self) -> str:
        return self.about.domain or self.result.set.domain or NOT_STATED

    def language(self, query: str) -> str:
        """The query's language, with the documents' behind an arrow where that is another one."""
        each: Mapping[str, str] = self.result.set.notes.get("query_languages", {})
        found = each.get(query) or self.about.language or self.result.set.language or NOT_STATED
        documents = self.about.documents or found
        return found if documents == found else f"{found} → {documents}"

    def scores(self) -> dict[str, list[PairScore]]:
        """The pairs by query, in the first stage's order; {} where the scores' file is gone."""
        found: dict[str, list[PairScore]] = {}
        path = scores_path(self.path)
        for pair in read_scores(path) if path.is_file() else ():
            found.setdefault(pair.query, []).append(pair)
        return found


def read_measured(
    place: Path, data: Sequence[Path] = (), about: Mapping[str, About] | None = None
) -> tuple[list[Measured], list[str]]:
    """The results of a file or below a folder, and sentences on what could not be had. Raises BadFile."""
    known = about or {}
    found, missing = [], []
    folders = set_folders(data)
    for path in _result_paths(place):
        result = read_result(path)
        texts = _matching(folders.get(result.set.name), result)
        if result.set.name in folders and texts is None:
            missing.append(f"{result.set.name}: {folders[result.set.name]} holds other data than were measured")
        found.append(Measured(path, result, known.get(result.set.name, About()), texts))
    return found, missing


def _result_paths(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    paths = sorted(path for path in place.rglob("*.json") if SUPERSEDED not in path.relative_to(place).parts)
    if not paths and not list(place.rglob("*.suite.jsonl")):
        raise BadFile(f"{place}: holds no results", param="results", received=str(place))
    return paths


def set_folders(places: Sequence[Path]) -> dict[str, Path]:
    """The BEIR folders among the places and directly below them, by name. Raises InvalidInput for a place without any."""
    found: dict[str, Path] = {}
    for place in places:
        inside = [place] if (place / "corpus.jsonl").is_file() else [path.parent for path in place.glob("*/corpus.jsonl")]
        if not inside:
            raise InvalidInput(
                f"data: {place} holds no corpus.jsonl, and no folder that does", param="data", received=str(place)
            )
        found |= {path.resolve().name: path for path in sorted(inside)}
    return found


def _matching(folder: Path | None, result: TaskResult) -> EvalSet | None:
    if folder is None:
        return None
    found = read_beir(folder, str(result.set.notes.get("split", "test")))
    return found if found.fingerprint == result.set.fingerprint else None


def labelled(measured: Sequence[Measured]) -> Labelled:
    """Every scored pair with whether it was judged relevant; pairs that nobody judged count as not relevant.

    Raises InvalidInput that names the sets whose judgments or scores are not at hand.
    """
    names = tuple(one.result.set.name for one in measured)
    if lacking := [one.result.set.name for one in measured if one.data is None]:
        message = f"data: the judgments of {', '.join(lacking)} are needed; name the folder of the set with --data"
        raise InvalidInput(message, param="data", received=lacking)
    logits: list[float] = []
    relevant: list[bool] = []
    for one in measured:
        qrels = one.data.qrels if one.data is not None else {}
        for query, pairs in one.scores().items():
            whole = [pair for pair in pairs if pair.logit is not None]
            logits += [pair.logit for pair in whole if pair.logit is not None]
            relevant += [qrels.get(query, {}).get(pair.document, 0) > 0 for pair in whole]
    if not logits:
        raise InvalidInput(f"scores: none beside the results of {', '.join(names)}", param="scores", received=list(names))
    return Labelled(names, tuple(logits), tuple(relevant))


def read_about(path: Path) -> dict[str, About]:
    """A TOML file of tables by set name: domain, language, documents, licence, source. Raises BadFile."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadFile(f"about: {path}: {error}", param="about", received=str(path)) from error
    known = set(About.__dataclass_fields__)
    for name, fields in content.items():
        if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
            raise BadFile(f"about: {path}: {name} must be a table of texts", param=name, received=type(fields).__name__)
        if unknown := sorted(set(fields) - known):
            message = f"about: {path}: {name}.{unknown[0]}: no such field; known: {', '.join(sorted(known))}"
            raise BadFile(message, param=unknown[0], limit=sorted(known), received=unknown[0])
    return {name: About(**fields) for name, fields in content.items()}


def read_suites(place: Path) -> list[dict[str, Any]]:
    """The rows of the suites' files below a folder, each with its suite's name; the newest of a key's rows count."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for path in sorted(place.rglob("*.suite.jsonl")) if place.is_dir() else ():
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            if not line:
                continue
            try:
                row = json.loads(line) | {"suite": path.name.removesuffix(".suite.jsonl")}
                rows[(row["suite"], row["model"], row["task"], row["split"], row["subset"])] = row
            except (ValueError, TypeError, KeyError) as error:
                raise BadFile(f"{path}, line {number}: cannot be read as a task's row: {error}", param="suite") from error
    return list(rows.values())
