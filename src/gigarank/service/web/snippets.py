"""Code that calls a model, in the clients people have: the programs of examples/clients, which the tests run.

Knows no page. Invariant: what is shown is a program that ran, but for the address, the model's name and the texts.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gigarank.errors import InvalidInput
from gigarank.service.backend import Kind
from gigarank.service.web.shipped import text


@dataclass(frozen=True, slots=True)
class Snippet:
    id: str
    name: str
    code: str


class Typed(Protocol):
    """What somebody wants to ask."""

    @property
    def query(self) -> str: ...

    @property
    def documents(self) -> list[Any]: ...


_FILES: Mapping[Kind, tuple[tuple[str, str, str], ...]] = {
    "reranker": (
        ("curl", "curl", "curl.sh"),
        ("python", "Python", "python_rerank.py"),
        ("openai", "openai", "openai_rerank.py"),
        ("cohere", "cohere", "cohere_v2_rerank.py"),
        ("langchain", "LangChain", "langchain_cohere_rerank.py"),
        ("llamaindex", "LlamaIndex", "llama_index_cohere_rerank.py"),
        ("haystack", "Haystack", "haystack_cohere_rerank.py"),
        ("javascript", "JavaScript", "javascript_rerank.mjs"),
    ),
    "embedder": (("curl", "curl", "curl_embeddings.sh"), ("openai", "openai", "openai_embeddings.py")),
}
CLIENTS: Mapping[str, str] = {id: name for id, name, _ in _FILES["reranker"]}
_ADDRESS, _MODEL, _EMBEDDER = "http://127.0.0.1:8000", "nano", "qwen3-embedding-0.6b"
_TEXTS = (
    (re.compile(r"^QUERY = .*$", re.M), "QUERY = {query}"),
    (re.compile(r"^TEXTS = .*$", re.M), "TEXTS = {documents}"),
    (re.compile(r"^const query = .*$", re.M), "const query = {query};"),
    (re.compile(r"^const documents = .*$", re.M), "const documents = {documents};"),
)
_CURL = re.compile(r"--data '.*'", re.S)


def snippets(kind: Kind, model: str, site: str) -> tuple[Snippet, ...]:
    """`site`: the address of the server, without a slash at its end."""
    return tuple(Snippet(id, name, _adapted(text("clients", file), model, site)) for id, name, file in _FILES[kind])


def snippet(client: str, model: str, site: str, typed: Typed) -> Snippet:
    """A reranker's, with what somebody typed. Raises InvalidInput for a client that is none of them."""
    for one in snippets("reranker", model, site):
        if one.id == client:
            return Snippet(one.id, one.name, _with_texts(one.code, model, typed))
    names = ", ".join(CLIENTS)
    raise InvalidInput(f"client: one of {names}; received {client[:40]!r}", param="client", limit=names, received=client[:40])


def _adapted(code: str, model: str, site: str) -> str:
    for quoted in (_MODEL, _EMBEDDER):
        code = code.replace(f'"{quoted}"', f'"{model}"')
    return code.replace(_ADDRESS, site)


def _with_texts(code: str, model: str, typed: Typed) -> str:
    """JSON's texts are texts of Python and JavaScript too. Documents with fields go as JSON texts where a client takes none."""
    plain = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in typed.documents]
    listed = "[\n" + "".join(f"    {json.dumps(one, ensure_ascii=False)},\n" for one in plain) + "]"
    values = {"query": json.dumps(typed.query, ensure_ascii=False), "documents": listed}
    for pattern, line in _TEXTS:
        made = line.format(**values)
        code = pattern.sub(lambda _, made=made: made, code)  # type: ignore[misc]
    body = json.dumps({"model": model, "query": typed.query, "documents": typed.documents}, ensure_ascii=False, indent=2)
    quoted = body.replace("'", "'\\''")
    return _CURL.sub(lambda _: f"--data '{quoted}'", code)
