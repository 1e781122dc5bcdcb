"""HuggingFace Text Embeddings Inference: `texts` in, a bare array out. The model is the default one unless one is named.

Invariant: every text has an entry, whose score is a number; 0.0 with `"scored": false` where there is none.
"""

from gigarank.service.call import Call
from gigarank.service.rerank.dialect import Dialect, Path, details, echoes, read_single
from gigarank.service.rerank.request import RerankAnswer, RerankRequest
from gigarank.service.rerank.schemas import DETAILS, NUMBER, TEXT, WHOLE, array, documents, nested, one_query, request_schema
from gigarank.types import JsonObject


def claims(call: Call) -> bool:
    return isinstance(call.body, dict) and "texts" in call.body and "documents" not in call.body


def write(_call: Call, request: RerankRequest, answer: RerankAnswer) -> list[JsonObject]:
    echo = echoes(request, False)
    return [
        {"index": one.index, "score": one.score} | ({"text": one.document.text} if echo else {}) | details(one)
        for one in answer.results
    ]


DIALECT = Dialect(
    name="tei",
    summary="Rank texts, as Text Embeddings Inference does; also on /rerank, where the body has `texts`",
    paths=(Path("/tei/rerank", listed=True, style="tei"),),
    request=request_schema(
        {"query": one_query(), "texts": documents()}, ("truncate", "truncation_direction", "raw_scores", "return_text")
    ),
    response=array(nested({"index": WHOLE, "score": NUMBER}, {**DETAILS, "text": TEXT})),
    write=write,
    read=read_single,
    claims=claims,
    error_style="tei",
)
