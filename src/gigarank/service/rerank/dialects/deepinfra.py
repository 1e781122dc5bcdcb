"""DeepInfra: the model stands in the path, queries and documents are paired, and bare scores come back in their order.

A single query counts for all documents, and a single document for all queries. Invariant: `scores` has a number for every
pair, 0.0 where there is none; `not_scored` then lists those places.
"""

from dataclasses import replace

from gigarank.service.call import Call
from gigarank.service.rerank.dialect import Dialect, Path
from gigarank.service.rerank.pairs import in_order, read_pairs
from gigarank.service.rerank.request import RerankAnswer, RerankRequest
from gigarank.service.rerank.schemas import NUMBER, TEXT, WHOLE, array, documents, nested, one_query, request_schema
from gigarank.types import JsonObject, Score


def read(call: Call) -> RerankRequest:
    """The path's model, whatever the body says."""
    return replace(read_pairs(call), model=call.parameters.get("model"))


def write(call: Call, _request: RerankRequest, answer: RerankAnswer) -> JsonObject:
    every, tokens = in_order(answer), answer.usage.total_tokens
    missing = [place for place, one in enumerate(every) if not isinstance(one.outcome, Score)]
    return {
        "scores": [one.score for one in every],
        "input_tokens": tokens,
        "request_id": call.request_id,
        "inference_status": {
            "status": "succeeded",
            "runtime_ms": round(answer.timing.inference_ms),
            "cost": 0.0,
            "tokens_generated": 0,
            "tokens_input": tokens,
        },
    } | ({"not_scored": missing} if missing else {})


_QUERIES: JsonObject = {
    "type": "array",
    "minItems": 1,
    "maxItems": 1,
    "items": one_query(),
    "description": "One query for all documents; or as many as there are documents.",
}
_STATUS = nested({"status": TEXT, "runtime_ms": WHOLE, "cost": NUMBER, "tokens_generated": WHOLE, "tokens_input": WHOLE})

DIALECT = Dialect(
    name="deepinfra",
    summary="Score pairs of queries and documents, as DeepInfra does",
    paths=(Path("/v1/inference/{model:path}", listed=True),),
    request=request_schema({"queries": _QUERIES, "documents": documents()}, ("instruction", "service_tier")),
    response=nested(
        {"scores": array(NUMBER), "input_tokens": WHOLE, "request_id": TEXT, "inference_status": _STATUS},
        {"not_scored": array(WHOLE)},
    ),
    write=write,
    read=read,
)
