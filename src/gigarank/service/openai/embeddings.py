"""POST /v1/embeddings: OpenAI's shape, with what an embedder of queries and documents needs beside it.

A text is embedded as a document, unless `input_type` (Voyage, Cohere, NVIDIA) or `task` (Jina) says that it is a query, or
`instruction` says of what search. Invariant: as many vectors as texts, in their order.
"""

import base64
from typing import Literal

import numpy as np

from gigarank.errors import InvalidInput
from gigarank.service.backend import Embedded
from gigarank.service.call import Answer, Call
from gigarank.service.openai.fields import Fields, as_fields, check_size, wrong_type
from gigarank.service.openai.models import model_of
from gigarank.service.openai.urgency import urgency_of
from gigarank.types import JsonObject

MAX_DIMENSIONS = 2**16
QUERIES = ("query", "search_query", "retrieval.query")
DOCUMENTS = ("document", "passage", "search_document", "retrieval.passage")
ENCODINGS = ("float", "base64")


async def create_embeddings(call: Call) -> Answer:
    fields = as_fields(call.body, "")
    texts = _texts(fields, call.settings.max_documents)
    task = task_of(fields)
    encoding = fields.choice("encoding_format", ENCODINGS)
    dimensions = fields.integer("dimensions", 1, MAX_DIMENSIONS)
    urgency = urgency_of(call, fields)
    model = model_of(call, fields, "embedder").name
    embedded = await call.backend.embed(model, texts, task=task, dimensions=dimensions, urgency=urgency)
    tokens = embedded.usage.total_tokens
    body = {
        "object": "list",
        "data": _data(embedded, "base64" if encoding == "base64" else "float"),
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "service_tier": urgency.tier},
    }
    return Answer(body, model, len(texts), tokens, embedded.timing)


def _texts(fields: Fields, most: int) -> list[str]:
    given = fields.given("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list):
        raise wrong_type("input", "string or list of strings", given)
    if not texts:
        raise InvalidInput("input: must hold at least one text", param="input", limit=1, received=0)
    if isinstance(texts[0], int | list):
        raise _not_text(0, texts[0])
    check_size("input", "texts", len(texts), most)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise _not_text(index, text)
    return texts


def _not_text(index: int, value: object) -> InvalidInput:
    if isinstance(value, int | list):
        return InvalidInput(
            "input: token ids are refused, since clients make them with another model's tokenizer; send the texts "
            "(LangChain's OpenAIEmbeddings: check_embedding_ctx_length=False)",
            param="input",
            limit="string",
            received="token ids",
        )
    return wrong_type(f"input[{index}]", "string", value)


def task_of(fields: Fields) -> str | None:
    """None where the texts are documents; else the task of the queries, "" for the model's default one."""
    said = fields.choice("input_type", (*QUERIES, *DOCUMENTS))
    task = fields.text("task")
    instruction = fields.text("instruction")
    if task in (*QUERIES, *DOCUMENTS):
        said = said or task
    elif task is not None and instruction is None:
        instruction = task
    if instruction is not None and said in DOCUMENTS:
        raise InvalidInput(
            "instruction: documents are embedded without one; leave it out, or say that these are queries",
            param="instruction",
            received=said,
        )
    if instruction is not None:
        return instruction
    return "" if said in QUERIES else None


def _data(embedded: Embedded, encoding: Literal["float", "base64"]) -> list[JsonObject]:
    rows = np.ascontiguousarray(embedded.vectors, dtype="<f4")
    return [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(row.tobytes()).decode() if encoding == "base64" else row.tolist(),
        }
        for index, row in enumerate(rows)
    ]
