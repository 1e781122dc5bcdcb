"""What transformers' Trainer is told of a stage.

Knows the recipe and the trainer's names; trains nothing.
"""

import os
from pathlib import Path
from typing import Any

from gigarank.errors import InvalidInput
from gigarank.training.recipe import Recipe
from gigarank.training.sharding import processes

try:
    from transformers import TrainingArguments
except ImportError as error:
    raise InvalidInput(
        "training needs the packages of gigarank[train]: pip install 'gigarank[train]'", param="train"
    ) from error


def arguments(recipe: Recipe, number: int, folder: Path, steps: int, *, on_cpu: bool) -> Any:
    """transformers' TrainingArguments of a stage that leaves its checkpoints in `folder`, and its logs beside those of all
    stages. Raises InvalidInput where the queries of a step cannot be shared among the processes."""
    stage = recipe.stage[number]
    count = processes()
    if stage.queries % (stage.at_once * count):
        raise InvalidInput(
            f"stage[{number}].queries: {count} processes of {stage.at_once} queries at once do not divide {stage.queries}",
            param="queries",
            limit=stage.at_once * count,
            received=stage.queries,
        )
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder.parent / "tensorboard" / folder.name)
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=stage.at_once,
        gradient_accumulation_steps=stage.queries // (stage.at_once * count),
        learning_rate=stage.learning_rate,
        lr_scheduler_type=stage.schedule,
        warmup_steps=round(stage.warmup * steps),
        weight_decay=stage.weight_decay,
        max_grad_norm=stage.max_grad_norm,
        bf16=recipe.base.dtype == "bf16",
        save_strategy="steps",
        save_steps=recipe.save_every,
        logging_strategy="steps",
        logging_steps=max(1, steps // 100),
        report_to=["tensorboard"],
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=on_cpu,
        ddp_find_unused_parameters=False,
        ddp_backend="gloo" if on_cpu and count > 1 else None,
        seed=stage.seed,
        dataloader_pin_memory=False,
    )
