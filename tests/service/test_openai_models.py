"""The list of models, one model, and which model a request means."""

import dataclasses

import pytest

from gigarank.errors import InvalidInput, UnknownModel
from gigarank.service.backend import ModelState
from gigarank.service.fake import FakeBackend
from gigarank.service.openai.chat import create_chat_completion
from gigarank.service.openai.embeddings import create_embeddings
from gigarank.service.openai.models import list_models, show_model
from gigarank.service.settings import Settings
from openai_calls import Recording, body_of

RERANKER, EMBEDDER = FakeBackend().models()
OFFICIAL = ModelState(
    "qwen3-reranker-4b",
    ("Qwen/Qwen3-Reranker-4B", "4b"),
    "reranker",
    "sleeping",
    32_768,
    1_764_000_000,
    "the official reranker in the middle",
    "Qwen/Qwen3-Reranker-4B",
    "bf16",
    "Given a web search query",
)


def chat(model: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}]}


def test_every_model_is_listed_with_its_limits() -> None:
    settings = Settings(max_documents=12, max_body_bytes=345)
    listed = body_of(list_models, {}, Recording((OFFICIAL, EMBEDDER)), settings=settings)
    assert listed["object"] == "list"
    official, embedder = listed["data"]
    assert (official["id"], official["object"], official["created"]) == ("qwen3-reranker-4b", "model", 1_764_000_000)
    assert (official["max_documents"], official["max_body_bytes"], official["context_length"]) == (12, 345, 32_768)
    assert (official["max_questions"], official["max_choices"], official["max_levels"]) == (400, 255, 10)
    assert (official["owned_by"], official["hugging_face_id"]) == ("Qwen", "Qwen/Qwen3-Reranker-4B")
    assert (official["instruction"], official["quantization"]) == ("Given a web search query", "bf16")
    assert official["aliases"] == ["Qwen/Qwen3-Reranker-4B", "4b"]
    assert "instruction" not in embedder and "max_questions" not in embedder


@pytest.mark.parametrize(("state", "ready"), [("ready", True), ("sleeping", False), ("loading", False), ("failed", False)])
def test_a_model_is_ready_only_when_it_is(state: str, ready: bool) -> None:
    asked = dataclasses.replace(OFFICIAL, state=state)  # type: ignore[arg-type]
    shown = body_of(show_model, {}, Recording((asked,)), parameters={"id": "4b"})
    assert (shown["state"], shown["is_ready"]) == (state, ready)


def test_a_failed_model_says_why() -> None:
    failed = dataclasses.replace(OFFICIAL, state="failed", failure="its self-test gave NaN")
    assert body_of(show_model, {}, Recording((failed,)), parameters={"id": "4b"})["failure"] == "its self-test gave NaN"
    assert "failure" not in body_of(show_model, {}, Recording((OFFICIAL,)), parameters={"id": "4b"})


@pytest.mark.parametrize("name", ["qwen3-reranker-4b", "Qwen/Qwen3-Reranker-4B", "4b", "qwen/qwen3-reranker-4b", "4B"])
def test_a_model_is_found_by_name_and_alias(name: str) -> None:
    assert body_of(show_model, {}, Recording((RERANKER, OFFICIAL)), parameters={"id": name})["id"] == "qwen3-reranker-4b"


def test_case_decides_between_names_that_differ_in_nothing_else() -> None:
    backend = Recording(
        (dataclasses.replace(OFFICIAL, name="a", aliases=()), dataclasses.replace(OFFICIAL, name="A", aliases=()))
    )
    assert body_of(show_model, {}, backend, parameters={"id": "A"})["id"] == "A"


def test_xinference_and_dify_find_what_they_read() -> None:
    shown = body_of(show_model, {}, parameters={"id": "fake"})
    assert (shown["model_uid"], shown["model_name"], shown["model_type"]) == ("fake", "fake", "rerank")
    assert shown["model_ability"] == ["rerank"]
    assert body_of(show_model, {}, parameters={"id": "fake-embedder"})["model_type"] == "embedding"


def test_an_unknown_name_gives_the_nearest_ones() -> None:
    with pytest.raises(UnknownModel) as raised:
        body_of(show_model, {}, Recording((RERANKER, OFFICIAL)), parameters={"id": "qwen3-reranker-4"})
    assert raised.value.status == 404
    assert "qwen3-reranker-4b" in raised.value.limit
    with pytest.raises(UnknownModel):
        body_of(create_chat_completion, chat("gpt-6-luna"))


@pytest.mark.parametrize("absent", [None, ""])
def test_an_absent_name_is_the_default(absent: object) -> None:
    backend = Recording((EMBEDDER, RERANKER, OFFICIAL))
    assert body_of(create_chat_completion, chat(absent), backend)["model"] == "fake"
    settings = Settings(default_model="4b")
    assert body_of(create_chat_completion, chat(absent), backend, settings=settings)["model"] == "qwen3-reranker-4b"
    settings = Settings(default_model="fake-embedder")
    assert body_of(create_chat_completion, chat(absent), backend, settings=settings)["model"] == "fake"


def test_a_model_of_the_other_kind_is_refused_and_the_fitting_ones_named() -> None:
    with pytest.raises(InvalidInput, match="kind embedder") as raised:
        body_of(create_chat_completion, chat("fake-embedder"))
    assert (raised.value.param, raised.value.limit) == ("model", "fake")
    with pytest.raises(InvalidInput) as raised:
        body_of(create_embeddings, {"model": "nano", "input": "a"})
    assert (raised.value.limit, raised.value.received) == ("fake-embedder", "fake")
    with pytest.raises(InvalidInput) as raised:
        body_of(create_embeddings, {"model": "fake", "input": "a"}, Recording((RERANKER,)))
    assert raised.value.limit == "embedder"


def test_a_server_without_embedders_says_so() -> None:
    with pytest.raises(UnknownModel, match="no model of kind embedder"):
        body_of(create_embeddings, {"input": "a"}, Recording((RERANKER,)))


def test_the_backend_gets_the_models_own_name() -> None:
    backend = Recording((RERANKER,))
    body_of(create_chat_completion, chat("NANO"), backend)
    assert backend.models_asked == ["fake"]


@pytest.mark.parametrize("wrong", [3, True, ["fake"], {}])
def test_a_name_is_a_string(wrong: object) -> None:
    with pytest.raises(InvalidInput, match="model: must be a string"):
        body_of(create_chat_completion, chat(wrong))
