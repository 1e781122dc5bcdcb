"""/v1/embeddings: encodings, queries and documents, refusals."""

import base64

import numpy as np
import pytest

from gigarank.errors import InvalidInput, RequestTooLarge
from gigarank.service.backend import Urgency
from gigarank.service.openai.embeddings import create_embeddings
from gigarank.service.settings import Settings
from openai_calls import Recording, answer_of, body_of


def test_texts_become_vectors_in_their_order() -> None:
    body = body_of(create_embeddings, {"input": ["one two", "three"], "model": "fake-embedder"})
    assert (body["object"], body["model"]) == ("list", "fake-embedder")
    assert [(row["object"], row["index"]) for row in body["data"]] == [("embedding", 0), ("embedding", 1)]
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3, "service_tier": "default"}
    alone = body_of(create_embeddings, {"input": "three"})["data"][0]["embedding"]
    assert body["data"][1]["embedding"] == alone != body["data"][0]["embedding"]
    assert np.linalg.norm(alone) == pytest.approx(1, abs=1e-6)


def test_base64_holds_the_same_numbers_as_little_endian_fp32() -> None:
    plain = body_of(create_embeddings, {"input": "one two", "dimensions": 5})["data"][0]["embedding"]
    packed = body_of(create_embeddings, {"input": "one two", "dimensions": 5, "encoding_format": "base64"})
    read = np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), dtype="<f4")
    assert read.tolist() == plain
    assert len(plain) == 5


def test_the_answer_counts_texts_and_tokens_for_the_log() -> None:
    answer = answer_of(create_embeddings, {"input": ["one two", "three"]})
    assert (answer.model, answer.documents, answer.tokens) == ("fake-embedder", 2, 3)


@pytest.mark.parametrize(
    ("said", "task"),
    [
        ({}, None),
        ({"input_type": "document"}, None),
        ({"input_type": "passage"}, None),
        ({"task": "retrieval.passage"}, None),
        ({"input_type": "query"}, ""),
        ({"input_type": "search_query"}, ""),
        ({"task": "retrieval.query"}, ""),
        ({"instruction": "Find duplicates"}, "Find duplicates"),
        ({"task": "Find duplicates"}, "Find duplicates"),
        ({"input_type": "query", "instruction": "Find duplicates"}, "Find duplicates"),
        ({"task": "retrieval.query", "instruction": "Find duplicates"}, "Find duplicates"),
        ({"task": "Find answers", "instruction": "Find duplicates"}, "Find duplicates"),
        ({"instruction": ""}, ""),
    ],
)
def test_what_is_a_query_and_of_what_task(said: dict[str, str], task: str | None) -> None:
    backend = Recording()
    body_of(create_embeddings, {"input": "a", **said}, backend)
    assert backend.tasks == [task]


def test_a_document_has_no_instruction() -> None:
    with pytest.raises(InvalidInput) as raised:
        body_of(create_embeddings, {"input": "a", "input_type": "document", "instruction": "Find duplicates"})
    assert raised.value.param == "instruction"


@pytest.mark.parametrize("ids", [[1, 2, 3], [[1, 2], [3]]])
def test_token_ids_are_refused_with_the_way_out(ids: object) -> None:
    with pytest.raises(InvalidInput, match="check_embedding_ctx_length=False") as raised:
        body_of(create_embeddings, {"input": ids})
    assert (raised.value.param, raised.value.status) == ("input", 400)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": {"text": "a"}}, "input"),
        ({"input": ["a", None]}, "input[1]"),
        ({"input": ["a", {"text": "b"}]}, "input[1]"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "encoding_format": 1}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": 1_025}, "dimensions"),
        ({"input": "a", "dimensions": 10**30}, "dimensions"),
        ({"input": "a", "dimensions": "8"}, "dimensions"),
        ({"input": "a", "dimensions": True}, "dimensions"),
        ({"input": "a", "dimensions": 1.5}, "dimensions"),
        ({"input": "a", "input_type": "image"}, "input_type"),
        ({"input": "a", "deadline_ms": -1}, "deadline_ms"),
        ({"input": "a", "deadline_ms": True}, "deadline_ms"),
        ({"input": "a", "deadline_ms": "5"}, "deadline_ms"),
        ({"input": "a", "priority": "high"}, "priority"),
        ([], "body"),
        ("a", "body"),
    ],
)
def test_a_wrong_field_is_named(body: object, param: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        body_of(create_embeddings, body)
    assert raised.value.param == param


def test_more_texts_than_a_request_may_hold() -> None:
    with pytest.raises(RequestTooLarge) as raised:
        body_of(create_embeddings, {"input": ["a"] * 4}, settings=Settings(max_documents=3))
    assert (raised.value.limit, raised.value.received) == (3, 4)
    assert len(body_of(create_embeddings, {"input": ["a"] * 3}, settings=Settings(max_documents=3))["data"]) == 3


def test_the_body_says_how_urgent_it_is() -> None:
    backend = Recording()
    body = {"input": "a", "service_tier": "flex", "priority": 3, "deadline_ms": 500}
    answered = body_of(create_embeddings, body, backend, received=100.0, urgency=Urgency(wait_s=2.0))
    assert answered["usage"]["service_tier"] == "batch"
    assert backend.urgencies == [Urgency(3, "batch", 100.5, 2.0)]


@pytest.mark.parametrize("headers", [1.0, 0.25, None])
def test_the_bodys_deadline_counts(headers: float | None) -> None:
    backend = Recording()
    deadline = None if headers is None else 100.0 + headers
    body_of(create_embeddings, {"input": "a", "deadline_ms": 500}, backend, received=100.0, urgency=Urgency(deadline=deadline))
    assert backend.urgencies[0].deadline == pytest.approx(100.5)


@pytest.mark.parametrize(
    ("tier", "counts"), [("auto", "default"), ("default", "default"), ("FLEX", "batch"), ("Batch", "batch"), (None, "batch")]
)
def test_the_bodys_tier_wins_over_the_headers(tier: str | None, counts: str) -> None:
    backend = Recording()
    body_of(create_embeddings, {"input": "a", "service_tier": tier}, backend, urgency=Urgency(tier="batch"))
    assert backend.urgencies[0].tier == counts
