"""cohere 5.x, and rerankers with each of the providers that it speaks to."""

import asyncio

import cohere
import rerankers
from battery import DOCUMENTS, KEY, MODEL, QUERY, URL, Ask, Client, Ranked, run
from cohere.errors import BadRequestError, NotFoundError, UnauthorizedError


def v1(ask: Ask) -> Ranked:
    client = cohere.Client(ask.key, base_url=URL)
    answer = client.rerank(model=ask.model, query=ask.query, documents=list(ask.documents), top_n=ask.top_n)
    return [(result.index, result.relevance_score) for result in answer.results]


def v2(ask: Ask) -> Ranked:
    client = cohere.ClientV2(ask.key, base_url=URL)
    answer = client.rerank(model=ask.model, query=ask.query, documents=list(ask.documents), top_n=ask.top_n)
    return [(result.index, result.relevance_score) for result in answer.results]


def v2_async(ask: Ask) -> Ranked:
    async def asked() -> Ranked:
        client = cohere.AsyncClientV2(ask.key, base_url=URL)
        answer = await client.rerank(model=ask.model, query=ask.query, documents=list(ask.documents), top_n=ask.top_n)
        return [(result.index, result.relevance_score) for result in answer.results]

    return asyncio.run(asked())


def v1_documents() -> None:
    client = cohere.Client(KEY, base_url=URL)
    answer = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, return_documents=True)
    assert [result.document.text for result in answer.results] == [DOCUMENTS[result.index] for result in answer.results]
    without = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, return_documents=False)
    assert [result.document for result in without.results] == [None] * len(DOCUMENTS)


def v1_fields() -> None:
    client = cohere.Client(KEY, base_url=URL)
    documents = [{"title": text, "text": "of no use"} for text in DOCUMENTS]
    answer = client.rerank(model=MODEL, query=QUERY, documents=documents, rank_fields=["title"])
    yaml = client.rerank(model=MODEL, query=QUERY, documents=[f"title: {text}\n" for text in DOCUMENTS])
    assert [result.index for result in answer.results] == [result.index for result in yaml.results]


def v1_meta() -> None:
    meta = cohere.Client(KEY, base_url=URL).rerank(model=MODEL, query=QUERY, documents=DOCUMENTS).meta
    assert meta.api_version.version and meta.billed_units.search_units == 1, meta
    assert meta.tokens.input_tokens > 0, meta


def v2_truncates() -> None:
    client = cohere.ClientV2(KEY, base_url=URL)
    documents = ["red " * 50, "planet"]
    answer = client.rerank(model=MODEL, query=QUERY, documents=documents, max_tokens_per_doc=5)
    assert answer.meta.warnings, "a document was cut and nothing says so"


REFUSALS = {
    "key": (UnauthorizedError, "key"),
    "model": (NotFoundError, "no-such-model"),
    "many": (cohere.core.ApiError, "1,?000"),
    "empty": (BadRequestError, "query"),
}


def provider(name: str, path: str) -> Client:
    def rank(ask: Ask) -> Ranked:
        named = {"api_provider": name, "api_key": ask.key, "url": f"{URL}{path}", "verbose": 0}
        ranker = rerankers.Reranker(ask.model, model_type="APIRanker", **named)
        ranked = ranker.rank(query=ask.query, docs=list(ask.documents), doc_ids=list(range(len(ask.documents))))
        return [(result.doc_id, result.score) for result in ranked.results]

    score = "score" if name in ("mixedbread.ai", "pinecone", "text-embeddings-inference") else "relevance_score"
    return Client(f"rerankers: {name}", rank, score, top_n=False)


run(
    [
        Client("cohere 5: Client", v1, refusals=REFUSALS, retries=(429, 503)),
        Client("cohere 5: ClientV2", v2, refusals=REFUSALS, retries=(429, 503)),
        Client("cohere 5: AsyncClientV2", v2_async, refusals=REFUSALS, retries=(429,)),
        provider("cohere", "/v1/rerank"),
        provider("jina", "/v1/rerank"),
        provider("voyage", "/v1/rerank"),
        provider("mixedbread.ai", "/v1/reranking"),
        provider("pinecone", "/rerank"),
        provider("text-embeddings-inference", "/rerank"),
    ],
    {
        ("cohere 5: Client", "documents"): v1_documents,
        ("cohere 5: Client", "rank_fields"): v1_fields,
        ("cohere 5: Client", "meta"): v1_meta,
        ("cohere 5: ClientV2", "truncation"): v2_truncates,
    },
)
