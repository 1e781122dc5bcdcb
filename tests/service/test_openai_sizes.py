"""How much OpenAI's endpoints take, told before it is read, and that their answers say how long they took."""

import json
import logging
from typing import Any

import pytest

from asgi import ask, getting, posting
from gigarank.errors import RequestTooLarge
from gigarank.service.app import create_app
from gigarank.service.call import Endpoint
from gigarank.service.fake import FakeBackend
from gigarank.service.openai.chat import create_chat_completion
from gigarank.service.openai.completions import create_completion
from gigarank.service.openai.decisions import create_decision
from gigarank.service.openai.embeddings import create_embeddings
from gigarank.service.settings import Settings
from openai_calls import answer_of, body_of

CHOICES = [{"value": "a"}, {"value": "b"}]
MESSAGES = [{"role": "user", "content": "a"}]
PREDICATE = {"type": "predicate", "instructions": "is it?"}


class Untouched(list[Any]):
    """A list of texts of a known length that nobody may go through."""

    def __iter__(self) -> Any:
        raise AssertionError("it was read")


def refused(endpoint: Endpoint, body: Any, **settings: int) -> RequestTooLarge:
    with pytest.raises(RequestTooLarge) as caught:
        body_of(endpoint, body, settings=Settings(**settings))  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(("endpoint", "name"), [(create_embeddings, "input"), (create_completion, "prompt")])
def test_texts_are_counted_before_they_are_read(endpoint: Endpoint, name: str) -> None:
    told = refused(endpoint, {name: Untouched(["a"] * 4)}, max_documents=3)
    assert (told.param, told.limit, told.received) == (name, 3, 4)


@pytest.mark.parametrize("prompt", [Untouched([1] * 21), [[1] * 11, [1] * 10]])
def test_token_ids_are_counted_before_they_are_checked(prompt: list[Any]) -> None:
    told = refused(create_completion, {"prompt": prompt}, max_waiting_tokens=20)
    assert (told.param, told.limit, told.received) == ("prompt", 20, 21)


def test_options_that_repeat_a_long_question_are_refused_before_they_are_written() -> None:
    question = {"type": "choice", "instructions": "x" * 100, "choices": CHOICES}
    told = refused(create_decision, {"input": "a", "questions": [question] * 4}, max_waiting_tokens=100)
    assert (told.param, told.limit, told.received) == ("questions", 800, 808)
    assert body_of(create_decision, {"input": "a", "questions": [question] * 3}, settings=Settings(max_waiting_tokens=100))
    told = refused(create_decision, {"input": "a", "questions": [question, PREDICATE]}, max_documents=2)
    assert (told.limit, told.received) == (2, 3)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (create_embeddings, {"input": "a"}),
        (create_completion, {"prompt": "a"}),
        (create_chat_completion, {"messages": MESSAGES}),
        (create_decision, {"input": "a", "questions": [PREDICATE]}),
    ],
)
def test_answers_say_how_long_they_took(endpoint: Endpoint, body: Any) -> None:
    assert answer_of(endpoint, body, FakeBackend(delay_s=0.002)).timing.inference_ms == 2.0


def test_headers_say_it_too() -> None:
    app = create_app(Settings(), FakeBackend(delay_s=0.002))
    for path, body in (("/v1/embeddings", {"input": "a"}), ("/v1/chat/completions", {"messages": MESSAGES})):
        assert ask(app, posting(body, path)).headers["x-gigarank-inference-ms"] == "2.000"


def test_an_error_in_a_claimed_dialect_is_logged_as_one(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(Settings(), FakeBackend())
    with caplog.at_level(logging.INFO):
        reply = ask(app, posting({"query": " ", "texts": ["a"]}, "/rerank"))
    assert (reply.status, reply.json["error_type"]) == (400, "Validation")
    fields = [vars(record) for record in caplog.records if record.name.startswith("gigarank")]
    assert any("invalid_input" in json.dumps(field, default=str) for field in fields)


def test_info_names_the_real_limit_of_waiting_requests() -> None:
    app = create_app(Settings(max_waiting_requests=7), FakeBackend())
    assert ask(app, getting("/info")).json["max_concurrent_requests"] == 7
