"""Mixedbread: an array `input` in, `data` out, which repeats what was asked for.

Invariant: `top_k` is the number of results; `input` comes back as it was sent, on request only.
"""

from gigarank.service.call import Call
from gigarank.service.rerank.dialect import Dialect, Path, details, echoes, read_single
from gigarank.service.rerank.request import RerankAnswer, RerankRequest
from gigarank.service.rerank.schemas import (
    DETAILS,
    FLAG,
    NUMBER,
    TEXT,
    WHOLE,
    array,
    documents,
    nested,
    one_query,
    request_schema,
)
from gigarank.types import JsonObject


def claims(call: Call) -> bool:
    return isinstance(call.body, dict) and isinstance(call.body.get("input"), list) and "documents" not in call.body


def write(_call: Call, request: RerankRequest, answer: RerankAnswer) -> JsonObject:
    echo, tokens = echoes(request, False), answer.usage.total_tokens
    data = [
        {"index": one.index, "score": one.score, "object": "rank_result"}
        | ({"input": one.document.given} if echo else {})
        | details(one)
        for one in answer.results
    ]
    return {
        "object": "list",
        "model": answer.model,
        "data": data,
        "usage": {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens},
        "top_k": len(data),
        "return_input": echo,
    }


_RESULT = nested({"index": WHOLE, "score": NUMBER, "object": TEXT}, {**DETAILS, "input": {"type": ["string", "object"]}})
DIALECT = Dialect(
    name="mixedbread",
    summary="Rank inputs, as Mixedbread does; also on /v1/reranking, where the body has `input`",
    paths=(Path("/mixedbread/v1/reranking", listed=True),),
    request=request_schema(
        {"query": one_query(), "input": documents()}, ("model", "rank_fields", "top_k", "return_input", "instruction")
    ),
    response=nested(
        {
            "object": TEXT,
            "model": TEXT,
            "data": array(_RESULT),
            "usage": nested({"prompt_tokens": WHOLE, "completion_tokens": WHOLE, "total_tokens": WHOLE}),
            "top_k": WHOLE,
            "return_input": FLAG,
        }
    ),
    write=write,
    read=read_single,
    claims=claims,
)
