"""What a race has measured so far, in a file: a race that was broken off goes on where it was.

A JSON object: what race it is, the reference's logits of every workload, and a row for each contestant and workload. Knows no
process. Invariant: figures of two races never meet in one file; a row is in it whole or not at all.
"""

import json
from pathlib import Path
from typing import Any

from gigarank.engine.json_file import read_json
from gigarank.engine.layout import write_json
from gigarank.errors import CheckpointError, InvalidInput
from gigarank.types import JsonObject


class Record:
    """`race`: what must be the same for figures to be of one race; `path` is made at the first row."""

    def __init__(self, path: Path, race: JsonObject) -> None:
        self._path = path
        self._kept: dict[str, Any] = {"race": json.loads(json.dumps(race)), "expected": {}, "contestants": {}, "rows": {}}
        if path.exists():
            self._kept = _same(path, self._kept["race"])

    @property
    def seconds(self) -> float:
        """All the time that its rows took, those of earlier runs too."""
        return float(sum(row["took_s"] for rows in self._kept["rows"].values() for row in rows.values()))

    @property
    def contestants(self) -> dict[str, JsonObject]:
        """How each runs, and its versions, by name."""
        found: dict[str, JsonObject] = self._kept["contestants"]
        return found

    @property
    def expected(self) -> dict[str, list[list[float]]]:
        """The reference's logits by workload: of the small part that is checked first, and of all documents."""
        found: dict[str, list[list[float]]] = self._kept["expected"]
        return found

    def rows(self, workload: str) -> dict[str, JsonObject]:
        """By contestant."""
        found: dict[str, JsonObject] = self._kept["rows"].get(workload, {})
        return found

    def row(self, workload: str, name: str) -> JsonObject | None:
        """What was measured of a contestant; None where nothing was, or where it did not run: that is tried again."""
        row = self.rows(workload).get(name)
        return row if row is not None and not row["reason"] else None

    def keep(self, workload: str, row: JsonObject) -> None:
        self._kept["rows"].setdefault(workload, {})[row["name"]] = row
        self._write()

    def keep_contestant(self, name: str, about: JsonObject) -> None:
        self.contestants[name] = about
        self._write()

    def keep_expected(self, workload: str, checked: list[float], whole: list[float]) -> None:
        self.expected[workload] = [checked, whole]
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(self._path.name + ".new")
        write_json(beside, self._kept)
        beside.replace(self._path)


def _same(path: Path, race: JsonObject) -> dict[str, Any]:
    """What the file holds. Raises InvalidInput where it is no record, or another race's."""
    try:
        kept = read_json(path, "record")
        before = dict(kept["race"])
    except (CheckpointError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"record: {path} is no record of a race: {error}", param="record", received=str(path)) from error
    for name in sorted({*race, *before}):
        if race.get(name) != before.get(name):
            raise InvalidInput(
                f"record: {path} is of another race, {name} {before.get(name)}, not {race.get(name)}: give another file",
                param="record",
                limit=before.get(name),
                received=race.get(name),
            )
    return kept
