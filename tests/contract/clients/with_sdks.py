"""openai (rerank, decisions, models, embeddings), cohere 7.x, and the makers' own packages of the other formats."""

import asyncio
import json
import math
import urllib.request

import cohere
import dashscope
import mixedbread
import openai
import openrouter
import pinecone
import together
import voyageai
import zeroentropy
from battery import DOCUMENTS, KEY, MODEL, QUERY, TEXTS, URL, Ask, Client, Ranked, alone, run
from cohere.errors import BadRequestError, NotFoundError, UnauthorizedError
from decisions_reranker import DecisionsReranker, Document
from openrouter.errors import OpenRouterError
from pinecone import exceptions as pinecone_errors

dashscope.base_http_api_url = f"{URL}/api/v1"


def body_of(ask: Ask) -> dict:
    body = {"model": ask.model, "query": ask.query, "documents": list(ask.documents)}
    body |= {} if ask.top_n is None else {"top_n": ask.top_n}
    return body | ({} if ask.instruction is None else {"instruction": ask.instruction})


def openai_rerank(ask: Ask) -> Ranked:
    client = openai.OpenAI(api_key=ask.key, base_url=f"{URL}/v1")
    answer = client.post("/rerank", body=body_of(ask), cast_to=object)
    return [(result["index"], result["relevance_score"]) for result in answer["results"]]


def openai_async(ask: Ask) -> Ranked:
    async def asked() -> Ranked:
        async with openai.AsyncOpenAI(api_key=ask.key, base_url=f"{URL}/v1") as client:
            answer = await client.post("/rerank", body=body_of(ask), cast_to=object)
        return [(result["index"], result["relevance_score"]) for result in answer["results"]]

    return asyncio.run(asked())


def openai_reranks(ask: Ask) -> Ranked:
    """As DashScope's own page shows its compatible path."""
    client = openai.OpenAI(api_key=ask.key, base_url=f"{URL}/compatible-api/v1")
    answer = client.post("/reranks", body=body_of(ask), cast_to=object)
    return [(result["index"], result["relevance_score"]) for result in answer["results"]]


def openai_models() -> None:
    client = openai.OpenAI(api_key=KEY, base_url=f"{URL}/v1")
    names = [model.id for model in client.models.list()]
    assert MODEL in names, names
    assert client.models.retrieve(MODEL).id == MODEL
    try:
        client.models.retrieve("no-such/model")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found", error.body
    else:
        raise AssertionError("an unknown model was found")


def openai_embeddings() -> None:
    client = openai.OpenAI(api_key=KEY, base_url=f"{URL}/v1")
    listed = [model for model in plain_models() if model.get("kind", model.get("type")) == "embedder" or "embed" in model["id"]]
    if not listed:
        return
    name = listed[0]["id"]
    packed = client.embeddings.create(model=name, input=TEXTS[:3])  # base64, which the package asks for by itself
    floats = client.embeddings.create(model=name, input=TEXTS[:3], encoding_format="float")
    for one, other in zip(packed.data, floats.data, strict=True):
        assert one.index == other.index
        assert all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(one.embedding, other.embedding, strict=True))
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 0


def plain_models() -> list[dict]:
    request = urllib.request.Request(f"{URL}/v1/models", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def openai_request_ids() -> None:
    client = openai.OpenAI(api_key=KEY, base_url=f"{URL}/v1", max_retries=0)
    try:
        client.post("/rerank", body={"model": MODEL, "query": QUERY}, cast_to=object)
    except openai.BadRequestError as error:
        assert error.request_id, "no x-request-id"
        assert error.type == "invalid_request_error", error.body
        assert error.param == "documents", error.body
    else:
        raise AssertionError("a request without documents was answered")


def decisions() -> None:
    """P(yes) of every question, in the order of the request."""
    client = openai.OpenAI(api_key=KEY, base_url=f"{URL}/v1")
    questions = [{"type": "predicate", "name": str(index), "instructions": text} for index, text in enumerate(DOCUMENTS)]
    answer = client.decisions.create(model=MODEL, input=QUERY, questions=questions)
    assert [each.name for each in answer.answers] == [str(index) for index in range(len(DOCUMENTS))]
    assert all(each.type == "predicate" and 0.0 <= each.probability <= 1.0 for each in answer.answers)
    assert answer.usage.input_tokens_details.cached_tokens >= 0
    assert answer.usage.output_tokens_details.reasoning_tokens == 0


def decisions_kinds() -> None:
    client = openai.OpenAI(api_key=KEY, base_url=f"{URL}/v1")
    choices = [{"value": "red", "description": "a red planet"}, {"value": "hot", "description": "Venus"}]
    levels = [{"label": "low", "description": "no planet"}, {"label": "high", "description": "which red planet"}]
    questions = [
        {"type": "choice", "name": "colour", "instructions": "Which?", "choices": choices},
        {"type": "score", "name": "fit", "instructions": "How well?", "levels": levels},
    ]
    choice, score = client.decisions.create(model=MODEL, input=QUERY, questions=questions).answers
    assert choice.type == "choice" and choice.choice in ("red", "hot")
    assert math.isclose(sum(each.probability for each in choice.probabilities), 1.0, abs_tol=1e-6)
    assert score.type == "score" and {each.label for each in score.probabilities} == {"low", "high"}


def decisions_reranker(ask: Ask) -> Ranked:
    client = openai.OpenAI(api_key=ask.key, base_url=f"{URL}/v1")
    reranker = DecisionsReranker(client, model=ask.model, instruction="{document}")
    documents = [Document(str(index), text) for index, text in enumerate(ask.documents)]
    return [(int(found.id), found.score) for found in reranker.rerank(ask.query, documents)]


def decisions_agree() -> None:
    """A predicate's probability is what the reranker says of the same text."""
    got = decisions_reranker(Ask())
    assert [index for index, _ in got] == [index for index, _ in alone(Ask(), "relevance_score")], got


def cohere_v2(ask: Ask) -> Ranked:
    client = cohere.ClientV2(ask.key, base_url=URL)
    answer = client.rerank(model=ask.model, query=ask.query, documents=list(ask.documents), top_n=ask.top_n)
    return [(result.index, result.relevance_score) for result in answer.results]


def cohere_v2_async(ask: Ask) -> Ranked:
    async def asked() -> Ranked:
        client = cohere.AsyncClientV2(ask.key, base_url=URL)
        answer = await client.rerank(model=ask.model, query=ask.query, documents=list(ask.documents), top_n=ask.top_n)
        return [(result.index, result.relevance_score) for result in answer.results]

    return asyncio.run(asked())


def cohere_v1(ask: Ask) -> Ranked:
    client = cohere.Client(ask.key, base_url=URL)
    answer = client.rerank(model=ask.model, query=ask.query, documents=list(ask.documents), top_n=ask.top_n)
    return [(result.index, result.relevance_score) for result in answer.results]


def cohere_extras() -> None:
    """Fields of a format's later versions are accepted, and extra ones of ours are kept by the package."""
    client = cohere.ClientV2(KEY, base_url=URL)
    answer = client.rerank(model=MODEL, query=QUERY, documents=DOCUMENTS, max_tokens_per_doc=4096, priority=3)
    assert answer.id and answer.meta.api_version.version
    assert [result.logit for result in answer.results] == sorted((result.logit for result in answer.results), reverse=True)


def voyage(ask: Ask) -> Ranked:
    client = voyageai.Client(ask.key, base_url=f"{URL}/v1", max_retries=2)
    answer = client.rerank(ask.query, list(ask.documents), ask.model, top_k=ask.top_n)
    assert [result.document for result in answer.results] == [ask.documents[result.index] for result in answer.results]
    assert answer.total_tokens > 0
    return [(result.index, result.relevance_score) for result in answer.results]


def together_rerank(ask: Ask) -> Ranked:
    client = together.Together(api_key=ask.key, base_url=f"{URL}/v1")
    top_n = {} if ask.top_n is None else {"top_n": ask.top_n}
    answer = client.rerank.create(model=ask.model, query=ask.query, documents=list(ask.documents), **top_n)
    return [(result.index, result.relevance_score) for result in answer.results]


def together_documents() -> None:
    client = together.Together(api_key=KEY, base_url=f"{URL}/v1")
    answer = client.rerank.create(model=MODEL, query=QUERY, documents=DOCUMENTS, return_documents=True)
    assert [result.document.text for result in answer.results] == [DOCUMENTS[result.index] for result in answer.results]
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def mixedbread_rerank(ask: Ask) -> Ranked:
    client = mixedbread.Mixedbread(api_key=ask.key, base_url=URL)
    top_k = {} if ask.top_n is None else {"top_k": ask.top_n}
    answer = client.rerank(model=ask.model, query=ask.query, input=list(ask.documents), return_input=True, **top_k)
    assert [result.input for result in answer.data] == [ask.documents[result.index] for result in answer.data]
    return [(result.index, result.score) for result in answer.data]


def zeroentropy_rerank(ask: Ask) -> Ranked:
    client = zeroentropy.ZeroEntropy(api_key=ask.key, base_url=f"{URL}/v1")
    top_n = {} if ask.top_n is None else {"top_n": ask.top_n}
    answer = client.models.rerank(model=ask.model, query=ask.query, documents=list(ask.documents), latency="fast", **top_n)
    assert answer.total_tokens > 0 and answer.total_bytes > 0
    return [(result.index, result.relevance_score) for result in answer.results]


def pinecone_rerank(ask: Ask) -> Ranked:
    client = pinecone.Pinecone(api_key=ask.key, host=URL)
    answer = client.inference.rerank(model=ask.model, query=ask.query, documents=list(ask.documents), top_n=ask.top_n)
    assert [result.document["text"] for result in answer.data] == [ask.documents[result.index] for result in answer.data]
    return [(result.index, result.score) for result in answer.data]


def openrouter_rerank(ask: Ask) -> Ranked:
    client = openrouter.OpenRouter(api_key=ask.key, server_url=f"{URL}/api/v1")
    top_n = {} if ask.top_n is None else {"top_n": ask.top_n}
    answer = client.rerank.rerank(model=ask.model, query=ask.query, documents=list(ask.documents), **top_n)
    return [(result.index, result.relevance_score) for result in answer.results]


def dashscope_rerank(ask: Ask) -> Ranked:
    answer = dashscope.TextReRank.call(
        ask.model,
        ask.query,
        list(ask.documents),
        return_documents=True,
        top_n=ask.top_n,
        api_key=ask.key,
        instruct=ask.instruction,
    )
    if answer.status_code != 200:
        raise RuntimeError(f"{answer.status_code} {answer.code}: {answer.message}")
    found = answer.output.results
    assert [result["document"]["text"] for result in found] == [ask.documents[result.index] for result in found]
    assert answer.usage.total_tokens > 0 and answer.request_id
    return [(result.index, result.relevance_score) for result in found]


def stainless(module: object, many: str = "APIStatusError") -> dict:
    """The classes that every package of this generator has."""
    return {
        "key": (module.AuthenticationError, "key"),
        "model": (module.NotFoundError, "no-such-model"),
        "many": (getattr(module, many), "1,?000"),
        "empty": (module.BadRequestError, "query"),
    }


COHERE = {
    "key": (UnauthorizedError, "key"),
    "model": (NotFoundError, "no-such-model"),
    "many": (cohere.core.ApiError, "1,?000"),
    "empty": (BadRequestError, "query"),
}
VOYAGE = {
    "key": (voyageai.error.AuthenticationError, "key"),
    "model": (voyageai.error.VoyageError, "no-such-model"),
    "many": (voyageai.error.VoyageError, "1,?000"),
    "empty": (voyageai.error.InvalidRequestError, "query"),
}
PLAIN = {"key": "key", "model": "no-such-model", "many": "1,?000", "empty": "query"}

run(
    [
        Client("openai: post /rerank", openai_rerank, instruction=True, refusals=stainless(openai), retries=(429, 503)),
        Client("openai: async", openai_async, instruction=True, refusals=stainless(openai), retries=(429, 503)),
        Client("openai: /compatible-api/v1/reranks", openai_reranks, instruction=True, refusals=stainless(openai)),
        Client("cohere 7: ClientV2", cohere_v2, refusals=COHERE, retries=(429, 503)),
        Client("cohere 7: AsyncClientV2", cohere_v2_async, refusals=COHERE, retries=(429, 503)),
        Client("cohere 7: Client", cohere_v1, refusals=COHERE),
        Client("voyageai", voyage, refusals=VOYAGE, retries=(429, 503)),
        Client("together", together_rerank, refusals=stainless(together), retries=(429, 503)),
        Client("mixedbread", mixedbread_rerank, "score", refusals=stainless(mixedbread), retries=(429, 503)),
        Client("zeroentropy", zeroentropy_rerank, refusals=stainless(zeroentropy), retries=(429, 503)),
        Client(
            "pinecone",
            pinecone_rerank,
            "score",
            refusals={
                "key": (pinecone_errors.UnauthorizedException, "key"),
                "model": (pinecone_errors.NotFoundException, "no-such-model"),
                "many": (pinecone_errors.PineconeApiException, "1,?000"),
            },
        ),
        Client("openrouter", openrouter_rerank, refusals={what: (OpenRouterError, text) for what, text in PLAIN.items()}),
        Client(
            "dashscope",
            dashscope_rerank,
            instruction=True,
            refusals={
                "key": (RuntimeError, "401 .*key"),
                "model": (RuntimeError, "404 .*no-such-model"),
                "many": (RuntimeError, "413 .*1,?000"),
            },
        ),
    ],
    {
        ("openai: post /rerank", "models"): openai_models,
        ("openai: post /rerank", "embeddings"): openai_embeddings,
        ("openai: post /rerank", "error fields"): openai_request_ids,
        ("openai: decisions", "predicate"): decisions,
        ("openai: decisions", "choice and score"): decisions_kinds,
        ("decisions-reranker", "ranks"): decisions_agree,
        ("cohere 7: ClientV2", "extras"): cohere_extras,
        ("together", "documents"): together_documents,
    },
)
