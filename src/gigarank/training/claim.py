"""Whose a folder is: run.json says which recipe, base and data made what stands beside it.

Knows the file and hashes; trains nothing. Invariant: a folder is another run's, or nobody's but not empty, or it is this run's;
only the last goes on.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gigarank.engine.adapters import CONFIG, WEIGHTS
from gigarank.engine.json_file import read_json
from gigarank.engine.layout import write_json
from gigarank.errors import CheckpointError, InvalidInput
from gigarank.training.recipe import Recipe
from gigarank.training.rows import Row

RUN = "run.json"
_SET = ("corpus.jsonl", "queries.jsonl", "qrels/*", "candidates*.tsv")


def claim(output: Path, recipe: Recipe, base: str, rows: Sequence[Sequence[Sequence[Row]]], *, resume: bool) -> None:
    """Writes run.json, or finds it the same. `base`: the fingerprint of the base; `rows`: by stage and file.

    Raises CheckpointError for another run's folder, InvalidInput for one that holds something else, or this run where it is
    not to go on.
    """
    path = output / RUN
    described = {"recipe": _recipe_json(recipe), "base": base, "data": _data_hash(rows), **_folders(recipe)}
    if path.is_file():
        if not resume:
            raise InvalidInput(f"output: {output} holds a run already", param="output", received=str(output))
        _require_same(path, described)
        return
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InvalidInput(f"output: {output} is there already; nothing is overwritten", param="output", received=str(output))
    output.mkdir(parents=True, exist_ok=True)
    write_json(path, described)


def _require_same(path: Path, described: dict[str, Any]) -> None:
    earlier = read_json(path, "output")
    for name, value in described.items():
        if earlier.get(name) != value:
            raise CheckpointError(
                f"{path}: this run was begun with another {name}; name another output folder",
                param="output",
                received=str(path.parent),
            )


def _recipe_json(recipe: Recipe) -> Any:
    """What the weights depend on; files and folders count by what is in them."""
    raw = json.loads(json.dumps(asdict(recipe), default=lambda path: path.name))
    raw.pop("save_every")
    return raw


def _folders(recipe: Recipe) -> dict[str, str]:
    """What else the weights depend on by its content: the adapter that is trained on, and the dev sets."""
    found = {}
    if recipe.lora is not None and recipe.lora.start is not None:
        found["lora.start"] = _files_hash(recipe.lora.start, (CONFIG, WEIGHTS))
    if recipe.dev is not None:
        found["dev.sets"] = " ".join(_files_hash(place, _SET) for place in recipe.dev.sets)
    return found


def _files_hash(folder: Path, patterns: Sequence[str]) -> str:
    found = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in folder.expanduser().glob(pattern) if path.is_file()):
        with path.open("rb") as file:
            found.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return found.hexdigest()


def _data_hash(rows: Sequence[Sequence[Sequence[Row]]]) -> str:
    found = hashlib.sha256()
    for stage in rows:
        for file in stage:
            for row in file:
                found.update(json.dumps(asdict(row)).encode() + b"\n")
            found.update(b"\n")
    return found.hexdigest()
