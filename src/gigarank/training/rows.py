"""A row of training data: one query, its documents, and what is known of each.

Knows no files of other tools and no losses. Invariant: labels, and scores where there are any, are one a document.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """`labels` from 0 (no answer) to 1; `scores` are a teacher's, None where it gave none. `instruction` None is the prompt's
    default; `task` and `language` name what a mixture is made of."""

    query: str
    documents: tuple[str, ...]
    labels: tuple[float, ...]
    scores: tuple[float | None, ...] | None = None
    instruction: str | None = None
    task: str | None = None
    language: str | None = None
