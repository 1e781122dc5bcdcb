"""Which model a name means: the same for every endpoint, whatever its case, and a default that is offered."""

from typing import Any

import pytest

from gigarank.errors import InvalidInput, UnknownModel
from gigarank.service.backend import ModelState
from gigarank.service.offered import default_model, find_model
from gigarank.service.openai.chat import create_chat_completion
from gigarank.service.openai.embeddings import create_embeddings
from gigarank.service.settings import Settings
from openai_calls import body_of as openai_body
from rerank_calls import ASKED, answer_of, body_of

STATES = (
    ModelState("Nano", ("tiny",), "reranker", "ready", 512, 0),
    ModelState("nano", (), "reranker", "ready", 512, 0),
    ModelState("Vectors", ("qwen/embed",), "embedder", "ready", 512, 0),
    ModelState("fireworks/own", (), "reranker", "ready", 512, 0),
)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Nano", "Nano"),
        ("nano", "nano"),
        ("NANO", "Nano"),
        ("TINY", "Nano"),
        ("fireworks/nano", "nano"),
        ("Fireworks/Tiny", "Nano"),
        ("QWEN/Embed", "Vectors"),
        ("fireworks/own", "fireworks/own"),
        ("fireworks/", None),
        ("nano ", None),
        ("", None),
    ],
)
def test_a_name(name: str, found: str | None) -> None:
    state = find_model(STATES, name)
    assert (state and state.name) == found


def test_the_default_is_the_servers_where_it_fits_and_else_the_first() -> None:
    assert default_model(STATES, "tiny", "reranker").name == "Nano"
    assert default_model(STATES, "FIREWORKS/OWN", "reranker").name == "fireworks/own"
    assert default_model(STATES, "tiny", "embedder").name == "Vectors"
    assert default_model(STATES, "", "reranker").name == "Nano"
    with pytest.raises(UnknownModel, match="kind embedder"):
        default_model(STATES[:2], "", "embedder")


MESSAGES = [{"role": "user", "content": "a"}]


@pytest.mark.parametrize("name", ["FAKE", "fireworks/fake", "Qwen3-Reranker-0.6B"])
def test_all_endpoints_agree(name: str) -> None:
    assert body_of({**ASKED, "model": name})["model"] == "fake"
    assert openai_body(create_chat_completion, {"messages": MESSAGES, "model": name})["model"] == "fake"


def test_a_default_that_is_not_offered_is_an_error_everywhere() -> None:
    settings = Settings(default_model="gone")
    chat: Any = {"messages": MESSAGES}
    for act in (
        lambda: answer_of(ASKED, settings=settings),
        lambda: openai_body(create_chat_completion, chat, settings=settings),
        lambda: openai_body(create_embeddings, {"input": "a"}, settings=settings),
    ):
        with pytest.raises(UnknownModel, match="'gone'") as caught:
            act()
        assert caught.value.param == "default_model"


def test_an_embedder_as_the_default_leaves_the_first_reranker_to_rank() -> None:
    settings = Settings(default_model="fake-embedder")
    assert body_of(ASKED, settings=settings)["model"] == "fake"
    with pytest.raises(InvalidInput, match="not a reranker"):
        answer_of({**ASKED, "model": "fake-embedder"})
