"""Logits of a task under way, on the disk group by group, so that what was scored is not scored again.

A line a group of pairs: the hash of their texts and their logits. Knows pairs and a file; which model and settings the file is
for is the caller's. Invariant: a logit is given back only for the same texts in the same order; what was half written when the
machine stopped is as if it had never been.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from gigarank.types import Pair

Logits = list[float]


class KeptScores:
    """The groups of one file. Opens it for each group that is added: mteb says of no call that it is the last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, Logits] = {}
        self._whole = 0
        for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
            try:
                key, logits = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            self._found[key] = logits
            self._whole += len(line)

    def logits(self, pairs: Sequence[Pair], compute: Callable[[Sequence[Pair]], Logits]) -> Logits:
        """Those of the pairs, computed where they are not there yet, and on the disk when it returns."""
        key = pairs_key(pairs)
        if key not in self._found:
            self._found[key] = compute(pairs)
            self._append(json.dumps([key, self._found[key]], allow_nan=False) + "\n")
        return self._found[key]

    def _append(self, line: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.truncate(self._whole)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._whole += len(line.encode())


def pairs_key(pairs: Sequence[Pair]) -> str:
    """The hash of the pairs' texts, with each one's length, so that none runs into the next."""
    digest = hashlib.sha256()
    for pair in pairs:
        for text in (pair.query, pair.document, pair.instruction or ""):
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()
