"""Requests that pair queries with documents one by one, as vLLM's /score and DeepInfra do, answered in their own order.

Invariant: the answer's documents, search after search, stand in the order of the request's pairs; equal neighbouring queries
are one search, so that they are computed once.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from gigarank.errors import InvalidInput
from gigarank.service.call import Call
from gigarank.service.rerank import fields, sizes
from gigarank.service.rerank.request import (
    Asked,
    Ranked,
    RerankAnswer,
    RerankRequest,
    find_documents,
    find_queries,
    read_body,
    read_model,
    read_options,
    read_urgency,
)
from gigarank.service.rerank.texts import Document, read_documents, read_queries


def read_pairs(call: Call) -> RerankRequest:
    """One query over all documents, one document under all queries, or as many of each. Raises as `read_request`."""
    body = read_body(call)
    query_name, asked = find_queries(body, ("text_1", "data_1"))
    document_name, given = find_documents(body, ("text_2", "data_2"))
    sizes.check_pairs(asked, given, call.settings.max_documents)
    queries, _ = read_queries(asked, query_name)
    documents = read_documents(given, document_name, fields.RANK_FIELDS.take(body) or ())
    options = replace(read_options(body), top_n=None, score_threshold=None, first_stage_scores=None)
    searches = _searches(queries, documents, document_name)
    return RerankRequest(read_model(body), searches, options, read_urgency(body, call))


def _searches(queries: Sequence[str], documents: tuple[Document, ...], name: str) -> tuple[Asked, ...]:
    if len(queries) == 1:
        return (Asked(queries[0], documents),)
    if len(documents) not in (1, len(queries)):
        raise InvalidInput(
            f"{name}: {len(queries)} queries need as many documents, or one, not {len(documents)}",
            param=name,
            limit=len(queries),
            received=len(documents),
        )
    each = documents if len(documents) > 1 else documents * len(queries)
    runs = groupby(zip(queries, each, strict=True), key=lambda pair: pair[0])
    return tuple(Asked(query, tuple(document for _, document in run)) for query, run in runs)


def in_order(answer: RerankAnswer) -> list[Ranked]:
    """The results in the order of the request's pairs."""
    return [ranked for search in answer.unsorted for ranked in search]
