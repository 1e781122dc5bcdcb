"""A recipe run to its end: stage after stage, each from where it was, and a folder that the engine loads.

    OUTPUT/run.json                 what is trained from what; a folder with another one is refused
    OUTPUT/1-NAME/checkpoint-100    a stage's checkpoints, with optimizer, schedule and random numbers
    OUTPUT/1-NAME/{dev.jsonl, best} figures on the dev sets, and the best weights
    OUTPUT/1-NAME/result            the stage's weights and result.json, once it is done
    OUTPUT/{adapter, model}         peft's adapter, or a whole model in the official layout
    OUTPUT/tensorboard              the logs

Knows stages and folders. Invariant: nothing in OUTPUT that another recipe or base made is used or written over.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gigarank.engine.identity import fingerprint_of
from gigarank.engine.layout import write_json
from gigarank.engine.loading import read_config
from gigarank.engine.numerics import choose_device
from gigarank.engine.reranker import choose_prompt
from gigarank.engine.store import Checkpoint, locate
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer
from gigarank.errors import InvalidInput
from gigarank.model.weights import TensorFiles
from gigarank.prompt import QWEN3_EMBEDDING_V1
from gigarank.training import sharding
from gigarank.training.arguments import arguments
from gigarank.training.claim import claim
from gigarank.training.examples import draw, read_data, steps_of
from gigarank.training.export import ExportOptions, export
from gigarank.training.packing import EmbedderTexts, Encodes, PackedExamples, RerankerPrompts, collate
from gigarank.training.recipe import Recipe, Stage
from gigarank.training.room import check_room, prompts_of
from gigarank.training.rows import Row
from gigarank.training.scorer import Answers, Scorer, build, note_base
from gigarank.training.sharding import first_process, processes
from gigarank.training.trainer import EarlyStop, StageTrainer, Told, wait_for_all, whole_checkpoints
from gigarank.types import EngineOptions, Progress

try:
    from transformers import set_seed
except ImportError as error:
    raise InvalidInput(
        "training needs the packages of gigarank[train]: pip install 'gigarank[train]'", param="train"
    ) from error

RESULT = "result"
Evaluate = Callable[[Path], float]


@dataclass(frozen=True, slots=True)
class StageResult:
    """`loss`: the mean of the last tenth of the logged steps. `best_step` None: there was no dev set. `pairs_per_second`: of
    this run's part of the stage, evaluation included."""

    name: str
    steps: int
    pairs: int
    loss: float
    pairs_per_second: float
    best_step: int | None = None
    best_figure: float | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """`folder` loads as a model, or as an adapter, whose base it names."""

    folder: Path
    stages: tuple[StageResult, ...]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """`evaluate`: the figure of a folder of weights, for early stopping; needed where the recipe has `dev`. `device`: auto, cpu
    or cuda. `progress` counts steps of all stages. `resume` False: a folder with a run in it is refused."""

    output: Path
    device: str = "auto"
    evaluate: Evaluate | None = None
    progress: Progress | None = None
    resume: bool = True


@dataclass(frozen=True)
class _Plan:
    """What is known before anything is trained."""

    recipe: Recipe
    checkpoint: Checkpoint
    rows: list[list[list[Row]]]
    options: RunOptions

    @cached_property
    def text(self) -> TextTokenizer:
        return TextTokenizer.from_folder(self.checkpoint.folder)

    @cached_property
    def prompts(self) -> PromptTokenizer:
        return prompts_of(self.checkpoint, self.text)

    @cached_property
    def on_cpu(self) -> bool:
        """Raises DeviceUnavailable, as the engine does."""
        return choose_device(self.options.device)[0] == "cpu"

    @property
    def steps(self) -> list[int]:
        return [steps_of(stage, rows) for stage, rows in zip(self.recipe.stage, self.rows, strict=True)]

    def folder(self, number: int) -> Path:
        return self.options.output / f"{number + 1}-{self.recipe.stage[number].name}"


def run(recipe: Recipe, options: RunOptions) -> RunResult:
    """Trains. A run that was ended goes on from its last whole checkpoint and ends with the same weights.

    Raises BadFile for data, InvalidInput for what does not fit, CheckpointError for another run's folder, DeviceUnavailable,
    NonFiniteScore for a loss, a gradient or weights that are no numbers, OSError for a full disk. Nothing that is there is
    overwritten.
    """
    if recipe.dev is not None and options.evaluate is None:
        raise InvalidInput("dev: needs an evaluation", param="dev")
    sharding.check()
    choose_device(options.device)
    rows = [read_data(stage, recipe.base.kind) for stage in recipe.stage]
    checkpoint = locate(recipe.base.name, revision=recipe.base.revision)
    plan = _Plan(recipe, checkpoint, rows, options)
    if recipe.base.kind == "reranker":
        for stage, files in zip(recipe.stage, rows, strict=True):
            check_room(stage, files, plan.prompts)
    if first_process():
        claim(options.output, recipe, fingerprint_of(checkpoint), plan.rows, resume=options.resume)
    scorer, results = _built(plan), []
    for number in range(len(recipe.stage)):
        results.append(_stage(plan, scorer, number))
        if sharding.is_sharded(scorer):  # by that stage's trainer, and no other can train it
            scorer = _built(plan)
            scorer.load(plan.folder(number) / RESULT)
    return RunResult(_finish(plan, scorer), tuple(results))


def _built(plan: _Plan) -> Scorer:
    return build(plan.checkpoint, plan.recipe, _answers(plan), on_cpu=plan.on_cpu)


def _stage(plan: _Plan, scorer: Scorer, number: int) -> StageResult:
    stage, folder = plan.recipe.stage[number], plan.folder(number)
    done = folder / RESULT / "result.json"
    if done.is_file():
        scorer.load(folder / RESULT)
        return StageResult(**json.loads(done.read_text(encoding="utf-8")))
    rows = [row for file in plan.rows[number] for row in file]
    examples = PackedExamples(draw(stage, plan.rows[number]), rows, _encodes(plan, stage))
    set_seed(stage.seed)
    trainer = StageTrainer(
        scorer,
        stage,
        examples,
        args=arguments(plan.recipe, number, plan.folder(number), plan.steps[number], on_cpu=plan.on_cpu),
        data_collator=collate,
        callbacks=_callbacks(plan, scorer, number),
    )
    checkpoints = whole_checkpoints(folder)
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(checkpoints[-1]) if checkpoints else None)
    return _kept(plan, trainer, number, time.perf_counter() - began)


def _kept(plan: _Plan, trainer: StageTrainer, number: int, seconds: float) -> StageResult:
    """The stage's weights, the best where there is a dev set, and then what says that it is done."""
    scorer = trainer.scorer
    stop = next((one for one in trainer.callback_handler.callbacks if isinstance(one, EarlyStop)), None)
    if stop is not None and stop.best is not None:
        scorer.load(stop.best_folder)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    last = losses[-max(1, len(losses) // 10) :]
    best = None if stop is None else stop.best
    result = StageResult(
        plan.recipe.stage[number].name,
        trainer.state.global_step,
        trainer.pairs * processes(),
        sum(last) / len(last),
        (trainer.pairs - trainer.pairs_before) * processes() / seconds,
        *(best or (None, None)),
    )
    weights = sharding.whole_state(scorer)
    if trainer.args.should_save:
        folder = plan.folder(number) / RESULT
        shutil.rmtree(folder, ignore_errors=True)
        scorer.save(folder, weights)
        write_json(folder / "result.json", asdict(result))
        for path in whole_checkpoints(plan.folder(number)):
            shutil.rmtree(path)
    wait_for_all()
    return result


def _callbacks(plan: _Plan, scorer: Scorer, number: int) -> list[Any]:
    found: list[Any] = []
    if plan.recipe.dev is not None and plan.options.evaluate is not None:
        dev = plan.recipe.dev
        found.append(EarlyStop(scorer, plan.folder(number), _loadable(plan), dev.every, dev.patience))
    if plan.options.progress is not None:
        found.append(Told(plan.options.progress, sum(plan.steps[:number]), sum(plan.steps)))
    return found


def _loadable(plan: _Plan) -> Evaluate:
    """The evaluation of weights as the trainer saves them: made into what the engine loads first."""

    def evaluate(folder: Path) -> float:
        assert plan.options.evaluate is not None
        if plan.recipe.lora is not None:
            note_base(folder, _base_name(plan))
            return plan.options.evaluate(folder)
        whole = folder.with_name("whole")
        shutil.rmtree(whole, ignore_errors=True)
        try:
            return plan.options.evaluate(_exported(plan, folder, whole))
        finally:
            shutil.rmtree(whole, ignore_errors=True)

    return evaluate


def _exported(plan: _Plan, weights: Path, target: Path) -> Path:
    """Trained weights with everything else of the base."""
    return export(plan.checkpoint, TensorFiles(weights), target, ExportOptions(kind=plan.recipe.base.kind))


def _finish(plan: _Plan, scorer: Scorer) -> Path:
    target = plan.options.output / ("model" if plan.recipe.lora is None else "adapter")
    if target.exists() or not first_process():
        return target
    last = plan.folder(len(plan.recipe.stage) - 1) / RESULT
    if plan.recipe.lora is None:
        return _exported(plan, last, target)
    work = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        scorer.save(work)
        note_base(work, _base_name(plan))
        work.rename(target)
    except OSError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return target


def _base_name(plan: _Plan) -> str:
    """A folder's whole path: an adapter is loaded from anywhere."""
    folder = Path(plan.recipe.base.name).expanduser()
    return str(folder.resolve()) if folder.is_dir() else plan.recipe.base.name


def _answers(plan: _Plan) -> Answers | None:
    if plan.recipe.base.kind == "embedder":
        return None
    text = plan.text
    prompt = choose_prompt(plan.checkpoint, EngineOptions())
    whole = any("sft" in stage.losses for stage in plan.recipe.stage)
    return Answers(text.single(prompt.yes), text.single(prompt.no), whole)


def _encodes(plan: _Plan, stage: Stage) -> Encodes:
    if plan.recipe.base.kind == "reranker":
        return RerankerPrompts(plan.prompts, stage)
    return EmbedderTexts(plan.text, QWEN3_EMBEDDING_V1, stage, read_config(plan.checkpoint.folder).max_position_embeddings)
