"""Pinecone's inference API: documents are objects, scores stand in `data`, units are searches.

Known by its header on a shared path. Azure's keys come as api-key, too, so that header alone counts only with documents that
are objects. Invariant: a document comes back as the object that was sent, unless the client refused it.
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
    request_schema,
)
from gigarank.types import JsonObject


def claims(call: Call) -> bool:
    if "x-pinecone-api-version" in call.headers:
        return True
    given = call.body.get("documents") if isinstance(call.body, dict) else None
    return "api-key" in call.headers and isinstance(given, list) and bool(given) and isinstance(given[0], dict)


def write(_call: Call, request: RerankRequest, answer: RerankAnswer) -> JsonObject:
    echo = echoes(request, True)
    data = [
        {"index": one.index, "score": one.score} | ({"document": one.document.echo} if echo else {}) | details(one)
        for one in answer.results
    ]
    return {"model": answer.model, "data": data, "usage": {"rerank_units": answer.search_units}}


_REQUEST = request_schema(
    {"query": one_query(), "documents": documents()}, ("model", "rank_fields", "return_documents", "top_n")
)
_REQUEST["properties"]["parameters"] = {"type": ["object", "null"], "properties": {"truncate": field_schema("truncate")}}

DIALECT = Dialect(
    name="pinecone",
    summary="Rank documents, as Pinecone does; also on /rerank, with the header X-Pinecone-API-Version",
    paths=(Path("/pinecone/rerank", listed=True),),
    request=_REQUEST,
    response=nested(
        {
            "model": TEXT,
            "data": array(nested({"index": WHOLE, "score": NUMBER}, {**DETAILS, "document": DOCUMENT_OBJECT})),
            "usage": nested({"rerank_units": WHOLE}),
        }
    ),
    write=write,
    read=read_nested,
    claims=claims,
)
