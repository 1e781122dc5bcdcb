"""Training rows without what evaluation sets hold: shared n-grams of words, as GPT-3's makers and others since look for them.

A text overlaps an evaluation text where the two share `size` words in a row (13 by default, the usual choice), or, where
either is shorter, where all their words are equal. A row whose query overlaps is dropped; a document that overlaps is dropped
from its row, and the row with it where no positive is left. Knows texts, no evaluation. Invariant: what is kept shares no
n-gram with what was added, and everything dropped is in the report.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gigarank.errors import InvalidInput
from gigarank.training.rows import Row
from gigarank.training.words import words

Hashes = npt.NDArray[np.uint64]
SIZE = 13
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHOWN = 20


class EvaluationTexts:
    """Hashes of the n-grams of texts that training must not see, by the set that each is from."""

    def __init__(self, size: int = SIZE) -> None:
        if size < 1:
            raise InvalidInput(f"size: an n-gram has at least 1 word, not {size}", param="size", limit=1, received=size)
        self.size = size
        self._powers = np.cumprod(np.full(size, _FACTOR, dtype=np.uint64), dtype=np.uint64)
        self._hashes: dict[str, Hashes] = {}
        self._words: dict[str, int] = {}

    def add(self, name: str, texts: Iterable[str]) -> None:
        """The texts of one evaluation set."""
        found = [self._grams(text) for text in texts]
        together = np.concatenate([self._hashes.get(name, np.empty(0, np.uint64)), *found])
        self._hashes[name] = np.unique(together)

    def find(self, text: str) -> str | None:
        """The first set that the text overlaps with, or None."""
        grams = self._grams(text)
        return next((name for name, hashes in self._hashes.items() if _any_in(grams, hashes)), None)

    def _grams(self, text: str) -> Hashes:
        """Hashes of all n-grams; a shorter text is one gram of its own length. A text without words has none."""
        ids = np.array([self._id(word) for word in words(text)], dtype=np.uint64)
        if not len(ids):
            return np.empty(0, np.uint64)
        width = min(self.size, len(ids))
        windows = np.lib.stride_tricks.sliding_window_view(ids, width)
        hashes: Hashes = (windows * self._powers[:width]).sum(axis=1, dtype=np.uint64)
        return hashes

    def _id(self, word: str) -> int:
        if word not in self._words:
            self._words[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        return self._words[word]


@dataclass(slots=True)
class OverlapReport:
    """What was dropped: rows by why, documents from rows that stay, both by the evaluation set; and the first few texts."""

    kept: int = 0
    dropped_rows: Counter[str] = field(default_factory=Counter)
    dropped_documents: int = 0
    by_set: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def note(self, name: str, what: str, text: str) -> None:
        self.by_set[name] += 1
        if len(self.examples) < _SHOWN:
            self.examples.append({"set": name, "what": what, "text": text[:200]})

    def to_json(self) -> dict[str, Any]:
        return {
            "kept": self.kept,
            "dropped_rows": dict(self.dropped_rows),
            "dropped_documents": self.dropped_documents,
            "by_set": dict(self.by_set),
            "examples": self.examples,
        }


def without_overlap(rows: Iterable[Row], texts: EvaluationTexts, report: OverlapReport) -> Iterator[Row]:
    """The rows that share nothing with the evaluation, streamed."""
    for row in rows:
        if name := texts.find(row.query):
            report.note(name, "query", row.query)
            report.dropped_rows["query"] += 1
            continue
        left = _documents_left(row, texts, report)
        if not any(row.labels[index] > 0 for index in left):
            report.dropped_rows["no positive left"] += 1
            continue
        report.dropped_documents += len(row.documents) - len(left)
        report.kept += 1
        yield row if len(left) == len(row.documents) else chosen(row, left)


def chosen(row: Row, places: Iterable[int]) -> Row:
    """The row with only the documents at these places."""
    kept = list(places)
    return replace(
        row,
        documents=tuple(row.documents[place] for place in kept),
        labels=tuple(row.labels[place] for place in kept),
        scores=None if row.scores is None else tuple(row.scores[place] for place in kept),
    )


def _documents_left(row: Row, texts: EvaluationTexts, report: OverlapReport) -> list[int]:
    left = []
    for place, document in enumerate(row.documents):
        if name := texts.find(document):
            report.note(name, "document", document)
        else:
            left.append(place)
    return left


def _any_in(grams: Hashes, known: Hashes) -> bool:
    if not len(known):
        return False
    places = np.minimum(np.searchsorted(known, grams), len(known) - 1)
    return bool((known[places] == grams).any())
