"""Requests as products send them, recorded in recorded/, and answers read as those products read them.

A record holds the request line, the headers and the body, and names the reader (here) that its product has for the answer and
for a refusal. Where a product is silent about errors, its reader only looks at the status.
"""

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import asgi
from contract.conftest import KEY
from gigarank.service.app import create_app
from gigarank.service.fake import FakeBackend
from gigarank.service.settings import Settings

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))
Ranked = list[tuple[int, float]]


@dataclass(frozen=True)
class Record:
    name: str
    product: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any] | None
    reads: str
    refusal: str | None = None

    @property
    def texts(self) -> list[str]:
        assert self.body is not None
        nested = self.body.get("input", {})
        passages = [passage["text"] for passage in self.body.get("passages", [])]
        return self.body.get("documents") or self.body.get("texts") or nested.get("documents") or passages

    @property
    def query(self) -> str:
        assert self.body is not None
        query: Any = self.body.get("query") or self.body["input"]["query"]
        return str(query["text"] if isinstance(query, dict) else query)

    @property
    def asked_for(self) -> int:
        assert self.body is not None
        wanted = self.body.get("top_n") or self.body.get("top_k") or self.body.get("parameters", {}).get("top_n")
        return min(wanted or len(self.texts), len(self.texts))


def record_of(path: Path) -> Record:
    return Record(name=path.stem, **json.loads(path.read_text(encoding="utf-8")))


RECORDS = [record_of(path) for path in RECORDED]
REFUSED = [record for record in RECORDS if record.refusal is not None]


def answer(record: Record, body: Any, **headers: str) -> asgi.Reply:
    app = create_app(Settings(models=("fake",), api_keys=(KEY,)), FakeBackend())
    content = [] if body is None else [json.dumps(body).encode()]
    sent = {**record.headers, "content-length": str(sum(map(len, content))), **headers}
    return asyncio.run(asgi.visit(app, asgi.Visit(record.method, record.path, sent, content)))


def right(record: Record) -> Ranked:
    """By the fake backend's own rule, best first."""
    asked = set(record.query.lower().split())
    logits = [2.0 * len(asked.intersection(text.lower().split())) - 1.0 for text in record.texts]
    order = sorted(range(len(logits)), key=lambda index: -logits[index])
    return [(index, logits[index]) for index in order][: record.asked_for]


def equal(record: Record, got: Ranked, logits: bool = False) -> None:
    wanted = right(record)
    assert [index for index, _ in got] == [index for index, _ in wanted]
    for (_, score), (_, logit) in zip(got, wanted, strict=True):
        assert score == pytest.approx(logit if logits else 1 / (1 + math.exp(-logit)))


# --- answers, as each product reads them -------------------------------------------------------------------------------


def index_and_score(record: Record, said: Any) -> None:
    equal(record, [(result["index"], result["relevance_score"]) for result in said["results"]])


def scores_by_index(record: Record, said: Any) -> None:
    """It sorts by index, throws the indices away and pairs the scores with its documents."""
    scores = [result["relevance_score"] for result in sorted(said["results"], key=lambda result: result["index"])]
    assert len(scores) == len(record.texts)
    equal(record, sorted(enumerate(scores), key=lambda pair: -pair[1]))


def document_objects(record: Record, said: Any) -> None:
    index_and_score(record, said)
    assert [result["document"]["text"] for result in said["results"]] == [
        record.texts[result["index"]] for result in said["results"]
    ]


def voyage_data(record: Record, said: Any) -> None:
    equal(record, [(result["index"], result["relevance_score"]) for result in said["data"]])
    assert said["usage"]["total_tokens"] > 0


def voyage_strings(record: Record, said: Any) -> None:
    voyage_data(record, said)
    assert [result["document"] for result in said["data"]] == [record.texts[result["index"]] for result in said["data"]]


def tei_info(record: Record, said: Any) -> None:
    assert "reranker" in said["model_type"]
    assert said["max_input_length"] > 0
    assert said["max_client_batch_size"] > 0


def tei_scores(record: Record, said: Any) -> None:
    assert isinstance(said, list)
    equal(record, [(result["index"], result["score"]) for result in said])


def tei_texts(record: Record, said: Any) -> None:
    tei_scores(record, said)
    assert [result["text"] for result in said] == [record.texts[result["index"]] for result in said]


def model_object(record: Record, said: Any) -> None:
    assert said["id"] == "fake"


def dashscope_results(record: Record, said: Any) -> None:
    equal(record, [(result["index"], result["relevance_score"]) for result in said["output"]["results"]])
    assert said["usage"]["total_tokens"] > 0
    assert said["request_id"]


def dashscope_documents(record: Record, said: Any) -> None:
    dashscope_results(record, said)
    results = said["output"]["results"]
    assert [result["document"]["text"] for result in results] == [record.texts[result["index"]] for result in results]


def rankings(record: Record, said: Any) -> None:
    equal(record, [(ranking["index"], ranking["logit"]) for ranking in said["rankings"]], logits=True)


def openrouter_documents(record: Record, said: Any) -> None:
    document_objects(record, said)
    assert said["usage"]["search_units"] == 1
    assert said["id"]


def ragflow(record: Record, said: Any) -> None:
    """It fills an array by index and counts tokens; scores outside of [0, 1] it would stretch."""
    ranks = [0.0] * len(record.texts)
    for result in said["results"]:
        ranks[result["index"]] = result["relevance_score"]
    assert all(0.0 <= rank <= 1.0 for rank in ranks)
    assert (said.get("usage") or {}).get("total_tokens") or said["meta"]["tokens"]["input_tokens"]
    index_and_score(record, said)


def fastgpt(record: Record, said: Any) -> None:
    assert isinstance(said["results"], list)
    scores = [result["relevance_score"] for result in said["results"]]
    assert scores == sorted(scores, reverse=True)
    assert said["meta"]["tokens"]["input_tokens"] > 0
    assert said["id"]
    index_and_score(record, said)


def continue_data(record: Record, said: Any) -> None:
    """Its OpenAI adapter throws where `data` is no array; scores go back by index."""
    assert isinstance(said["data"], list)
    equal(record, [(result["index"], result["relevance_score"]) for result in said["data"]])


def vercel_cohere(record: Record, said: Any) -> None:
    assert isinstance(said.get("id"), str | None)
    assert isinstance(said["meta"], dict)
    index_and_score(record, said)


def vercel_togetherai(record: Record, said: Any) -> None:
    numbers = [said["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
    assert all(type(number) in (int, float) for number in numbers)
    assert isinstance(said["id"], str)
    index_and_score(record, said)


def vercel_voyage(record: Record, said: Any) -> None:
    assert isinstance(said["model"], str)
    voyage_data(record, said)


def every_index(record: Record, said: Any) -> None:
    """It writes scores into an array as long as the results, at their indices: a gap would end its process."""
    scores: list[float | None] = [None] * len(said["results"])
    for result in said["results"]:
        scores[result["index"]] = result["relevance_score"]
    assert None not in scores
    index_and_score(record, said)


def elasticsearch(record: Record, said: Any) -> None:
    """JSONPaths $.results[*].index, .relevance_score and .document.text."""
    document_objects(record, said)


READERS: dict[str, Callable[[Record, Any], None]] = {
    reader.__name__: reader
    for reader in (
        index_and_score,
        scores_by_index,
        document_objects,
        voyage_data,
        voyage_strings,
        tei_info,
        tei_scores,
        tei_texts,
        model_object,
        dashscope_results,
        dashscope_documents,
        rankings,
        openrouter_documents,
        ragflow,
        fastgpt,
        continue_data,
        vercel_cohere,
        vercel_togetherai,
        vercel_voyage,
        every_index,
        elasticsearch,
    )
}


def integer_code(status: int, said: Any) -> str:
    assert said["error"]["code"] == status
    return str(said["error"]["message"])


def tei_error(status: int, said: Any) -> str:
    assert isinstance(said["error_type"], str)
    return str(said["error"])


def dashscope_code(status: int, said: Any) -> str:
    assert said["code"]
    assert said["request_id"]
    return str(said["message"])


REFUSALS: dict[str, Callable[[int, Any], str]] = {
    "status": lambda status, said: json.dumps(said),
    "detail": lambda status, said: str(said["detail"]),
    "cohere_message": lambda status, said: str(said["message"]),
    "openai_error": lambda status, said: str(said["error"]["message"]),
    "integer_code": integer_code,
    "tei_error": tei_error,
    "dashscope_code": dashscope_code,
}
"""Where a product finds the text of an error; a KeyError here is one in the product."""


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_the_product_can_read_the_answer(record: Record) -> None:
    reply = answer(record, record.body)
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.headers["x-request-id"]
    READERS[record.reads](record, reply.json)


@pytest.mark.parametrize("record", REFUSED, ids=lambda record: record.name)
def test_the_product_can_read_why_it_was_refused(record: Record) -> None:
    assert record.refusal is not None
    reads = REFUSALS[record.refusal]
    reply = answer(
        record, record.body, authorization="Bearer gr-wrong", **({"x-api-key": ""} if "x-api-key" in record.headers else {})
    )
    assert reply.status == 401
    assert "key" in reads(401, reply.json)
    if record.body is not None and "model" in record.body:
        reply = answer(record, {**record.body, "model": "no-such-model"})
        assert reply.status == 404
        assert "no-such-model" in reads(404, reply.json)


def test_records_name_readers_that_exist_and_every_reader_is_used() -> None:
    assert {record.reads for record in RECORDS} == set(READERS)
    assert {record.refusal for record in REFUSED} == set(REFUSALS)


def test_every_product_is_there() -> None:
    products = " ".join(record.product for record in RECORDS)
    wanted = (
        "Open WebUI",
        "Dify",
        "RAGFlow",
        "FastGPT",
        "LightRAG",
        "Continue",
        "Vercel",
        "Weaviate",
        "Elasticsearch",
        "Milvus",
    )
    assert [name for name in wanted if name not in products] == []


@pytest.mark.parametrize("name", ["fireworks/fake", "fake", "nano", None, "default/not-specified"])
def test_names_that_clients_give_the_model(name: str | None) -> None:
    """litellm's Fireworks client prefixes every name; Infinity's and TEI's clients know none."""
    record = next(record for record in RECORDS if record.name == "fastgpt")
    assert record.body is not None
    assert answer(record, {**record.body, "model": name}).status == 200
