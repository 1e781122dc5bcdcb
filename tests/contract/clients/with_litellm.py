"""litellm: the same call through each of its providers, every one a format and a path of its own."""

import asyncio
import os
from collections.abc import Callable

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for a price list when it is imported

import litellm
from battery import DOCUMENTS, KEY, MODEL, QUERY, URL, Ask, Client, Ranked, run

litellm.suppress_debug_info = True
litellm.telemetry = False


def arguments(provider: str, base: str, ask: Ask) -> dict:
    named = {"model": f"{provider}/{ask.model}", "query": ask.query, "documents": list(ask.documents)}
    named |= {"api_base": f"{URL}{base}", "api_key": ask.key}
    named |= {} if ask.top_n is None else {"top_n": ask.top_n}
    return named | ({} if ask.instruction is None else {"instruction": ask.instruction})


def pairs(answer: litellm.RerankResponse) -> Ranked:
    return [(result["index"], result["relevance_score"]) for result in answer.results]


def through(provider: str, base: str = "") -> Callable[[Ask], Ranked]:
    return lambda ask: pairs(litellm.rerank(**arguments(provider, base, ask)))


def deepinfra(ask: Ask) -> Ranked:
    """This format's scores stand in the documents' order, and litellm leaves them there."""
    found = through("deepinfra", "/v1")(ask)
    assert [index for index, _ in found] == list(range(len(ask.documents)))
    return sorted(found, key=lambda pair: -pair[1])


def asynchronously(ask: Ask) -> Ranked:
    return pairs(asyncio.run(litellm.arerank(**arguments("cohere", "", ask))))


def document_texts(provider: str, base: str = "") -> Callable[[], None]:
    def check() -> None:
        answer = litellm.rerank(**arguments(provider, base, Ask()), return_documents=True)
        texts = [result["document"]["text"] for result in answer.results]
        assert texts == [DOCUMENTS[result["index"]] for result in answer.results], texts

    return check


def metered(provider: str, base: str = "") -> Callable[[], None]:
    def check() -> None:
        meta = litellm.rerank(**arguments(provider, base, Ask())).meta
        counted = {**(meta.get("billed_units") or {}), **(meta.get("tokens") or {})}
        assert any(counted.values()), meta

    return check


def vllm_options() -> None:
    more = {"truncate_prompt_tokens": 64, "truncation_side": "right", "max_tokens_per_query": 8, "max_tokens_per_doc": 16}
    answer = litellm.rerank(**arguments("hosted_vllm", "", Ask(query=QUERY)), **more)
    assert len(answer.results) == len(DOCUMENTS) and MODEL


CLASSES = {
    "key": (litellm.AuthenticationError, "key"),
    "model": (litellm.NotFoundError, "no-such-model"),
    "many": (litellm.BadRequestError, "1,?000"),  # 413 becomes its class of 400
}
NAMELESS = {what: (Exception, CLASSES[what][1]) for what in ("key", "many")}  # TEI's format names no model
VLLM = {what: (Exception, text) for what, (_, text) in CLASSES.items()}
assert KEY

run(
    [
        Client("litellm: cohere/", through("cohere"), refusals=CLASSES),
        Client("litellm: cohere/ (async)", asynchronously, refusals=CLASSES),
        Client("litellm: jina_ai/", through("jina_ai"), refusals=CLASSES),
        Client("litellm: hosted_vllm/", through("hosted_vllm"), instruction=True, refusals=VLLM),
        Client("litellm: infinity/", through("infinity", "/infinity"), refusals=VLLM),
        Client("litellm: voyage/", through("voyage", "/v1"), refusals=VLLM),
        Client("litellm: together_ai/", through("together_ai", "/v1"), refusals=VLLM),
        Client("litellm: fireworks_ai/", through("fireworks_ai"), refusals=VLLM),
        Client("litellm: huggingface/", through("huggingface"), refusals=NAMELESS),
        Client("litellm: deepinfra/", deepinfra, refusals=VLLM, top_n=False),
        Client("litellm: nvidia_nim/", through("nvidia_nim"), "logit", refusals=VLLM),
        Client("litellm: dashscope/", through("dashscope", "/compatible-api/v1"), refusals=VLLM),
        Client("litellm: litellm_proxy/", through("litellm_proxy"), refusals=VLLM),
        Client("litellm: azure_ai/", through("azure_ai"), refusals=VLLM),
    ],
    {
        ("litellm: cohere/", "documents"): document_texts("cohere"),
        ("litellm: jina_ai/", "documents"): document_texts("jina_ai"),
        ("litellm: hosted_vllm/", "documents"): document_texts("hosted_vllm"),
        ("litellm: together_ai/", "documents"): document_texts("together_ai", "/v1"),
        ("litellm: cohere/", "meta"): metered("cohere"),
        ("litellm: jina_ai/", "meta"): metered("jina_ai"),
        ("litellm: hosted_vllm/", "meta"): metered("hosted_vllm"),
        ("litellm: hosted_vllm/", "options"): vllm_options,
    },
)
