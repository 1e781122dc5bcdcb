"""A suite's tasks through mteb: the first stage's candidates, reranked and measured, by mteb's code and by ours.

Knows mteb's tasks; their data come from the Hugging Face hub. Invariants: both stages read the same documents; a figure of ours
that mteb computes too is checked by the tests to be the same; where the data cannot be had the error says so in one sentence.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from gigarank.engine.bm25 import Bm25
from gigarank.errors import InvalidInput
from gigarank.evaluation.adapter import MtebEncoder, MtebReranker, Reranks
from gigarank.evaluation.dense import Embeds
from gigarank.evaluation.kept import KeptScores
from gigarank.evaluation.suite_figures import P_MRR, figures_of, stem
from gigarank.evaluation.suites import TOP_K, SuiteTask, find_suite
from gigarank.types import Progress

try:
    import mteb
    from datasets import disable_progress_bars, load_dataset
except ImportError as error:
    raise InvalidInput("suites need the package mteb: pip install 'gigarank[eval]'", param="suite") from error

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SuiteOptions:
    """`limit`: that many queries of each language and split, evenly spread; None: all. `mteb_convention`: as `MtebReranker`.

    `bm25` finds candidates where there is no embedder. `scores` is a file and `vectors` a folder where what was computed is
    kept as it comes, so that a task that was ended goes on where it was; None keeps nothing.
    """

    top_k: int = TOP_K
    limit: int | None = None
    bm25: bool = False
    mteb_convention: bool = False
    scores: Path | None = None
    vectors: Path | None = None
    progress: Progress | None = None


def suite_run(
    suite: str, reranker: Reranks, embedder: Embeds | None, options: SuiteOptions | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of every task of the suite, each task's when it is done; see `task_run`. Raises InvalidInput."""
    for task in find_suite(suite).tasks:
        yield from task_run(pinned(task), task, reranker, embedder, options or SuiteOptions())


def pinned(described: SuiteTask) -> Any:
    """mteb's task, with the data set's revision and the splits that the suite names."""
    task = mteb.get_task(described.name, eval_splits=list(described.splits))
    dataset = {**task.metadata.dataset, "path": described.dataset, "revision": described.revision}
    task.metadata = task.metadata.model_copy(update={"dataset": dataset})
    return task


def task_run(
    task: Any, described: SuiteTask, reranker: Reranks, embedder: Embeds | None, options: SuiteOptions
) -> list[dict[str, Any]]:
    """One row a split and language: the main score reranked, of the first stage and of the oracle, with its interval.

    Without an embedder the task's own candidates are reranked. `mteb` in a row is mteb's figure of the same run, and `run` the
    run itself: query id -> document id -> logit. Raises InvalidInput where there are no data or no candidates, and what the
    models raise.
    """
    disable_progress_bars()  # several for every task; `progress` tells what takes long
    _load(task, described)
    _shorten(task, described, options.limit)
    lost = _lost(task, described)
    with tempfile.TemporaryDirectory(prefix="gigarank-suite-") as folder:
        first, second = Path(folder) / "first", Path(folder) / "second"
        if embedder is not None:
            encoder = MtebEncoder(embedder, instructions=lambda _: described.instruction, vectors=options.vectors)
            _evaluated(encoder, task, first)
            task.convert_to_reranking(first, top_k=options.top_k)
        elif options.bm25:
            _search_words(task, described, options.top_k)
        _check_candidates(task, described)
        adapter = MtebReranker(
            reranker,
            instructions=lambda _: described.instruction,
            mteb_convention=options.mteb_convention,
            kept=None if options.scores is None else KeptScores(options.scores),
            progress=options.progress,
        )
        scores = _evaluated(adapter, task, second)
        runs = json.loads((second / task.prediction_file_name).read_text(encoding="utf-8"))
    return [
        _row(described, split, scored, figures_of(task, described, runs, lost, (split, scored["hf_subset"])))
        for split, found in scores.items()
        for scored in found
    ]


def _evaluated(model: Any, task: Any, folder: Path) -> dict[str, list[dict[str, Any]]]:
    found = mteb.evaluate(
        model,
        task,
        cache=None,
        co2_tracker=False,
        encode_kwargs={"batch_size": 32, "show_progress_bar": False},
        prediction_folder=folder,
        show_progress_bar=False,
    )
    scores: dict[str, list[dict[str, Any]]] = found.task_results[0].scores
    return scores


def _load(task: Any, described: SuiteTask) -> None:
    if not task.data_loaded:
        _fetched(described, task.load_data)
        task.convert_v1_dataset_format_to_v2(num_proc=None)
        task.data_loaded = True  # so that it is neither loaded again nor dropped between the stages


def _fetched(described: SuiteTask, load: Callable[[], T]) -> T:
    try:
        return load()
    except (OSError, httpx2.HTTPError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InvalidInput(
            f"{described.name}: its data ({described.dataset} on the Hugging Face hub) cannot be fetched: {reason}; "
            "bring a set as a BEIR folder (corpus.jsonl, queries.jsonl, qrels/test.tsv) and name it with --data",
            param="suite",
            received=described.name,
        ) from error


def _lost(task: Any, described: SuiteTask) -> Mapping[str, Sequence[str]]:
    """For p-MRR: query id, without its ending, -> the documents that the changed instruction makes not relevant."""
    if described.metric != P_MRR:
        return {}
    if hasattr(task, "changed_qrels"):
        own: Mapping[str, Sequence[str]] = task.changed_qrels
        return own
    rows = _fetched(
        described,
        lambda: load_dataset(described.dataset, "qrel_diff", split="qrel_diff", revision=described.revision),
    )
    return {row["query-id"]: row["corpus-ids"] for row in rows}


def _parts(task: Any, described: SuiteTask) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for subset, splits in task.dataset.items():
        for split in described.splits:
            yield split, subset, splits[split]


def _shorten(task: Any, described: SuiteTask, limit: int | None) -> None:
    if limit is None:
        return
    if limit < 1:
        raise InvalidInput(f"limit: must be at least 1, not {limit}", param="limit", limit=1, received=limit)
    for _, _, data in _parts(task, described):
        ids = [query for query in data["queries"]["id"] if data["relevant_docs"].get(query)]
        stems = list(dict.fromkeys(stem(query) for query in ids))
        kept = {stems[place * len(stems) // limit] for place in range(limit)} if limit < len(stems) else set(stems)
        data["queries"] = data["queries"].filter(lambda row, kept=kept: stem(row["id"]) in kept)
        data["relevant_docs"] = {query: data["relevant_docs"][query] for query in ids if stem(query) in kept}


def _search_words(task: Any, described: SuiteTask, top_k: int) -> None:
    """BM25's best documents of the whole corpus as the task's candidates; a query never finds itself where mteb forbids it."""
    for _, _, data in _parts(task, described):
        ids = list(data["corpus"]["id"])
        index = Bm25([f"{row.get('title') or ''} {row['text']}".strip() for row in data["corpus"]])
        found = {}
        for row in data["queries"]:
            near = [ids[place] for place, _ in index.search(row["text"], top_k + 1)]
            own = [one for one in near if one != row["id"]] if task.ignore_identical_ids else near
            found[row["id"]] = own[:top_k]
        data["top_ranked"] = found


def _check_candidates(task: Any, described: SuiteTask) -> None:
    for split, subset, data in _parts(task, described):
        if data["top_ranked"] is None:
            raise InvalidInput(
                f"{described.name} ({subset}, {split}): the task has no candidates of its own; a first stage is needed",
                param="first_stage",
                received=None,
            )


def _row(described: SuiteTask, split: str, scored: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    theirs = scored[described.metric]
    return {
        "task": described.name,
        "split": split,
        "subset": scored["hf_subset"],
        "languages": list(scored["languages"]),
        "metric": described.metric,
        **figures,
        "mteb": theirs * 100 if described.metric == P_MRR else theirs,
        "instruction": described.instruction,
        "dataset": described.dataset,
        "revision": described.revision,
    }
