"""transformers' Trainer over packed examples: our losses, our checkpoints, and the reasons why a run ends early.

Knows one stage. Invariants: a checkpoint counts only when it is whole; a run that goes on from one ends with the weights of a
run that was never ended; a loss or a gradient that is no number ends the run before it reaches the weights.
"""

import errno
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from gigarank.engine.layout import write_json
from gigarank.errors import InvalidInput, NonFiniteScore
from gigarank.training import sharding
from gigarank.training.losses import Judged, combined, contrastive
from gigarank.training.packing import PackedExamples
from gigarank.training.recipe import Stage
from gigarank.training.scorer import Scorer
from gigarank.types import Progress

try:
    from safetensors import SafetensorError
    from transformers import Trainer, TrainerCallback
    from transformers.trainer_callback import PrinterCallback, ProgressCallback
except ImportError as error:
    raise InvalidInput(
        "training needs the packages of gigarank[train]: pip install 'gigarank[train]'", param="train"
    ) from error

WHOLE = "whole.json"
"""The file that is written last into a checkpoint."""
KEPT = 2
"""Checkpoints of a stage that stay."""


class StageTrainer(Trainer):  # type: ignore[misc]
    """Trains a Scorer on a stage. Raises NonFiniteScore, OSError."""

    def __init__(self, scorer: Scorer, stage: Stage, examples: PackedExamples, **options: Any) -> None:
        self.stage = stage
        self.scorer = scorer
        self.pairs = self.pairs_before = 0  # of this process, with and without what an earlier run did
        super().__init__(model=scorer, train_dataset=examples, **options)
        for callback in (PrinterCallback, ProgressCallback):
            self.remove_callback(callback)
        self.add_callback(_Finite(scorer, stage))
        told = self.callback_handler.callbacks
        told.sort(key=lambda one: not isinstance(one, EarlyStop))  # what it adds to the logs is for those behind it

    def compute_loss(self, model: Any, inputs: dict[str, Tensor], **_: Any) -> Tensor:
        labels, taught, owners = (inputs.pop(name) for name in ("labels", "taught", "owners"))
        output, log_sum = model(**inputs)
        self.pairs += len(labels)
        loss = (
            _embedder_loss(self.stage, output, labels, owners)
            if self.scorer.answers is None
            else _reranker_loss(self.stage, Judged(output, labels, taught, log_sum), owners)
        )
        if not torch.isfinite(loss):
            step, found = self.state.global_step + 1, float(loss.detach())
            raise NonFiniteScore(
                f"stage {self.stage.name}, step {step}: the loss is {found}; a lower learning_rate or fp32 may help; "
                "the last checkpoint is as it was",
                param="loss",
                received=str(found),
            )
        return loss

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if sharding.on_cpus(self.accelerator):
            self.is_fsdp_enabled = True

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(train_dataset or self.train_dataset)  # the examples are in their order already

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        weights = sharding.whole_state(self.scorer)
        if self.args.should_save:
            self.scorer.save(Path(output_dir or self.args.output_dir), weights)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
            if self.args.should_save:
                write_json(folder / WHOLE, {"step": self.state.global_step, "pairs": self.pairs})
                _prune(Path(self.args.output_dir))
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, torch.OutOfMemoryError):
                raise
            number = error.errno if isinstance(error, OSError) and error.errno else errno.ENOSPC
            raise OSError(
                number, f"this checkpoint could not be written ({error}); earlier ones are as they were", str(folder)
            ) from error

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ARG002 - the trainer's
        folder = Path(resume_from_checkpoint)
        self.scorer.load(folder)
        self.pairs = self.pairs_before = json.loads((folder / WHOLE).read_text(encoding="utf-8"))["pairs"]


def _reranker_loss(stage: Stage, judged: Judged, owners: Tensor) -> Tensor:
    """The mean over the queries of a forward."""
    losses = []
    for owner in range(int(owners.max()) + 1):
        own = owners == owner
        one = Judged(
            judged.answers[own],
            judged.labels[own],
            judged.taught[own],
            None if judged.log_sum is None else judged.log_sum[own],
            stage.temperature,
            stage.false_negative_margin,
        )
        losses.append(combined(stage.losses, one))
    return torch.stack(losses).mean()


def _embedder_loss(stage: Stage, vectors: Tensor, labels: Tensor, owners: Tensor) -> Tensor:
    """Each example's first vector is its query's."""
    is_query = torch.zeros(len(vectors), dtype=torch.bool, device=vectors.device)
    counts = torch.bincount(owners)
    is_query[(counts + 1).cumsum(0) - counts - 1] = True
    loss = contrastive(
        vectors[is_query], vectors[~is_query], owners, labels > 0, stage.temperature, stage.false_negative_margin
    )
    return loss * stage.losses["infonce"]


def whole_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a stage's folder that were written to their end, oldest first."""
    found = [path for path in folder.glob("checkpoint-*") if (path / WHOLE).is_file()]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def _prune(folder: Path) -> None:
    keep = whole_checkpoints(folder)[-KEPT:]
    for path in folder.glob("checkpoint-*"):
        if path not in keep:
            shutil.rmtree(path, ignore_errors=True)


class Told(TrainerCallback):  # type: ignore[misc]
    """Passes every step on to a progress."""

    def __init__(self, progress: Progress, before: int, total: int) -> None:
        self._progress, self._before, self._total = progress, before, total

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._progress(self._before + state.global_step, self._total)


class _Finite(TrainerCallback):  # type: ignore[misc]
    """Ends the run before a gradient that is no number reaches the weights."""

    def __init__(self, scorer: Scorer, stage: Stage) -> None:
        self._scorer, self._stage = scorer, stage

    def on_pre_optimizer_step(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        grads = {name: one.grad for name, one in self._scorer.named_parameters() if one.grad is not None}
        fine = torch.stack([sharding.own_part(grad).isfinite().all() for grad in grads.values()])
        if not fine.all():  # asked once a step: on a GPU each answer waits for all that was begun
            name = next(name for name, one in zip(grads, fine.tolist(), strict=True) if not one)
            raise NonFiniteScore(
                f"stage {self._stage.name}, step {state.global_step + 1}: the gradient of {name} is no number; a lower "
                "learning_rate or fp32 may help; the last checkpoint is as it was",
                param="gradient",
                received=name,
            )


class EarlyStop(TrainerCallback):  # type: ignore[misc]
    """Evaluates every `every` steps, keeps the best weights, and stops after `patience` evaluations without a better one.

    `evaluate` gets a folder that the engine can load, and gives a figure of which more is better. What was found is in
    `dev.jsonl`, a line an evaluation; lines of steps that are run again are written again.
    """

    def __init__(self, scorer: Scorer, folder: Path, evaluate: Callable[[Path], float], every: int, patience: int) -> None:
        self._scorer, self._folder, self._evaluate = scorer, folder, evaluate
        self._every, self._patience = every, patience
        self.figures: list[tuple[int, float]] = []
        self.best_folder = folder / "best"

    @property
    def _log(self) -> Path:
        return self._folder / "dev.jsonl"

    @property
    def best(self) -> tuple[int, float] | None:
        """The step and figure of the best weights so far; the earliest of equals."""
        return max(self.figures, key=lambda found: (found[1], -found[0]), default=None)

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        lines = self._log.read_text(encoding="utf-8").splitlines() if self._log.is_file() else []
        found = [(int(one["step"]), float(one["figure"])) for one in map(json.loads, lines)]
        self.figures = [one for one in found if one[0] <= state.global_step]

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> Any:
        if state.global_step % self._every and state.global_step < state.max_steps:
            return control
        weights = sharding.whole_state(self._scorer)
        figure = self._measured(weights) if state.is_world_process_zero else math.nan
        self.figures.append((state.global_step, _agreed(figure)))
        best = self.best
        assert best is not None
        if state.is_world_process_zero:
            self._keep(best[0] == state.global_step)
        wait_for_all()
        since = sum(step > best[0] for step, _ in self.figures)
        control.should_training_stop = control.should_training_stop or since >= self._patience
        return control

    def on_log(self, _args: Any, _state: Any, _control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs is not None and "loss" in logs and self.figures:
            logs["dev"] = self.figures[-1][1]

    def _measured(self, weights: dict[str, Tensor] | None) -> float:
        self._scorer.save(self._candidate, weights)
        self._scorer.eval()
        figure = self._evaluate(self._candidate)
        self._scorer.train()
        return figure

    @property
    def _candidate(self) -> Path:
        return self._folder / "candidate"

    def _keep(self, better: bool) -> None:
        if better:
            shutil.rmtree(self.best_folder, ignore_errors=True)
            self._candidate.rename(self.best_folder)
        rows: Sequence[str] = [json.dumps({"step": step, "figure": figure}) + "\n" for step, figure in self.figures]
        self._log.write_text("".join(rows), encoding="utf-8")


def wait_for_all() -> None:
    """Returns when every process of the run is here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def _agreed(figure: float) -> float:
    """The first process's figure, in all of them."""
    if not torch.distributed.is_initialized():
        return figure
    told = [figure]
    torch.distributed.broadcast_object_list(told, src=0)
    return told[0]
