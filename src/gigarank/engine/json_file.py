"""A JSON object in a file of a checkpoint or an adapter.

Knows no keys. Invariant: what cannot be read as an object is refused with the file's name.
"""

import json
from pathlib import Path
from typing import Any

from gigarank.errors import CheckpointError


def read_json(path: Path, param: str = "model") -> dict[str, Any]:
    """A JSON object in a file. Raises CheckpointError that names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}", param=param) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: must hold an object, not a {type(value).__name__}", param=param)
    return value
