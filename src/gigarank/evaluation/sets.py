"""What is evaluated: queries, documents, judgments and runs, as values.

Knows no file, model or metric. Invariants: a query's and a document's id is its key in the set's mappings; every judgment
and candidate of a set names a query and a document that the set holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Qrels = Mapping[str, Mapping[str, int]]
"""Query id -> document id -> relevance; 0 and less is judged not relevant."""

Run = Mapping[str, Mapping[str, float]]
"""Query id -> document id -> score, better when higher; equal scores keep the mapping's order."""


@dataclass(frozen=True, slots=True)
class EvalQuery:
    """One query; `instruction` is its own and goes before the set's. `language` as the set names it."""

    id: str
    text: str
    instruction: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class EvalDocument:
    """One document of the corpus."""

    id: str
    text: str
    title: str = ""
    language: str | None = None

    @property
    def passage(self) -> str:
        """What is searched and scored: the title, a line feed and the text, or the one of them that is not empty."""
        return f"{self.title}\n{self.text}" if self.title and self.text else self.title or self.text


@dataclass(frozen=True)
class EvalSet:
    """A labelled set. `candidates`: the documents to score for each query that is used, or None where none are given.

    `fingerprint`: sha256 of what the set was read from. `metric`: its main one, by trec_eval's name. `instruction` holds for
    the queries that have none of their own.
    """

    name: str
    queries: Mapping[str, EvalQuery]
    corpus: Mapping[str, EvalDocument]
    qrels: Qrels
    candidates: Mapping[str, tuple[str, ...]] | None
    fingerprint: str
    metric: str = "ndcg_cut_10"
    instruction: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
