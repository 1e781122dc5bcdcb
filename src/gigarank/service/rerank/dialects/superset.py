"""One answer that the clients of many services read: Cohere v1 and v2, Jina, Voyage, vLLM, Together, OpenRouter, Fireworks,
SiliconFlow, Prime Intellect, Novita, llama.cpp, SGLang, Xinference, LocalAI, LiteLLM's proxy and Azure.

`results` is Cohere's and Jina's, `data` Voyage's and Fireworks', whose document is a string. Invariant: with neither top_n
nor score_threshold, every document has a result; `relevance_score` and `score` are numbers in any case, 0.0 with
`"scored": false` where there is no score.
"""

from typing import Any

from gigarank.service.call import Call
from gigarank.service.rerank.dialect import Dialect, Path, details, echoes
from gigarank.service.rerank.request import Ranked, RerankAnswer, RerankRequest
from gigarank.service.rerank.schemas import (
    DETAILS,
    DOCUMENT_OBJECT,
    FLAG,
    NUMBER,
    OPTIONS,
    TEXT,
    WHOLE,
    array,
    documents,
    many_queries,
    nested,
    request_schema,
)
from gigarank.types import JsonObject, Score

_QUIET = ("/v2/rerank", "/v1/v2/rerank", "/cohere/v2/rerank", "/providers/cohere/v2/rerank", "/compatible-api/v1/reranks")
"""Paths where documents are repeated on request only, as Cohere v2 and DashScope do. Elsewhere clients read them unasked."""
_IN_DATA = ("/inference/v1/rerank",)
"""Paths whose clients read documents in `data`, unasked."""
PATHS = (
    Path("/v1/rerank", listed=True),
    Path("/v2/rerank", listed=True),
    Path("/rerank", listed=True),
    *map(Path, ("/v1/reranking", "/reranking", "/v1/reranks", "/reranks", "/v1/v1/rerank", "/openai/v1/rerank")),
    *map(Path, ("/v1/v2/rerank", "/cohere/v2/rerank", "/providers/cohere/v2/rerank", "/inference/v1/rerank")),
    Path("/api/v1/rerank", listed=True, style="integer"),
    Path("/compatible-api/v1/reranks", style="dashscope"),
)


def write(call: Call, request: RerankRequest, answer: RerankAnswer) -> JsonObject:
    head = {"id": answer.id, "object": "rerank", "created": answer.created, "model": answer.model}
    echo = echoes(request, call.path not in _QUIET and not request.many)
    if request.many:
        some = [{"query_index": place, "results": _results(ranked, echo)} for place, ranked in enumerate(answer.searches)]
        return head | {"results": some, "meta": meta(answer), "usage": usage(answer)}
    in_data = echoes(request, call.path in _IN_DATA)
    data = [_datum(ranked, in_data) for ranked in answer.results]
    return head | {"results": _results(answer.results, echo), "data": data, "meta": meta(answer), "usage": usage(answer)}


def _results(some: tuple[Ranked, ...], echo: bool) -> list[JsonObject]:
    return [result(ranked) | ({"document": ranked.document.echo} if echo else {}) for ranked in some]


def result(ranked: Ranked) -> JsonObject:
    """One result without its document."""
    known = ranked.outcome if isinstance(ranked.outcome, Score) else None
    return {
        "index": ranked.index,
        "relevance_score": ranked.score,
        "score": ranked.score,
        "logit": known.logit if known else None,
        "tokens": known.tokens if known else 0,
        "truncated": known.truncated if known else False,
    } | details(ranked)


def _datum(ranked: Ranked, echo: bool) -> JsonObject:
    text = ranked.document.text
    datum: JsonObject = {"object": "rerank_result", "index": ranked.index, "relevance_score": ranked.score}
    return datum | {"score": ranked.score} | ({"document": text, "input": text} if echo else {})


def meta(answer: RerankAnswer) -> JsonObject:
    """Cohere's ApiMeta."""
    tokens = answer.usage.total_tokens
    return {
        "api_version": {"version": "2"},
        "billed_units": {"search_units": answer.search_units, "input_tokens": tokens, "total_tokens": tokens},
        "tokens": {"input_tokens": tokens, "output_tokens": 0},
        "warnings": list(answer.warnings),
    }


def usage(answer: RerankAnswer) -> JsonObject:
    """Tokens as computed: what documents share counts once."""
    tokens = answer.usage.total_tokens
    return {
        "prompt_tokens": tokens,
        "completion_tokens": 0,
        "total_tokens": tokens,
        "search_units": answer.search_units,
        "service_tier": answer.tier,
    }


HEAD: dict[str, Any] = {"id": TEXT, "object": TEXT, "created": WHOLE, "model": TEXT}
USAGE = nested({"prompt_tokens": WHOLE, "completion_tokens": WHOLE, "total_tokens": WHOLE, "search_units": WHOLE})
META = nested(
    {
        "api_version": nested({"version": TEXT}),
        "billed_units": nested({"search_units": NUMBER, "input_tokens": NUMBER}),
        "tokens": nested({"input_tokens": WHOLE, "output_tokens": WHOLE}),
        "warnings": array(TEXT),
    }
)
RESULT = nested(
    {
        "index": WHOLE,
        "relevance_score": NUMBER,
        "score": NUMBER,
        "logit": {"type": ["number", "null"]},
        "tokens": WHOLE,
        "truncated": FLAG,
    },
    {**DETAILS, "document": DOCUMENT_OBJECT},
)
_DATUM = nested({"object": TEXT, "index": WHOLE, "relevance_score": NUMBER, "score": NUMBER}, {"document": TEXT, "input": TEXT})
_OF_A_QUERY = nested({"query_index": WHOLE, "results": array(RESULT)})
RESPONSE: JsonObject = nested(
    {**HEAD, "results": array({"anyOf": [RESULT, _OF_A_QUERY]}), "meta": META, "usage": USAGE}, {"data": array(_DATUM)}
)

DIALECT = Dialect(
    name="superset",
    summary="Rank documents by their relevance to a query",
    paths=PATHS,
    request=request_schema({"query": many_queries(), "documents": documents()}, OPTIONS),
    response=RESPONSE,
    write=write,
    shares=True,
)
