"""What the training commands write: rows as JSONL, and what a command did as a line or as JSON.

Knows rows by their fields. Invariant: an output file appears whole or not at all, and never in place of one that is there.
"""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gigarank.cli.output import emit, note
from gigarank.errors import InvalidInput

if TYPE_CHECKING:
    from gigarank.training.rows import Row


def require_new(path: Path) -> None:
    """Raises InvalidInput where something would be overwritten."""
    if path.exists():
        raise InvalidInput(f"output: {path} is there already; nothing is overwritten", param="output", received=str(path))


def require_packages(extra: str, *names: str) -> None:
    """Raises InvalidInput that names the extra."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        message = f"packages that are not here ({', '.join(missing)}): pip install 'gigarank[{extra}]'"
        raise InvalidInput(message, param=extra, received=missing)


def write_rows(path: Path, rows: "Iterable[Row]") -> int:
    """Writes rows as they come; returns how many. What was there before a failure is left as it was."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    try:
        with beside.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(to_json(row), ensure_ascii=False) + "\n")
                count += 1
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink()
    return count


def to_json(row: "Row") -> dict[str, Any]:
    """The row as a line of the training data; what is not set is left out."""
    optional = {"instruction": row.instruction, "scores": row.scores, "task": row.task, "lang": row.language}
    kept = {key: value for key, value in optional.items() if value is not None}
    return {"query": row.query, "documents": row.documents, "labels": row.labels} | kept


def tell(done: Mapping[str, Any], as_json: bool) -> None:
    """What was done: JSON to standard output, or a line to standard error."""
    if as_json:
        emit(json.dumps(done, ensure_ascii=False) + "\n")
        return
    shown = [f"{name.replace('_', ' ')} {value}" for name, value in done.items() if value not in (None, {}, [], "")]
    note(", ".join(shown))
