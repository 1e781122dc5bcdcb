"""What a task is before its first score: the queries, their candidates, and a key of all that the scores depend on.

Knows a model only as something that scores pairs. Invariant: two tasks with one key have the same pairs in the same order, for
a model and numerics that give them the same scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gigarank.errors import InvalidInput
from gigarank.evaluation import provenance
from gigarank.evaluation.candidates import Candidates, FirstStage, OwnCandidates, digest, find_candidates
from gigarank.evaluation.metrics import METRICS
from gigarank.evaluation.sets import EvalSet
from gigarank.evaluation.store import FirstStageInfo
from gigarank.prompt import PromptFormat
from gigarank.types import Numerics, Pair, Progress, Score

DEFAULT_METRICS = (*METRICS, "P_1")


class Scores(Protocol):
    """What scores pairs: gigarank's Reranker, or anything that answers as it does."""

    name: str
    prompt: PromptFormat
    numerics: Numerics

    @property
    def fingerprint(self) -> str: ...

    @property
    def max_pair_tokens(self) -> int: ...

    def score(self, pairs: Sequence[Pair], *, progress: Progress | None = None) -> list[Score]: ...


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a task is run. `limit`: that many queries, spread evenly over the set's; None: all. `fuse_weight` None: not fused.
    `cache`: a folder for candidates, None keeps none. `machine`: the caller's description of where it runs."""

    output: Path
    first_stage: FirstStage = field(default_factory=OwnCandidates)
    top_k: int = 100
    limit: int | None = None
    instruction: str | None = None
    fuse_weight: float | None = None
    metrics: tuple[str, ...] = DEFAULT_METRICS
    cache: Path | None = None
    machine: dict[str, Any] = field(default_factory=dict)
    parameters: int | None = None


@dataclass(frozen=True)
class Task:
    """What is to be scored, known before the first score. `key` is the hash of all that the scores depend on,
    `metrics_key` of all that the figures depend on."""

    evaluation_set: EvalSet
    queries: tuple[str, ...]
    candidates: Candidates
    instruction: str | None
    first_stage: FirstStageInfo
    metrics: tuple[str, ...]
    key: str
    metrics_key: str

    def pairs(self, query: str) -> list[Pair]:
        """A query's own instruction goes before the task's."""
        asked = self.evaluation_set.queries[query]
        instruction = self.instruction if asked.instruction is None else asked.instruction
        corpus = self.evaluation_set.corpus
        return [Pair(asked.text, corpus[document].passage, instruction) for document, _ in self.candidates[query]]


def slug(name: str) -> str:
    """A model's or a set's name as a file's."""
    return "".join(letter if letter.isalnum() or letter in "._+-" else "-" for letter in name).strip(".-") or "model"


def result_path(output: Path, model: str, evaluation_set: str) -> Path:
    return output / slug(model) / f"{slug(evaluation_set)}.json"


def plan(evaluation_set: EvalSet, model: Scores, options: RunOptions) -> Task:
    """The queries, their candidates and the key. Raises InvalidInput."""
    if not model.fingerprint:
        raise InvalidInput(f"model: {model.name} has no files to know its results by", param="model", received=model.name)
    queries = chosen_queries(evaluation_set, options.limit)
    stage = options.first_stage
    found = find_candidates(evaluation_set, stage, queries, options.top_k, options.cache)
    instruction = evaluation_set.instruction if options.instruction is None else options.instruction
    information = FirstStageInfo(stage.name, options.top_k, digest(stage.options), stage.scores)
    depends_on = [
        evaluation_set.name,
        evaluation_set.fingerprint,
        [model.fingerprint, model.prompt.id, instruction],
        [information.name, information.fingerprint, options.top_k],
        found,
        provenance.numerics_of(model.numerics, model.max_pair_tokens),
        provenance.scored_by(options.machine),
    ]
    key = digest(depends_on)
    metrics = tuple(dict.fromkeys((evaluation_set.metric, *options.metrics)))
    metrics_key = digest([key, metrics, options.fuse_weight, provenance.metrics_version()])
    return Task(evaluation_set, queries, found, instruction, information, metrics, key, metrics_key)


def chosen_queries(evaluation_set: EvalSet, limit: int | None) -> tuple[str, ...]:
    """The queries that have a relevant document, and candidates where the set has its own; `limit` of them, evenly spread.

    One question under several instructions is chosen whole, or not at all: only so can they be held against each other.
    """
    own = evaluation_set.candidates
    judged = [
        query
        for query in (evaluation_set.queries if own is None else own)
        if query in evaluation_set.queries and any(grade > 0 for grade in evaluation_set.qrels.get(query, {}).values())
    ]
    if not judged:
        message = f"{evaluation_set.name}: no query has a relevant document"
        raise InvalidInput(message, param="data", received=evaluation_set.name)
    if limit is None or limit >= len(judged):
        return tuple(judged)
    if limit < 1:
        raise InvalidInput(f"limit: must be at least 1, not {limit}", param="limit", limit=1, received=limit)
    asked = _by_question(evaluation_set, judged)
    count = max(1, limit // max(map(len, asked)))
    return tuple(query for place in range(count) for query in asked[place * len(asked) // count])[:limit]


def _by_question(evaluation_set: EvalSet, queries: Sequence[str]) -> list[list[str]]:
    """Queries of one text stand together where each has an instruction of its own; all others alone."""
    found: dict[tuple[str, str], list[str]] = {}
    for query in queries:
        one = evaluation_set.queries[query]
        found.setdefault(("id", query) if one.instruction is None else ("text", one.text), []).append(query)
    return list(found.values())
