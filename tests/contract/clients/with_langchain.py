"""LangChain's rerankers: Cohere's (with its retriever), NVIDIA's, Fireworks' and Infinity's."""

import warnings

import openai
from battery import DOCUMENTS, KEY, MODEL, QUERY, URL, Ask, Client, Ranked, alone, equal, run
from cohere.core import ApiError
from cohere.errors import NotFoundError, UnauthorizedError
from infinity_client.client import Client as InfinityClient
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_cohere import CohereRerank
from langchain_community.document_compressors.infinity_rerank import InfinityRerank
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_fireworks.rerank import FireworksRerank
from langchain_nvidia_ai_endpoints import NVIDIARerank

warnings.simplefilter("ignore")  # that a package is in beta is its own affair


def documents_of(ask: Ask) -> list[Document]:
    return [Document(text, metadata={"index": index}) for index, text in enumerate(ask.documents)]


def pairs(found: list[dict]) -> Ranked:
    return [(result["index"], result["relevance_score"]) for result in found]


def cohere_compressor(ask: Ask) -> CohereRerank:
    return CohereRerank(cohere_api_key=ask.key, base_url=URL, model=ask.model, top_n=ask.top_n)


def cohere_rerank(ask: Ask) -> Ranked:
    return pairs(cohere_compressor(ask).rerank(list(ask.documents), ask.query, top_n=ask.top_n))


def cohere_dicts() -> None:
    """Documents with fields: the package writes them as YAML."""
    found = cohere_compressor(Ask()).rerank([{"title": text, "no": 1} for text in DOCUMENTS], QUERY, rank_fields=["title"])
    assert sorted(result["index"] for result in found) == list(range(len(DOCUMENTS)))[: len(found)] or len(found) == 3


class Fixed(BaseRetriever):
    """Finds every document, in the order in which they stand."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return documents_of(Ask())


def cohere_retriever() -> None:
    compressor = cohere_compressor(Ask(top_n=3))
    found = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=Fixed()).invoke(QUERY)
    got = [(document.metadata["index"], document.metadata["relevance_score"]) for document in found]
    equal(got, alone(Ask(), "relevance_score")[:3])


def nvidia(ask: Ask) -> Ranked:
    top_n = len(ask.documents) if ask.top_n is None else ask.top_n
    ranker = NVIDIARerank(base_url=f"{URL}/v1", api_key=ask.key, model=ask.model, top_n=top_n)
    found = ranker.compress_documents(documents_of(ask), ask.query)
    return [(document.metadata["index"], document.metadata["relevance_score"]) for document in found]


def nvidia_batches() -> None:
    """More passages than it sends at once: it joins the batches by their logits."""
    ask = Ask(documents=tuple(f"{'red ' * (place % 3)}planet {place}" for place in range(40)))
    got, wanted = nvidia(ask), alone(ask, "logit")
    assert sorted(index for index, _ in got) == sorted(index for index, _ in wanted)
    equal(sorted(got), sorted(wanted))
    assert [score for _, score in got] == sorted((score for _, score in got), reverse=True)


def fireworks(ask: Ask) -> Ranked:
    ranker = FireworksRerank(fireworks_api_key=ask.key, base_url=f"{URL}/inference/v1", model=ask.model, top_n=ask.top_n)
    return pairs(ranker.rerank(list(ask.documents), ask.query, top_n=ask.top_n, task=ask.instruction))


def infinity(ask: Ask) -> Ranked:
    client = InfinityClient(base_url=f"{URL}/infinity", headers={"Authorization": f"Bearer {ask.key}"})
    ranker = InfinityRerank(client=client, model=ask.model, top_n=ask.top_n)
    return pairs(ranker.rerank(list(ask.documents), ask.query, top_n=ask.top_n))


COHERE = {
    "key": (UnauthorizedError, "key"),
    "model": (NotFoundError, "no-such-model"),
    "many": (ApiError, "1,?000"),
}
OPENAI = {
    "key": (openai.AuthenticationError, "key"),
    "model": (openai.NotFoundError, "no-such-model"),
    "many": (openai.APIStatusError, "1,?000"),
}
assert MODEL and KEY

run(
    [
        Client("langchain-cohere: CohereRerank", cohere_rerank, refusals=COHERE, retries=(429, 503)),
        Client(
            "langchain-nvidia: NVIDIARerank", nvidia, "logit", refusals={"key": (Exception, "401"), "model": (Exception, "")}
        ),
        Client("langchain-fireworks: FireworksRerank", fireworks, instruction=True, refusals=OPENAI, retries=(429, 503)),
        Client("langchain-community: InfinityRerank", infinity),
    ],
    {
        ("langchain-cohere: CohereRerank", "documents with fields"): cohere_dicts,
        ("langchain-cohere: CohereRerank", "retriever"): cohere_retriever,
        ("langchain-nvidia: NVIDIARerank", "batches"): nvidia_batches,
    },
)
