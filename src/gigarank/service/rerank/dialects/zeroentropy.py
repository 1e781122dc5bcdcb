"""ZeroEntropy: results with the latency and the bytes that they took; `latency` slow is the batch tier.

Invariant: latencies are seconds that were measured where the work was done; bytes are those of the texts in UTF-8.
"""

from gigarank.service.call import Call
from gigarank.service.rerank.dialect import Dialect, Path, details, read_single
from gigarank.service.rerank.request import RerankAnswer, RerankRequest
from gigarank.service.rerank.schemas import DETAILS, NUMBER, TEXT, WHOLE, array, documents, nested, one_query, request_schema
from gigarank.types import JsonObject


def write(_call: Call, request: RerankRequest, answer: RerankAnswer) -> JsonObject:
    timing = answer.timing
    return {
        "results": [{"index": one.index, "relevance_score": one.score} | details(one) for one in answer.results],
        "actual_latency_mode": "slow" if answer.tier == "batch" else "fast",
        "e2e_latency": (timing.queued_ms + timing.tokenize_ms + timing.inference_ms) / 1e3,
        "inference_latency": timing.inference_ms / 1e3,
        "total_bytes": _bytes(request),
        "total_tokens": answer.usage.total_tokens,
    }


def _bytes(request: RerankRequest) -> int:
    (asked,) = request.searches
    return sum(len(text.encode("utf-8", "replace")) for text in (asked.query, *(one.text for one in asked.documents)))


DIALECT = Dialect(
    name="zeroentropy",
    summary="Rank documents, as ZeroEntropy does",
    paths=(Path("/v1/models/rerank", listed=True), Path("/models/rerank")),
    request=request_schema({"query": one_query(), "documents": documents()}, ("model", "top_n", "latency")),
    response=nested(
        {
            "results": array(nested({"index": WHOLE, "relevance_score": NUMBER}, DETAILS)),
            "actual_latency_mode": TEXT,
            "e2e_latency": NUMBER,
            "inference_latency": NUMBER,
            "total_bytes": WHOLE,
            "total_tokens": WHOLE,
        }
    ),
    write=write,
    read=read_single,
)
