"""What the tests of training share: a tiny checkpoint, rows about colours, and recipes as text."""

import json
import random
from pathlib import Path
from typing import Any

from gigarank.bench.checkpoint import write_checkpoint
from gigarank.catalogue import Shape
from gigarank.prompt import QWEN3_V1

SHAPE = Shape("qwen3", 32, 2, 2, 1, 16, 48, 151_669, True, 1e6, 1e-6, 8_192)
WORDS = ["red", "green", "blue", "fish", "bird", "tree", "stone", "river", "cloud", "fire"]

RECIPE = """
save_every = 2
[base]
name = "{model}"
[lora]
rank = 4
alpha = 8
[[stage]]
name = "first"
losses = {{ infonce = 1.0 }}
queries = 4
documents = 4
steps = {steps}
learning_rate = 0.01
data = [{{ path = "rows.jsonl" }}]
"""


def small_model(folder: Path) -> Path:
    write_checkpoint(folder, SHAPE, QWEN3_V1)
    return folder


def row(query: str, documents: list[str], labels: list[float], **more: Any) -> str:
    return json.dumps({"query": query, "documents": documents, "labels": labels} | more) + "\n"


def write_rows(path: Path, count: int = 24, seed: int = 0) -> Path:
    """One document with the query's word and five without it; a teacher that knows it, but not of the last."""
    dice = random.Random(seed)
    lines = []
    for _ in range(count):
        query = dice.choice(WORDS)
        others = [" ".join(dice.sample([word for word in WORDS if word != query], 3)) for _ in range(5)]
        documents = [f"{query} {dice.choice(WORDS)}", *others]
        lines.append(row(query, documents, [1, 0, 0, 0, 0, 0], scores=[3.0, 1.0, 0.0, -1.0, -2.0, None]))
    path.write_text("".join(lines), encoding="utf-8")
    return path


def write_plain_rows(path: Path) -> Path:
    """What two layers learn in seconds: the positive has the word fire, whatever the query."""
    dice = random.Random(1)
    lines = []
    for _ in range(40):
        others = [" ".join(dice.sample(WORDS[:-1], 2)) for _ in range(4)]
        lines.append(row(dice.choice(WORDS), [f"fire {dice.choice(WORDS[:-1])}", *others], [1, 0, 0, 0, 0]))
    path.write_text("".join(lines), encoding="utf-8")
    return path


def write_dev_set(folder: Path, *, candidates: bool) -> Path:
    """A BEIR folder: each of three words is a query, and the document that answers it."""
    words = WORDS[:3]
    (folder / "qrels").mkdir(parents=True)
    texts = "".join(json.dumps({"_id": word, "text": word}) + "\n" for word in words)
    for name in ("corpus", "queries"):
        (folder / f"{name}.jsonl").write_text(texts)
    judged = "".join(f"{word}\t{word}\t1\n" for word in words)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    if candidates:
        pairs = "".join(f"{query}\t{document}\n" for query in words for document in words)
        (folder / "candidates.tsv").write_text("query-id\tcorpus-id\n" + pairs)
    return folder


def write_recipe(folder: Path, model: Path, steps: int = 4, text: str = RECIPE, **more: str) -> Path:
    """A recipe with its data beside it; `more` replaces parts of the text."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "rows.jsonl")
    made = text.format(model=model, steps=steps)
    for old, new in more.items():
        assert old in made
        made = made.replace(old, new)
    path = folder / "recipe.toml"
    path.write_text(made, encoding="utf-8")
    return path
