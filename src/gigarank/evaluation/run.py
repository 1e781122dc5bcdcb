"""One task: a set's candidates scored by a reranker, measured, and written with its provenance.

Queries are scored many at a time, so that the engine's batches are full. Knows a model as something that scores pairs.
Invariants: a pair is scored once, however often the run is ended and begun again; a pair that fails is in the result with its
reason, behind its query's others; a result is taken from the disk only where everything that it depends on is the same.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gigarank.errors import GigarankError
from gigarank.evaluation import provenance
from gigarank.evaluation.figures import Measured, measure
from gigarank.evaluation.journal import Journal, QueryScores, supersede
from gigarank.evaluation.sets import EvalSet
from gigarank.evaluation.store import (
    Cost,
    Failure,
    ModelInfo,
    PairScore,
    Provenance,
    SetInfo,
    TaskResult,
    read_result,
    write_result,
)
from gigarank.evaluation.task import RunOptions, Scores, Task, plan, result_path, slug
from gigarank.evaluation.trec import with_escaped, write_qrels, write_run
from gigarank.types import Pair, Progress, Score

GROUP_CHARACTERS = 60_000
"""Text that is scored by one call: several of the engine's batches, and at most what a killed run loses."""


def run_task(evaluation_set: EvalSet, model: Scores, options: RunOptions, progress: Progress | None = None) -> TaskResult:
    """Scores, measures and writes `<output>/<model>/<set>.json`, `.trec` and `.qrels`; what is there already is not done again.

    `progress` counts pairs. Raises InvalidInput, and what the model raises where not one pair can be scored.
    """
    started = provenance.now()
    task = plan(evaluation_set, model, options)
    path = result_path(options.output, model.name, evaluation_set.name)
    if (earlier := _earlier(path, task)) is not None:
        return earlier
    with Journal(path, task.key) as journal:
        score_task(task, model, journal, progress)
        scored = {query: journal.done[query] for query in task.queries}
        measured = measure(task, scored, options.fuse_weight)
        result = describe(task, model, options, scored, measured, provenance.describe(options.machine, started))
        write_run(path.with_suffix(".trec"), with_escaped(measured.reranked), slug(model.name))
        write_qrels(path.with_suffix(".qrels"), with_escaped({query: evaluation_set.qrels[query] for query in task.queries}))
        write_result(path, result)
    return result


def _earlier(path: Path, task: Task) -> TaskResult | None:
    """The result that is there, if it is this task's; another task's moves out of the way."""
    earlier = read_result(path) if path.exists() else None
    if earlier is not None and earlier.key != task.key:
        supersede(path, earlier.key)
    return earlier if earlier is not None and earlier.metrics_key == task.metrics_key else None


def score_task(task: Task, model: Scores, journal: Journal, progress: Progress | None = None) -> None:
    """Every query of the task into the journal, those that are not there yet."""
    total = sum(len(found) for found in task.candidates.values())
    done = sum(len(task.candidates[query]) for query in task.queries if query in journal.done)
    for group in groups(task, [query for query in task.queries if query not in journal.done]):
        found = score_group(task, model, group, _from(done, total, progress))
        if not journal.done and not any(pair.logit is not None for scores in found for pair in scores.pairs):
            _raise_first(task, model, found)
        journal.add(found)
        done += sum(len(scores.pairs) for scores in found)
        if progress is not None:
            progress(done, total)


def groups(task: Task, queries: Sequence[str]) -> Iterator[list[str]]:
    """Neighbouring queries, as many as have GROUP_CHARACTERS of text together, at least one."""
    group: list[str] = []
    size = 0
    for query in queries:
        group.append(query)
        size += sum(len(pair.query) + len(pair.document) for pair in task.pairs(query))
        if size >= GROUP_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


def score_group(task: Task, model: Scores, queries: Sequence[str], progress: Progress | None = None) -> list[QueryScores]:
    """Scores of all pairs of the queries by one call; where that fails, query by query, and then pair by pair."""
    pairs = [pair for query in queries for pair in task.pairs(query)]
    began = time.perf_counter()
    try:
        scores: list[Score | str] = [*model.score(pairs, progress=progress)] if pairs else []
    except GigarankError as error:
        if len(queries) > 1:
            return [found for query in queries for found in score_group(task, model, [query])]
        scores = [*_one_by_one(model, pairs)] if len(pairs) > 1 else [error.message]
    seconds = time.perf_counter() - began
    answers = iter(scores)
    return [
        _query_scores(query, task.candidates[query], answers, seconds * len(task.candidates[query]) / max(1, len(pairs)))
        for query in queries
    ]


def _one_by_one(model: Scores, pairs: Sequence[Pair]) -> Iterator[Score | str]:
    for pair in pairs:
        try:
            yield model.score([pair])[0]
        except GigarankError as error:
            yield error.message


def _query_scores(
    query: str, candidates: Sequence[tuple[str, float]], answers: Iterator[Score | str], seconds: float
) -> QueryScores:
    pairs, failures = [], []
    for document, first_stage in candidates:
        answer = next(answers)
        if isinstance(answer, str):
            failures.append(Failure(query, document, answer))
            pairs.append(PairScore(query, document, None, first_stage, 0, False))
        else:
            pairs.append(PairScore(query, document, answer.logit, first_stage, answer.tokens, answer.truncated))
    return QueryScores(query, tuple(pairs), tuple(failures), round(seconds, 6))


def _raise_first(task: Task, model: Scores, found: Sequence[QueryScores]) -> None:
    """What the model says of the first pair that it cannot score: nothing of the task could be, so no pair is at fault."""
    for scores in found:
        if scores.failures:
            model.score(task.pairs(scores.query)[:1])


def _from(done: int, total: int, progress: Progress | None) -> Progress | None:
    return None if progress is None else lambda now, _: progress(done + now, total)


def describe(
    task: Task, model: Scores, options: RunOptions, scored: dict[str, QueryScores], measured: Measured, made_with: Provenance
) -> TaskResult:
    """The result of a task whose queries are all scored."""
    pairs = [pair for scores in scored.values() for pair in scores.pairs]
    seconds = sum(scores.seconds for scores in scored.values())
    return TaskResult(
        set=_set_info(task, len(pairs)),
        model=ModelInfo(model.name, model.fingerprint, model.prompt.id, options.parameters),
        instruction=task.instruction,
        first_stage=task.first_stage,
        numerics=provenance.numerics_of(model.numerics, model.max_pair_tokens),
        limit=options.limit,
        main_metric=task.evaluation_set.metric,
        metrics=measured.metrics,
        by_query=measured.by_query,
        cost=Cost(len(pairs), sum(pair.tokens for pair in pairs), seconds, len(pairs) / seconds if seconds else 0.0),
        provenance=made_with,
        key=task.key,
        metrics_key=task.metrics_key,
        fuse_weight=options.fuse_weight,
        failures=tuple(failure for scores in scored.values() for failure in scores.failures),
    )


def _set_info(task: Task, pairs: int) -> SetInfo:
    """A set in several languages has its queries' in `notes`, as query_languages."""
    chosen, notes = task.evaluation_set, dict(task.evaluation_set.notes)
    languages = {query: language for query in task.queries if (language := chosen.queries[query].language) is not None}
    if len(set(languages.values())) > 1:
        notes["query_languages"] = languages
    only = next(iter(languages.values())) if len(set(languages.values())) == 1 else notes.get("language")
    return SetInfo(chosen.name, chosen.fingerprint, len(task.queries), pairs, only, notes.get("domain"), notes)
