"""NVIDIA NIM's ranking: passages in, logits out.

Invariant: `logit` is a number in any case; it is service.UNSCORED_LOGIT with `"scored": false` where there is none. Scores
are logits whatever else was asked.
"""

from dataclasses import replace

from gigarank.service.call import Call
from gigarank.service.rerank.dialect import Dialect, Path, details, read_single
from gigarank.service.rerank.request import RerankAnswer, RerankRequest
from gigarank.service.rerank.schemas import DETAILS, NUMBER, WHOLE, array, documents, nested, one_query, request_schema
from gigarank.types import JsonObject


def read(call: Call) -> RerankRequest:
    """The body's model, or the path's."""
    request = read_single(call)
    model = request.model or call.parameters.get("model")
    return replace(request, model=model, options=replace(request.options, raw_scores=True))


def claims(call: Call) -> bool:
    return isinstance(call.body, dict) and "passages" in call.body and "documents" not in call.body


def write(_call: Call, _request: RerankRequest, answer: RerankAnswer) -> JsonObject:
    tokens = answer.usage.total_tokens
    return {
        "rankings": [{"index": one.index, "logit": one.score} | details(one) for one in answer.results],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


DIALECT = Dialect(
    name="nim",
    summary="Rank passages by logit, as NVIDIA NIM does",
    paths=(Path("/v1/ranking", listed=True), Path("/ranking"), Path("/v1/retrieval/{model:path}/reranking")),
    request=request_schema({"query": one_query(), "passages": documents()}, ("model", "truncate", "top_k")),
    response=nested(
        {
            "rankings": array(nested({"index": WHOLE, "logit": NUMBER}, DETAILS)),
            "usage": nested({"prompt_tokens": WHOLE, "total_tokens": WHOLE}),
        }
    ),
    write=write,
    read=read,
    claims=claims,
)
