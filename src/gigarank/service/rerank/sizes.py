"""How much a request asks for, told from the lengths of its lists, before anything is made of them.

Invariant: what passes makes work and an answer in proportion to the body: no list is multiplied by another beyond the limits.
"""

import json
from collections.abc import Sequence
from heapq import nlargest
from typing import Any

from gigarank.errors import RequestTooLarge
from gigarank.service.rerank.texts import Document, is_parts


def check_searches(queries: Any, documents: Any, limit: int) -> None:
    """Every query over all documents, or each over its own array of them. Raises RequestTooLarge."""
    asked = _queries(queries)
    if _is_nested(queries, documents):
        _check(max(asked, sum(map(len, documents))), asked, limit)
    else:
        _check(asked * _length(documents), asked, limit)


def check_pairs(queries: Any, documents: Any, limit: int) -> None:
    """As many queries as documents, or one of either. Raises RequestTooLarge."""
    _check(max(_queries(queries), _length(documents)), 1, limit)


def _is_nested(queries: Any, documents: Any) -> bool:
    many = isinstance(queries, list) and isinstance(documents, list) and bool(documents)
    return many and all(isinstance(item, list) for item in documents)


def _queries(value: Any) -> int:
    return 1 if isinstance(value, list) and is_parts(value) else _length(value)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 1


def _check(received: int, queries: int, limit: int) -> None:
    if received > limit:
        counted = ", counted once a query" if queries > 1 else ""
        raise RequestTooLarge(
            f"documents: at most {limit} a request, not {received}{counted}", param="documents", limit=limit, received=received
        )


def check_echo(searches: Sequence[Sequence[Document]], top_n: int | None, limit: int) -> None:
    """What an answer to many queries repeats of its documents, at most; in characters. Raises RequestTooLarge."""
    sizes = {id(documents): [_echoed(document) for document in documents] for documents in searches}
    received = sum(sum(nlargest(top_n or len(documents), sizes[id(documents)])) for documents in searches)
    if received > limit:
        raise RequestTooLarge(
            f"return_documents: {received} characters of documents would come back, once a query; at most {limit} may",
            param="return_documents",
            limit=limit,
            received=received,
        )


def _echoed(document: Document) -> int:
    return len(document.given) if isinstance(document.given, str) else len(json.dumps(document.given, ensure_ascii=False))
