"""What the bench ranks: seeded documents of known lengths, as text, so that every contestant reads and tokenises the same.

A document is drawn from words that the tokenizer keeps whole: a blank and ASCII letters. Knows no model. Invariant: a document
of n words is n tokens to every contestant, and the same seed gives the same documents.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tokenizers import Tokenizer

from gigarank.errors import InvalidInput
from gigarank.prompt import PromptFormat

QUERY_WORDS = 12
SPREAD = 0.4
_WORD = re.compile("\u0120[a-z]{2,}")  # U+0120 is byte-level BPE's letter for the blank


@dataclass(frozen=True, slots=True)
class Workload:
    """`documents` of about `tokens` tokens: uniform between 1 - `spread` and 1 + `spread` times that, or, where `whole_pair`,
    exactly so many that prompt and document together have `tokens` tokens."""

    name: str
    documents: int
    tokens: int
    whole_pair: bool = False
    spread: float = SPREAD
    query_words: int = QUERY_WORDS


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("short", 100, 40),
        Workload("passages", 100, 140),
        Workload("long", 10, 2_000),
        Workload("single", 1, 8_192, whole_pair=True),
    )
}


@dataclass(frozen=True, slots=True)
class Request:
    """One query and its documents. `read_tokens` counts every prompt in full, as a contestant without sharing reads it."""

    query: str
    documents: tuple[str, ...]
    read_tokens: int


def select(names: str, documents: int | None = None, tokens: int | None = None) -> list[Workload]:
    """The workloads of a comma-separated list, each scaled to `documents` and `tokens` where given."""
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in WORKLOADS]
    if unknown or not chosen:
        known = ", ".join(WORKLOADS)
        raise InvalidInput(f"workload: {names!r} is not among {known}", param="workload", limit=known, received=names)
    for name, value in (("docs", documents), ("tokens", tokens)):
        if value is not None and value < 1:
            raise InvalidInput(f"{name}: at least 1, not {value}", param=name, limit=1, received=value)
    return [_scaled(WORKLOADS[name], documents, tokens) for name in chosen]


def _scaled(workload: Workload, documents: int | None, tokens: int | None) -> Workload:
    return replace(
        workload,
        documents=workload.documents if documents is None else documents,
        tokens=workload.tokens if tokens is None else tokens,
    )


def words(tokenizer: Tokenizer) -> list[str]:
    """The words, each with its leading blank, that are one token of this vocabulary; side by side they stay so, because
    Qwen3's splits stand before every blank that a letter follows."""
    return [" " + token[1:] for token in sorted(tokenizer.get_vocab()) if _WORD.fullmatch(token)]


def request(workload: Workload, tokenizer: Tokenizer, prompt: PromptFormat, seed: int = 0) -> Request:
    """The workload's query and documents."""
    rng = random.Random(f"{workload.name} {seed}")
    vocabulary = words(tokenizer)
    query = _text(rng, vocabulary, workload.query_words)
    overhead = _tokens(tokenizer, prompt.render(None, query, _text(rng, vocabulary, 1))) - 1
    lengths = _lengths(workload, rng, overhead)
    documents = tuple(_text(rng, vocabulary, length) for length in lengths)
    return Request(query=query, documents=documents, read_tokens=sum(lengths) + overhead * len(lengths))


def head(full: Request, documents: int, words_each: int) -> Request:
    """A small part of a request, to check and to warm up with; its token count is not kept."""
    cut = tuple(" ".join(text.split()[:words_each]) for text in full.documents[:documents])
    return Request(query=full.query, documents=cut, read_tokens=0)


def _lengths(workload: Workload, rng: random.Random, overhead: int) -> list[int]:
    if workload.whole_pair:
        if workload.tokens <= overhead:
            raise InvalidInput(
                f"tokens: {workload.tokens} leave no room for a document; the prompt alone has {overhead}",
                param="tokens",
                limit=overhead + 1,
                received=workload.tokens,
            )
        return [workload.tokens - overhead] * workload.documents
    factors = [rng.uniform(1 - workload.spread, 1 + workload.spread) for _ in range(workload.documents)]
    return [max(1, round(workload.tokens * factor)) for factor in factors]


def _text(rng: random.Random, vocabulary: Sequence[str], count: int) -> str:
    """`count` words without the first blank, which the prompt format itself puts before a query and a document."""
    return "".join(rng.choices(vocabulary, k=count))[1:]


def _tokens(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)
