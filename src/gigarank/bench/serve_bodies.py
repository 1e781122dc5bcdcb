"""What the load generator sends: seeded rerank requests of a stated number of documents and bytes, as JSON ready to send.

Knows no HTTP. Invariant: the same workload gives the same bytes, and no two of its requests share a document.
"""

import json
import random
from dataclasses import dataclass

from gigarank.errors import InvalidInput

DISTINCT = 64
"""So many different requests are made beforehand, and sent in turn."""

_WORDS = ("light", "water", "leaf", "plant", "sugar", "energy", "market", "price", "story", "river", "stone", "memory", "house")


@dataclass(frozen=True, slots=True)
class Workload:
    """`document_bytes` is each document's size as UTF-8, to the byte; a query has eight words."""

    documents: int = 10
    document_bytes: int = 200
    model: str = "nano"
    seed: int = 0


def bodies(workload: Workload) -> list[bytes]:
    """DISTINCT requests. Raises InvalidInput where no such request exists."""
    for name, value in (("documents", workload.documents), ("bytes", workload.document_bytes)):
        if value < 1:
            raise InvalidInput(f"{name}: at least 1, not {value}", param=name, limit=1, received=value)
    source = random.Random(workload.seed)
    return [_body(workload, source) for _ in range(DISTINCT)]


def _body(workload: Workload, source: random.Random) -> bytes:
    asked = {
        "model": workload.model,
        "query": " ".join(source.choices(_WORDS, k=8)),
        "documents": [_document(workload.document_bytes, source) for _ in range(workload.documents)],
    }
    return json.dumps(asked).encode()


def _document(size: int, source: random.Random) -> str:
    text = " ".join(source.choices(_WORDS, k=size // 4 + 1))  # no word has fewer than four letters
    return text[:size].rstrip().ljust(size, ".")
