"""`gigarank eval run`: score sets or a suite with a model, measure, and keep the results.

Knows how to ask and how to show; scoring and measuring are gigarank.evaluation's. Invariant: whatever the user could correct
is refused before a model is loaded, and what was finished before a failure stays on the disk.
"""

import json as json_text
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gigarank.cli import evaluate_fusion, evaluate_report
from gigarank.cli.command import Debug, Json, as_command
from gigarank.cli.evaluate_suite import SuiteRun, check_first_stage, run_suite
from gigarank.cli.evaluate_suite import to_table as suite_table
from gigarank.cli.loading import LoadOptions, check_kind, load_embedder, load_reranker
from gigarank.cli.output import emit, note
from gigarank.cli.progress import CountBar
from gigarank.cli.reading import check_text
from gigarank.errors import InvalidInput

if TYPE_CHECKING:
    from gigarank.evaluation.candidates import FirstStage
    from gigarank.evaluation.sets import EvalSet
    from gigarank.evaluation.store import TaskResult
    from gigarank.evaluation.task import RunOptions, Scores

DENSE = "qwen3-embedding-0.6b"
WHOLE = 1_000_000
"""Candidates a query, where all of them are asked for."""

app = typer.Typer(
    help="Measure a model on labelled sets.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    epilog="[bold]Examples[/]\n\n  gigarank eval run --data ./scifact --model nano --limit 40 --top-k 20\n\n"
    "  gigarank eval run --data ./sets --model 0.6b --first-stage bm25 --fuse\n\n"
    "  gigarank eval run --suite MTEB-R --model Qwen/Qwen3-Reranker-0.6B",
)


@app.callback()
def _group() -> None:
    """Measure a model on labelled sets."""


@dataclass(frozen=True, kw_only=True)
class EvalOptions(LoadOptions):
    """The command line of `gigarank eval run`."""

    data: Annotated[
        list[Path] | None,
        typer.Option(help="A BEIR folder, or a folder of such; may be given again.", show_default=False),
    ] = None
    suite: Annotated[str | None, typer.Option(help="A published suite, such as MTEB-R.", show_default=False)] = None
    first_stage: Annotated[
        str | None,
        typer.Option(
            help=f"own (the set's candidates, where it has some: the default), bm25, {DENSE}, or a TREC run file.",
            show_default=False,
        ),
    ] = None
    top_k: Annotated[int | None, typer.Option(min=1, help="Candidates a query (100).", show_default=False)] = None
    limit: Annotated[
        int | None, typer.Option(min=1, help="Queries a set, evenly spread; all if not given.", show_default=False)
    ] = None
    full: Annotated[bool, typer.Option("--full", help="Every query and every candidate.")] = False
    instruction: Annotated[
        str | None, typer.Option(help="The task, where a query has none of its own.", show_default=False)
    ] = None
    fuse: Annotated[bool, typer.Option("--fuse", help="Measure also the sum with the first stage's score.")] = False
    fuse_weight: Annotated[
        float | None, typer.Option(min=0, help="The first stage's weight in that sum (1).", show_default=False)
    ] = None
    mteb_convention: Annotated[
        bool, typer.Option("--mteb-convention", help="Of a suite: ask as mteb's own wrapper does, the instruction twice.")
    ] = False
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of the results.")] = Path("results")
    json: Json = False
    debug: Debug = False


def run(options: EvalOptions) -> None:
    """Score the candidates of every set, measure them, and keep a JSON file and a TREC run a set.

    A run that was ended goes on where it was when it is begun again; what is there already is not done twice.
    """
    check_options(options)
    if options.suite is not None:
        measure_suite(options, options.suite)
        return
    sets = read_sets(options)
    stages = [choose_stage(options, one) for one in sets]
    model = load_reranker(options)
    settings = replace(run_options(options), parameters=parameters_of(model))
    evaluate(sets, stages, model, settings, options.json)


def check_options(options: EvalOptions) -> None:
    """Raises InvalidInput for what does not go together."""
    check_text("instruction", options.instruction)
    check_kind(options.model, "reranker")
    if not options.data and options.suite is None:
        raise InvalidInput("data: nothing to measure; name a folder with --data or a suite with --suite", param="data")
    if options.suite is not None and (wish := _not_of_suites(options)):
        raise InvalidInput(f"suite: goes without --{wish}; a suite has its own data and instructions", param="suite")
    if options.suite is None and options.mteb_convention:
        raise InvalidInput("mteb_convention: is for a suite", param="mteb_convention", limit="suite", received=True)
    if options.full and (options.limit is not None or options.top_k is not None):
        raise InvalidInput("full: means every query and candidate; leave out --limit and --top-k", param="full")
    if options.output.exists() and not options.output.is_dir():
        raise InvalidInput(f"output: {options.output} is no folder", param="output", received=str(options.output))


def _not_of_suites(options: EvalOptions) -> str | None:
    """The first wish that a suite leaves no room for."""
    wishes = {
        "data": options.data,
        "instruction": options.instruction,
        "fuse": options.fuse,
        "fuse-weight": options.fuse_weight is not None,
    }
    return next((name for name, wish in wishes.items() if wish), None)


def measure_suite(options: EvalOptions, suite: str) -> None:
    """The suite's tasks, one after the other; a line each on standard error, the table or the JSON at the end."""
    import dataclasses

    from gigarank.evaluation.provenance import describe
    from gigarank.evaluation.suites import find_suite
    from gigarank.evaluation.task import slug

    name = find_suite(suite).name
    stage = check_first_stage(options.first_stage, DENSE)
    reranker = load_reranker(options)
    settings = run_options(options)
    rows = run_suite(
        SuiteRun(
            suite=name,
            reranker=reranker,
            embedder=load_embedder(_dense(options)) if stage == DENSE else None,
            top_k=settings.top_k,
            limit=options.limit,
            path=options.output / slug(reranker.name) / f"{name}.suite.jsonl",
            provenance=lambda started: dataclasses.asdict(describe(settings.machine, started)),
            machine=settings.machine,
            first_stage=stage,
            mteb_convention=options.mteb_convention,
            vectors=cache() / "vectors",
        )
    )
    emit(json_text.dumps({"rows": rows}, ensure_ascii=False) + "\n" if options.json else suite_table(rows))


def _dense(options: EvalOptions) -> LoadOptions:
    return LoadOptions(model=DENSE, dtype=options.dtype, device=options.device)


def read_sets(options: EvalOptions) -> "list[EvalSet]":
    """The sets of the folders, and of the suite. Raises BadFile that names file and line, InvalidInput."""
    from gigarank.evaluation.beir import read_beir

    sets = [read_beir(folder) for path in options.data or () for folder in set_folders(path)]
    names = [one.name for one in sets]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InvalidInput(f"data: two sets are called {twice[0]}", param="data", received=twice[0])
    return sets


def set_folders(path: Path) -> list[Path]:
    """The folder itself, if it is a set, else the sets that it holds. Raises InvalidInput."""
    if (path / "corpus.jsonl").is_file():
        return [path]
    found = sorted(folder.parent for folder in path.glob("*/corpus.jsonl"))
    if not found:
        message = f"data: {path} holds no corpus.jsonl, and no folder that does"
        raise InvalidInput(message, param="data", limit="corpus.jsonl", received=str(path))
    return found


def choose_stage(options: EvalOptions, evaluation_set: "EvalSet") -> "FirstStage":
    """The first stage that was asked for; without one the set's own candidates, or BM25 where it has none."""
    from gigarank.evaluation.candidates import Bm25Search, DenseSearch, OwnCandidates, RunFile
    from gigarank.evaluation.trec import read_run

    asked = options.first_stage or ("own" if evaluation_set.candidates is not None else "bm25")
    if asked == "own":
        return OwnCandidates()
    if asked == "bm25":
        return Bm25Search()
    if asked.lower() == DENSE:
        return DenseSearch(DENSE, lambda: load_embedder(_dense(options)), cache() / "vectors", CountBar("embedding"))
    path = Path(asked)
    if not path.is_file():
        known = ["own", "bm25", DENSE]
        message = f"first_stage: {asked} is neither {', '.join(known)} nor a file"
        raise InvalidInput(message, param="first_stage", limit=known, received=asked)
    return RunFile(path, read_run(path))


def cache() -> Path:
    """Where candidates and vectors are kept from one run to the next."""
    from gigarank.engine.presence import cache_folder

    return cache_folder() / "eval"


def run_options(options: EvalOptions) -> "RunOptions":
    from gigarank.bench.machine import describe
    from gigarank.evaluation.task import RunOptions

    weighed = options.fuse or options.fuse_weight is not None
    return RunOptions(
        output=options.output,
        top_k=WHOLE if options.full else options.top_k or 100,
        limit=options.limit,
        instruction=options.instruction,
        fuse_weight=(1.0 if options.fuse_weight is None else options.fuse_weight) if weighed else None,
        cache=cache() / "candidates",
        machine=describe(()),
    )


def parameters_of(model: Any) -> int | None:
    """The number of weights, where the catalogue knows the model."""
    checkpoint = model.checkpoint
    return checkpoint.model.parameters if checkpoint is not None and checkpoint.model is not None else None


def evaluate(
    sets: "Sequence[EvalSet]", stages: "Sequence[FirstStage]", model: "Scores", settings: "RunOptions", as_json: bool
) -> None:
    """One set after the other; a line each on standard error, the table or the JSON at the end."""
    from gigarank.evaluation.run import run_task

    results = []
    for number, (one, stage) in enumerate(zip(sets, stages, strict=True), 1):
        with CountBar(f"{one.name} ({number} of {len(sets)})") as bar:
            results.append(run_task(one, model, replace(settings, first_stage=stage), bar))
        note(_line(results[-1]))
    emit(to_json(results, settings) if as_json else to_table(results))


def _line(result: "TaskResult") -> str:
    found, cost = result.metrics[result.main_metric], result.cost
    failed = f", {len(result.failures)} pairs FAILED" if result.failures else ""
    return (
        f"{result.set.name}: {result.main_metric} {found.reranked:.4f} (first stage {found.first_stage:.4f}), "
        f"{cost.pairs} pairs, {cost.pairs_per_second:.1f} pairs/s{failed}"
    )


def to_table(results: "Sequence[TaskResult]") -> str:
    """A Markdown table, a set a row: its own metric, each side's mean, and the 95% interval of the difference."""
    heading = ["set", "queries", "metric", "first stage", "reranked", "fused", "oracle", "difference, 95%", "significant"]
    rows = [heading, ["---"] * len(heading), *map(_row, results)]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _row(result: "TaskResult") -> list[str]:
    found = result.metrics[result.main_metric]
    values = [found.first_stage, found.reranked, found.fused, found.oracle]
    return [
        result.set.name,
        str(result.set.queries),
        result.main_metric,
        *("" if value is None else f"{value:.4f}" for value in values),
        f"{found.interval[0]:+.4f} to {found.interval[1]:+.4f}",
        "yes" if found.significant else "no",
    ]


def to_json(results: "Sequence[TaskResult]", settings: "RunOptions") -> str:
    """What was found, without the figures of single queries: those are in the files that `result` names."""
    import dataclasses

    from gigarank.evaluation.task import result_path

    shown = []
    for result in results:
        content = dataclasses.asdict(result)
        del content["by_query"]
        shown.append({"result": str(result_path(settings.output, result.model.name, result.set.name)), **content})
    return json_text.dumps({"results": shown}, ensure_ascii=False) + "\n"


app.command()(as_command(EvalOptions, run))
evaluate_report.mount(app)
evaluate_fusion.mount(app)
