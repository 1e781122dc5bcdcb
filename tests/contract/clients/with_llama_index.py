"""LlamaIndex's postprocessors: Cohere, Jina, SiliconFlow, TEI, Xinference, NVIDIA, Voyage."""

import os
import warnings

import voyageai
from battery import URL, Ask, Client, Ranked, run
from cohere.core import ApiError
from cohere.errors import NotFoundError, UnauthorizedError
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from llama_index.postprocessor.nvidia_rerank import NVIDIARerank
from llama_index.postprocessor.siliconflow_rerank import SiliconFlowRerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference
from llama_index.postprocessor.voyageai_rerank import VoyageAIRerank
from llama_index.postprocessor.xinference_rerank import XinferenceRerank

warnings.simplefilter("ignore")
OPEN_URL = os.environ["GIGARANK_OPEN_URL"]  # a server without keys: the Xinference client sends none


def most(ask: Ask) -> int:
    return len(ask.documents) if ask.top_n is None else ask.top_n


def ranked(postprocessor: BaseNodePostprocessor, ask: Ask) -> Ranked:
    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(index))) for index, text in enumerate(ask.documents)]
    found = postprocessor.postprocess_nodes(nodes, QueryBundle(ask.query))
    return [(int(node.node.node_id), node.score) for node in found]


def cohere(ask: Ask) -> Ranked:
    return ranked(CohereRerank(most(ask), ask.model, ask.key, base_url=URL, max_retries=1), ask)


def jina(ask: Ask) -> Ranked:
    return ranked(JinaRerank(most(ask), ask.model, f"{URL}/v1", ask.key), ask)


def siliconflow(ask: Ask) -> Ranked:
    return ranked(SiliconFlowRerank(ask.model, f"{URL}/v1/rerank", ask.key, most(ask)), ask)


def tei(ask: Ask) -> Ranked:
    """It sends the token as it is, without "Bearer"."""
    return ranked(TextEmbeddingInference(most(ask), URL, auth_token=ask.key), ask)


def xinference(ask: Ask) -> Ranked:
    return ranked(XinferenceRerank(top_n=most(ask), model=ask.model, base_url=OPEN_URL), ask)


def nvidia(ask: Ask) -> Ranked:
    return ranked(NVIDIARerank(model=ask.model, api_key=ask.key, base_url=f"{URL}/v1", top_n=most(ask)), ask)


def voyage(ask: Ask) -> Ranked:
    """The package has no address of its own to set; voyageai's client, which it uses, has."""
    postprocessor = VoyageAIRerank(ask.model, api_key=ask.key, top_n=ask.top_n)
    postprocessor._client = voyageai.Client(ask.key, base_url=f"{URL}/v1")
    return ranked(postprocessor, ask)


DETAIL = {"key": (RuntimeError, "key"), "model": (RuntimeError, "no-such-model"), "many": (RuntimeError, "1,?000")}
# voyageai 0.3.7, which this package pins, fails to make its own error of any body that has an `error` object; 0.5 is right
VOYAGE = {"key": (AttributeError, "error_object")}
COHERE = {"key": (UnauthorizedError, "key"), "model": (NotFoundError, "no-such-model"), "many": (ApiError, "1,?000")}

run(
    [
        Client("llama-index: CohereRerank", cohere, refusals=COHERE, retries=(429, 503)),
        Client("llama-index: JinaRerank", jina, refusals=DETAIL),
        Client("llama-index: SiliconFlowRerank", siliconflow, refusals=DETAIL),
        Client("llama-index: TextEmbeddingInference", tei),
        Client(
            "llama-index: XinferenceRerank",
            xinference,
            refusals={"model": (Exception, "404.*no-such-model"), "many": (Exception, "413.*1,?000")},
        ),
        Client("llama-index: NVIDIARerank", nvidia, "logit", refusals={"key": (Exception, "401"), "model": (ValueError, "")}),
        Client("llama-index: VoyageAIRerank", voyage, refusals=VOYAGE),
    ]
)
