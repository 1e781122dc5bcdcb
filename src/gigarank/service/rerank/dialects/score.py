"""vLLM's /score: one query against many texts, or pair by pair, answered in the order of the request.

All four spellings: text_1 and text_2, data_1 and data_2, queries and documents, queries and items. Invariant: one entry a
pair, whose score is a number; 0.0 with `"scored": false` where there is none.
"""

from gigarank.service.call import Call
from gigarank.service.rerank.dialect import Dialect, Path, details
from gigarank.service.rerank.pairs import in_order, read_pairs
from gigarank.service.rerank.request import RerankAnswer, RerankRequest
from gigarank.service.rerank.schemas import DETAILS, NUMBER, TEXT, WHOLE, array, documents, nested, one_query, request_schema
from gigarank.types import JsonObject


def write(_call: Call, _request: RerankRequest, answer: RerankAnswer) -> JsonObject:
    tokens = answer.usage.total_tokens
    data = [
        {"index": place, "object": "score", "score": one.score} | details(one) for place, one in enumerate(in_order(answer))
    ]
    return {
        "id": answer.id,
        "object": "list",
        "created": answer.created,
        "model": answer.model,
        "data": data,
        "usage": {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens},
    }


_QUERY = {
    **one_query(),
    "description": "One query for all texts; or an array of as many as there are texts. Also read as: data_1, queries, query.",
}
_TEXTS = {**documents(), "description": "What is scored. Also read as: data_2, documents, items."}
_OPTIONS = ("model", "instruction", "use_activation", "truncate_prompt_tokens", "truncation_side", "max_tokens_per_query")

DIALECT = Dialect(
    name="score",
    summary="Score texts against a query, in their own order, as vLLM does",
    paths=(Path("/v1/score", listed=True), Path("/score")),
    request=request_schema({"text_1": _QUERY, "text_2": _TEXTS}, (*_OPTIONS, "max_tokens_per_doc", "priority")),
    response=nested(
        {
            "id": TEXT,
            "object": TEXT,
            "created": WHOLE,
            "model": TEXT,
            "data": array(nested({"index": WHOLE, "object": TEXT, "score": NUMBER}, DETAILS)),
            "usage": nested({"prompt_tokens": WHOLE, "completion_tokens": WHOLE, "total_tokens": WHOLE}),
        }
    ),
    write=write,
    read=read_pairs,
)
