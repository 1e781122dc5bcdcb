"""Haystack's rankers: Cohere, Jina, vLLM, TEI."""

import os

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

from battery import URL, Ask, Client, Ranked, run
from cohere.errors import NotFoundError, UnauthorizedError
from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker
from haystack_integrations.components.rankers.jina import JinaRanker
from haystack_integrations.components.rankers.vllm import VLLMRanker


def documents_of(ask: Ask) -> list[Document]:
    return [Document(id=str(index), content=text) for index, text in enumerate(ask.documents)]


def pairs(answer: dict) -> Ranked:
    return [(int(document.id), document.score) for document in answer["documents"]]


def cohere(ask: Ask) -> Ranked:
    top_k = len(ask.documents) if ask.top_n is None else ask.top_n
    ranker = CohereRanker(model=ask.model, top_k=top_k, api_key=Secret.from_token(ask.key), api_base_url=URL)
    return pairs(ranker.run(query=ask.query, documents=documents_of(ask)))


def jina(ask: Ask) -> Ranked:
    ranker = JinaRanker(ask.model, Secret.from_token(ask.key), ask.top_n, base_url=f"{URL}/v1/rerank")
    answer = ranker.run(query=ask.query, documents=documents_of(ask))
    assert answer["meta"]["model"] and answer["meta"]["usage"]["total_tokens"] > 0, answer["meta"]
    return pairs(answer)


def vllm(ask: Ask) -> Ranked:
    extra = {} if ask.instruction is None else {"instruction": ask.instruction}
    key = Secret.from_token(ask.key)
    ranker = VLLMRanker(model=ask.model, api_key=key, api_base_url=f"{URL}/v1", top_k=ask.top_n, extra_parameters=extra)
    answer = ranker.run(query=ask.query, documents=documents_of(ask))
    assert answer["meta"]["usage"]["total_tokens"] > 0, answer["meta"]
    return pairs(answer)


def tei(ask: Ask) -> Ranked:
    top_k = len(ask.documents) if ask.top_n is None else ask.top_n
    ranker = HuggingFaceTEIRanker(url=URL, token=Secret.from_token(ask.key), top_k=top_k, timeout=30, max_retries=1)
    if hasattr(ranker, "warm_up"):
        ranker.warm_up()
    return pairs(ranker.run(query=ask.query, documents=documents_of(ask)))


DETAIL = {"key": (RuntimeError, "key"), "model": (RuntimeError, "no-such-model"), "many": (RuntimeError, "1,?000")}

run(
    [
        Client(
            "haystack: CohereRanker",
            cohere,
            refusals={"key": (UnauthorizedError, "key"), "model": (NotFoundError, "no-such-model")},
            retries=(429, 503),
        ),
        Client("haystack: JinaRanker", jina, refusals=DETAIL),
        Client("haystack: VLLMRanker", vllm, instruction=True, refusals=DETAIL),
        Client(
            "haystack: HuggingFaceTEIRanker", tei, "score", refusals={"key": (Exception, ""), "many": (Exception, "1,?000")}
        ),
    ]
)
