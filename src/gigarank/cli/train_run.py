"""`gigarank train run`: a recipe, from its file to weights that load.

Knows how to ask and to tell; the training is gigarank.training's, the figures of a dev set gigarank.evaluation's. Invariant:
the two meet here only.
"""

import dataclasses
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gigarank.cli.command import Debug, Json
from gigarank.cli.output import emit, note
from gigarank.cli.progress import CountBar
from gigarank.cli.train_output import require_packages

if TYPE_CHECKING:
    from gigarank.training.loop import RunResult
    from gigarank.training.recipe import Dev


@dataclass(frozen=True, kw_only=True)
class RunCommand:
    """The command line of `gigarank train run`."""

    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a TOML file.", show_default=False)]
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The run's folder: new, or this run's own.", show_default=False)
    ]
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where it computes.")] = "auto"
    resume: Annotated[bool, typer.Option(help="Go on with a run that was ended.")] = True
    check: Annotated[bool, typer.Option("--check", help="Read the recipe and its data, and say what would be done.")] = False
    json: Json = False
    debug: Debug = False


def run(options: RunCommand) -> None:
    """Train by a recipe: stage after stage, with LoRA or whole.

    A run that was ended goes on from its last checkpoint when it is started again, and ends with the same weights.
    On several devices it runs under `torchrun` or `accelerate launch`: see docs/training.md.
    """
    from gigarank.training.examples import read_data, steps_of
    from gigarank.training.recipe import read_recipe

    recipe = read_recipe(options.recipe)
    if options.check:
        from gigarank.training.room import check_room, prompts_if_here

        stages, prompts = list[dict[str, object]](), prompts_if_here(recipe.base)
        for stage in recipe.stage:
            rows = read_data(stage, recipe.base.kind)
            if prompts is not None:
                check_room(stage, rows, prompts)
            stages.append(
                {"stage": stage.name, "rows": sum(map(len, rows)), "steps": steps_of(stage, rows), "losses": stage.losses}
            )
        _tell_plan(stages, options.json)
        return
    require_packages("train", "transformers", "peft", "accelerate", "tensorboard")
    from gigarank.training.loop import RunOptions
    from gigarank.training.loop import run as train
    from gigarank.training.sharding import first_process

    evaluate = None if recipe.dev is None else dev_figure(recipe.dev, options.device)
    with CountBar("training") as bar:
        asked = RunOptions(output=options.output, device=options.device, evaluate=evaluate, progress=bar, resume=options.resume)
        done = train(recipe, asked)
    if first_process():
        _tell(done, options.json)


def dev_figure(dev: "Dev", device: str) -> Callable[[Path], float]:
    """The mean of the dev sets' figures, of a folder of weights. A set without candidates of its own has those that BM25 finds,
    as in `gigarank eval run`. Raises BadFile, InvalidInput before any is measured."""
    from gigarank.engine.reranker import Reranker
    from gigarank.evaluation.beir import read_beir
    from gigarank.evaluation.candidates import Bm25Search, OwnCandidates
    from gigarank.evaluation.metrics import check_metric
    from gigarank.evaluation.run import run_task
    from gigarank.evaluation.task import DEFAULT_METRICS, RunOptions

    check_metric(dev.metric)
    sets = [read_beir(folder) for folder in dev.sets]
    searched = [(one, Bm25Search() if one.candidates is None else OwnCandidates()) for one in sets]
    metrics = tuple(dict.fromkeys((dev.metric, *DEFAULT_METRICS)))

    def figure(weights: Path) -> float:
        reranker = Reranker.load(weights, device=device)
        with tempfile.TemporaryDirectory(prefix="gigarank-dev-") as folder:
            options = RunOptions(output=Path(folder), top_k=dev.top_k, limit=dev.limit, metrics=metrics)
            runs = [run_task(one, reranker, dataclasses.replace(options, first_stage=stage)) for one, stage in searched]
        found = [run.metrics[dev.metric].reranked for run in runs]
        return sum(found) / len(found)

    return figure


def _tell_plan(stages: "list[dict[str, object]]", as_json: bool) -> None:
    if as_json:
        emit(json.dumps({"stages": stages}) + "\n")
        return
    for stage in stages:
        note(f"{stage['stage']}: {stage['rows']} rows, {stage['steps']} steps")


def _tell(done: "RunResult", as_json: bool) -> None:
    if as_json:
        stages = [dataclasses.asdict(stage) for stage in done.stages]
        emit(json.dumps({"folder": str(done.folder), "stages": stages}) + "\n")
        return
    for stage in done.stages:
        best = "" if stage.best_step is None else f", best {stage.best_figure:.4f} at step {stage.best_step}"
        note(f"{stage.name}: {stage.steps} steps, loss {stage.loss:.4f}, {stage.pairs_per_second:.1f} pairs/s{best}")
    note(f"{done.folder}")
