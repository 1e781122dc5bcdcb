"""Whoever asked is told what a request costs before it is computed, exactly, and may say no."""

import threading
from collections.abc import Callable, Iterator

import pytest

import tiny
from gigarank.engine.embedder import Embedder
from gigarank.engine.loading import assemble
from gigarank.engine.numerics import choose_numerics
from gigarank.engine.reranker import Reranker
from gigarank.engine.work import Prompt, Result, Search, Turns, Work
from gigarank.engine.worker import Ticket, Worker
from gigarank.errors import InsufficientCredit, InvalidInput, QueryTooLong
from gigarank.types import EngineOptions, Usage, Windows

PATIENCE_S = 60.0
DOCUMENTS = ("mars is red", "venus", "a planet with rings and moons")


@pytest.fixture(scope="module")
def model() -> Reranker:
    return tiny.reranker("qwen3")


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    loaded = assemble(
        "embedder", tiny.CONFIGS["qwen3"], tiny.tensors_of("qwen3"), EngineOptions(), choose_numerics("cpu", "fp32")
    )
    return Embedder(loaded, tiny.qwen_text())


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def make(model: Reranker | Embedder) -> Worker:
        workers.append(Worker(model))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close(drain=False)


class Asked:
    """Keeps what it was told, and where; says no where told to."""

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses
        self.told: list[Usage] = []
        self.threads: list[str] = []

    def __call__(self, usage: Usage) -> None:
        self.told.append(usage)
        self.threads.append(threading.current_thread().name)
        if self.refuses:
            raise InsufficientCredit("no credit")


def result(ticket: Ticket[Result]) -> Result:
    return ticket.future.result(PATIENCE_S)


@pytest.mark.parametrize(
    "work",
    [
        Work((Search("red planet", DOCUMENTS),)),
        Work((Search("red planet", DOCUMENTS), Search("red planet", DOCUMENTS[:1]), Search("rings", DOCUMENTS[1:], "Find it"))),
        Work((Search("red planet", DOCUMENTS),), max_document_tokens=2),
        Work((Search("red planet", ("word " * 60,)),), max_query_tokens=1),
    ],
    ids=["one search", "several", "cut documents", "cut query"],
)
def test_what_is_told_is_what_it_costs(model: Reranker, start: Callable[..., Worker], work: Work) -> None:
    asked = Asked()
    found = result(start(model).score(Work(**{**{name: getattr(work, name) for name in Work.__slots__}, "admit": asked})))
    assert asked.told == [found.usage]
    assert found.usage.total_tokens > 0


def test_windows_are_told_each_for_its_own_tokens(model: Reranker, start: Callable[..., Worker]) -> None:
    asked = Asked()
    work = Work((Search("red", ("word " * 400,)),), windows=Windows(overlap_tokens=8), admit=asked)
    found = result(start(model).score(work))
    assert asked.told == [found.usage]
    assert found.usage.documents == 1


def test_a_document_that_cannot_be_read_is_not_told(model: Reranker, start: Callable[..., Worker]) -> None:
    asked = Asked()
    found = result(start(model).score(Work((Search("red", ("fine", "\ud800")),), admit=asked)))
    assert asked.told == [found.usage]
    assert found.usage.documents == 1
    nothing = Asked()
    result(start(model).score(Work((Search("red", ("\ud800",)),), admit=nothing)))
    assert nothing.told == []


def test_a_no_ends_the_request_and_nothing_is_computed(model: Reranker, start: Callable[..., Worker]) -> None:
    worker, asked = start(model), Asked(refuses=True)
    with pytest.raises(InsufficientCredit):
        result(worker.score(Work((Search("red planet", DOCUMENTS),), admit=asked)))
    assert worker.counters().batches == 0
    assert worker.queue().requests == 0
    assert len(result(worker.score(Work((Search("red planet", DOCUMENTS),)))).outcomes[0]) == 3


def test_a_request_that_is_wrong_asks_nobody(model: Reranker, start: Callable[..., Worker]) -> None:
    asked = Asked()
    with pytest.raises(InvalidInput):
        result(start(model).score(Work((Search(" ", DOCUMENTS),), admit=asked)))
    with pytest.raises(QueryTooLong):
        result(start(model).score(Work((Search("word " * 40_000, DOCUMENTS),), admit=asked)))
    assert asked.told == []


def test_it_is_asked_beside_the_model_s_thread(model: Reranker, start: Callable[..., Worker]) -> None:
    asked = Asked()
    result(start(model).score(Work((Search("red", DOCUMENTS),), admit=asked)))
    assert asked.threads[0].startswith("gigarank-tokenize")


def test_embeddings_are_told_too(embedder: Embedder, start: Callable[..., Worker]) -> None:
    asked = Asked()
    worker = start(embedder)
    found = worker.embed(DOCUMENTS, admit=asked).future.result(PATIENCE_S)
    assert asked.told == [found.usage]
    with pytest.raises(InsufficientCredit):
        worker.embed(DOCUMENTS, admit=Asked(refuses=True)).future.result(PATIENCE_S)


def test_prompts_are_told_too(model: Reranker, start: Callable[..., Worker]) -> None:
    asked = Asked()
    worker = start(model)
    prompts: list[Prompt] = ["is mars red?", [1, 2, 3], Turns((("is venus red?", False),))]
    answers = worker.answer(prompts, admit=asked).future.result(PATIENCE_S)
    tokens = sum(answer.prompt_tokens for answer in answers)
    assert asked.told == [Usage(3, 0, tokens, tokens)]
    with pytest.raises(InsufficientCredit):
        worker.answer(prompts, admit=Asked(refuses=True)).future.result(PATIENCE_S)
