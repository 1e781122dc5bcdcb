"""DashScope's own API: texts nested in `input`, options in `parameters`, results in `output`.

Its OpenAI-compatible path is the superset's. Invariant: errors on all of its paths have `code`, `message`, `request_id`.
"""

from gigarank.service.call import Call
from gigarank.service.rerank.dialect import Dialect, Path, details, echoes, read_nested
from gigarank.service.rerank.request import RerankAnswer, RerankRequest
from gigarank.service.rerank.schemas import (
    DETAILS,
    DOCUMENT_OBJECT,
    NUMBER,
    TEXT,
    WHOLE,
    array,
    documents,
    field_schema,
    nested,
    one_query,
)
from gigarank.types import JsonObject

_SERVICE = "/services/rerank/text-rerank/text-rerank"


def claims(call: Call) -> bool:
    return isinstance(call.body, dict) and isinstance(call.body.get("input"), dict)


def write(call: Call, request: RerankRequest, answer: RerankAnswer) -> JsonObject:
    echo = echoes(request, False)
    results = [
        {"index": one.index, "relevance_score": one.score} | ({"document": one.document.echo} if echo else {}) | details(one)
        for one in answer.results
    ]
    tokens = answer.usage.total_tokens
    return {
        "request_id": call.request_id,
        "output": {"results": results},
        "usage": {"total_tokens": tokens, "input_tokens": tokens},
    }


_PARAMETERS = {name: field_schema(name) for name in ("top_n", "return_documents", "instruct")}
DIALECT = Dialect(
    name="dashscope",
    summary="Rank documents, as DashScope does",
    paths=(
        Path("/api/v1" + _SERVICE, listed=True, style="dashscope"),
        Path("/v1" + _SERVICE, style="dashscope"),
        Path(_SERVICE, style="dashscope"),
    ),
    request=nested(
        {"input": nested({"query": one_query(), "documents": documents()})},
        {"model": field_schema("model"), "parameters": {"type": ["object", "null"], "properties": _PARAMETERS}},
    ),
    response=nested(
        {
            "request_id": TEXT,
            "output": nested(
                {
                    "results": array(
                        nested({"index": WHOLE, "relevance_score": NUMBER}, {**DETAILS, "document": DOCUMENT_OBJECT})
                    )
                }
            ),
            "usage": nested({"total_tokens": WHOLE}),
        }
    ),
    write=write,
    read=read_nested,
    claims=claims,
    error_style="dashscope",
)
