"""How fast training is, beside sentence-transformers' trainer: `scripts/bench train-speed`.

Both fine-tune all weights of the same random model on the same rows with the same loss (ListNet), optimizer and number of
queries a step, one after the other, `--repeats` times. sentence-transformers reads every pair by itself and asks for the whole
vocabulary's logits; here a query's documents share its prefix, and only the answers' rows are computed. Prints one JSON object:
the medians, and the median of the rounds' ratios.
"""

import argparse
import builtins
import contextlib
import json
import random
import re
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import ListNetLoss

from gigarank.bench.checkpoint import write_checkpoint
from gigarank.catalogue import Shape
from gigarank.prompt import QWEN3_V1
from gigarank.training.loop import RunOptions, run
from gigarank.training.recipe import Base, Data, Recipe, Stage

SHAPE = Shape("qwen3", 256, 6, 4, 2, 64, 768, 20_000, True, 1e6, 1e-6, 8_192)
QUERIES = 4


def make_rows(count: int, documents: int, words: int) -> list[dict[str, list[str] | str | list[float]]]:
    """Rows of English words, from Python's own documentation; what they say has no bearing on the speed."""
    dice = random.Random(0)
    texts = [str(one.__doc__) for one in vars(builtins).values()]
    vocabulary = sorted({word for text in texts for word in re.findall(r"[a-z]{2,}", text)})
    return [
        {
            "query": " ".join(dice.choices(vocabulary, k=8)),
            "documents": [" ".join(dice.choices(vocabulary, k=words)) for _ in range(documents)],
            "labels": [1.0] + [0.0] * (documents - 1),
        }
        for _ in range(count)
    ]


def ours(model: Path, data: Path, output: Path, steps: int, documents: int) -> float:
    """Pairs a second."""
    stage = Stage(
        name="one",
        losses={"listnet": 1.0},
        data=(Data(path=data),),
        steps=steps,
        queries=QUERIES,
        documents=documents,
        learning_rate=1e-4,
    )
    recipe = Recipe(stage=(stage,), base=Base(name=str(model)), save_every=steps + 1)
    return run(recipe, RunOptions(output=output, device="cpu")).stages[0].pairs_per_second


def theirs(model: Path, rows: Sequence[dict[str, list[str] | str | list[float]]], output: Path, steps: int) -> float:
    """Pairs a second."""
    encoder = CrossEncoder(str(model), device="cpu", max_length=512, model_kwargs={"dtype": torch.float32})
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(output),
        max_steps=steps,
        per_device_train_batch_size=QUERIES,
        learning_rate=1e-4,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    trainer = CrossEncoderTrainer(
        model=encoder, args=arguments, train_dataset=Dataset.from_list(list(rows)), loss=ListNetLoss(encoder)
    )
    began = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # what the trainer prints at its end is not the result
        trainer.train()
    return steps * QUERIES * len(rows[0]["documents"]) / (time.perf_counter() - began)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench train-speed", description=__doc__)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--documents", type=int, default=8, help="documents a query")
    parser.add_argument("--words", type=int, default=60, help="words a document")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore", FutureWarning)
    rows = make_rows(asked.steps * QUERIES, asked.documents, asked.words)
    found: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="gigarank-train-speed-") as name:
        folder = Path(name)
        model, data = folder / "model", folder / "rows.jsonl"
        write_checkpoint(model, SHAPE, QWEN3_V1)
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        for number in range(asked.repeats):
            mine = ours(model, data, folder / f"ours-{number}", asked.steps, asked.documents)
            found.append((mine, theirs(model, rows, folder / f"theirs-{number}", asked.steps)))
    told = {
        "documents": asked.documents,
        "words": asked.words,
        "pairs_per_second": statistics.median(mine for mine, _ in found),
        "sentence_transformers_pairs_per_second": statistics.median(other for _, other in found),
        "ratio": statistics.median(mine / other for mine, other in found),
    }
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
