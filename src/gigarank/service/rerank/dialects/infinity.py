"""Infinity: as the superset, but a result's document is a string, as Infinity's clients read it.

Invariant: `document` is a string or absent, never an object.
"""

from gigarank.service.call import Call
from gigarank.service.rerank.dialect import Dialect, Path, details, echoes, read_single
from gigarank.service.rerank.request import RerankAnswer, RerankRequest
from gigarank.service.rerank.schemas import DETAILS, NUMBER, TEXT, WHOLE, array, documents, nested, one_query, request_schema
from gigarank.types import JsonObject


def write(_call: Call, request: RerankRequest, answer: RerankAnswer) -> JsonObject:
    echo, tokens = echoes(request, False), answer.usage.total_tokens
    results = [
        {"relevance_score": one.score, "index": one.index} | ({"document": one.document.text} if echo else {}) | details(one)
        for one in answer.results
    ]
    return {
        "object": "rerank",
        "results": results,
        "model": answer.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "id": answer.id,
        "created": answer.created,
    }


_RESULT = nested({"relevance_score": NUMBER, "index": WHOLE}, {**DETAILS, "document": TEXT})
DIALECT = Dialect(
    name="infinity",
    summary="Rank documents, as Infinity does: a document comes back as a string",
    paths=(Path("/infinity/rerank", listed=True), Path("/infinity/v1/rerank")),
    request=request_schema(
        {"query": one_query(), "documents": documents()}, ("model", "return_documents", "raw_scores", "top_n")
    ),
    response=nested(
        {
            "object": TEXT,
            "results": array(_RESULT),
            "model": TEXT,
            "usage": nested({"prompt_tokens": WHOLE, "total_tokens": WHOLE}),
            "id": TEXT,
            "created": WHOLE,
        }
    ),
    write=write,
    read=read_single,
)
