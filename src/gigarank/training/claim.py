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

from gigarank.engine.json_file import read_json
from gigarank.engine.layout import write_json
from gigarank.errors import CheckpointError, InvalidInput
from gigarank.training.recipe import Recipe
from gigarank.training.rows import Row

RUN = "run.json"


def claim(output: Path, recipe: Recipe, base: str, rows: Sequence[Sequence[Sequence[Row]]], *, resume: bool) -> None:
    """Writes run.json, or finds it the same. `base`: the fingerprint of the base; `rows`: by stage and file.

    Raises CheckpointError for another run's folder, InvalidInput for one that holds something else, or this run where it is
    not to go on.
    """
    path = output / RUN
    described = {"recipe": _recipe_json(recipe), "base": base, "data": _data_hash(rows)}
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
    """What the weights depend on; files count by their rows."""
    raw = json.loads(json.dumps(asdict(recipe), default=lambda path: path.name))
    raw.pop("save_every")
    return raw


def _data_hash(rows: Sequence[Sequence[Sequence[Row]]]) -> str:
    found = hashlib.sha256()
    for stage in rows:
        for file in stage:
            for row in file:
                found.update(json.dumps(asdict(row)).encode() + b"\n")
            found.update(b"\n")
    return found.hexdigest()
