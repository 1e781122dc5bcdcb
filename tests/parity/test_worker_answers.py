"""What a worker embeds and answers beside its scores, against the engine and against transformers' log_softmax."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import tiny
from gigarank.engine import answers
from gigarank.engine.answers import log_probabilities
from gigarank.engine.embedder import Embedder
from gigarank.engine.loading import assemble
from gigarank.engine.numerics import choose_numerics
from gigarank.engine.reranker import Reranker
from gigarank.engine.work import Search, Work
from gigarank.engine.worker import QueueLimits, Urgency, Worker
from gigarank.errors import DeadlineExceeded, InvalidInput, NonFiniteScore
from gigarank.prompt import QWEN3_V1
from gigarank.types import EngineOptions

PATIENCE_S = 60.0
PROMPTS = [QWEN3_V1.render(None, "which planet is red?", document) for document in ("Mars", "Venus " * 30, "")]
TOLERANCE = {"fp32": 2e-5, "fp64": 1e-10}


def their_logprobs(name: str, dtype: str, ids: list[int]) -> torch.Tensor:
    model = tiny.reference(tiny.CONFIGS[name], tiny.tensors_of(name), dtype)
    with torch.no_grad():
        logits = model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1]
    return torch.log_softmax(logits, -1)


@pytest.fixture(scope="module")
def model() -> Reranker:
    return tiny.reranker("qwen3")


@pytest.fixture(scope="module")
def worker(model: Reranker) -> Iterator[Worker]:
    made = Worker(model, QueueLimits(max_batch_tokens=128))
    yield made
    made.close()


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    numerics = choose_numerics("cpu", "fp32")
    loaded = assemble("embedder", tiny.CONFIGS["qwen3"], tiny.tensors_of("qwen3"), EngineOptions(), numerics)
    return Embedder(loaded, tiny.qwen_text())


@pytest.fixture(scope="module")
def embedding(embedder: Embedder) -> Iterator[Worker]:
    made = Worker(embedder, QueueLimits(max_batch_tokens=64))
    yield made
    made.close()


@pytest.mark.parametrize("name", ["qwen3", "qwen3-untied"])
@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
def test_the_answer_words_have_transformers_log_probabilities(name: str, dtype: str) -> None:
    worker = Worker(tiny.reranker(name, dtype))
    found = worker.answer(PROMPTS).future.result(PATIENCE_S)
    worker.close()
    text = tiny.qwen_text()
    for prompt, answer in zip(PROMPTS, found, strict=True):
        ids = text.template(prompt)
        wanted = their_logprobs(name, dtype, ids)
        assert (answer.yes, answer.no, answer.prompt_tokens) == ("yes", "no", len(ids))
        assert answer.yes_logprob == pytest.approx(float(wanted[text.single("yes")]), abs=TOLERANCE[dtype])
        assert answer.no_logprob == pytest.approx(float(wanted[text.single("no")]), abs=TOLERANCE[dtype])


def test_their_difference_is_the_logit_that_score_gives(worker: Worker, model: Reranker) -> None:
    (answer,) = worker.answer(PROMPTS[:1]).future.result(PATIENCE_S)
    (score,) = model.score([("which planet is red?", "Mars")])
    assert answer.yes_logprob - answer.no_logprob == pytest.approx(score.logit, abs=1e-5)


def test_ids_answer_as_their_text_does_whatever_stands_beside_them(worker: Worker) -> None:
    ids = [tiny.qwen_text().template(prompt) for prompt in PROMPTS]
    assert ids[0][0] == tiny.qwen_text().single("<|im_start|>")
    together = worker.answer(PROMPTS).future.result(PATIENCE_S)
    assert worker.answer(ids).future.result(PATIENCE_S) == together
    assert [worker.answer([prompt]).future.result(PATIENCE_S)[0] for prompt in PROMPTS] == together


def test_the_heads_blocks_change_nothing(model: Reranker, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = torch.randn(2, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = dataclasses.replace(model.runner.decoder.weights, dtype=torch.float64)
    whole = torch.log_softmax(hidden @ weights.head.double().T, -1)[:, [5, 151_668]]
    for rows in (1_000, 8_192, 200_000):
        monkeypatch.setattr(answers, "_BLOCK_ROWS", rows)
        assert torch.allclose(torch.tensor(log_probabilities(weights, hidden, [5, 151_668])).double(), whole, atol=1e-6)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], r"prompts\[1\]: must not be empty"),
        ("", r"prompts\[1\]: must not be empty"),
        ([1] * 8_193, r"prompts\[1\]: must be at most 8192 tokens, not 8193"),
        ([1, 151_669], r"prompts\[1\]\[1\]: must be a token id from 0 to 151668, not 151669"),
        ([1, -1], r"prompts\[1\]\[1\]: must be a token id"),
        ([True], r"prompts\[1\]\[0\]: must be a token id"),
        ("a\ud800", r"prompts\[1\]: not valid Unicode"),
        (7, r"prompts\[1\]: must be a list"),
    ],
)
def test_prompts_that_cannot_be_read_are_named(worker: Worker, prompt: str | list[int], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        worker.answer(["a", prompt]).future.result(PATIENCE_S)


def test_answers_tell_how_long_they_took(worker: Worker) -> None:
    answers = worker.answer(["a", "b"]).future.result(PATIENCE_S)
    assert answers[0].timing == answers[1].timing
    assert answers[0].timing.inference_ms > 0


def test_answers_that_come_too_late_are_an_error(worker: Worker) -> None:
    with pytest.raises(DeadlineExceeded, match="deadline"):
        worker.answer(["a"], Urgency(deadline=0.0)).future.result(PATIENCE_S)


def test_a_broken_model_answers_no_numbers(model: Reranker) -> None:
    tensors = dict(tiny.tensors_of("qwen3").tensors)
    tensors["model.norm.weight"] = torch.full((64,), float("nan"))
    loaded = assemble(
        "x", tiny.CONFIGS["qwen3"], type(tiny.tensors_of("qwen3"))(tensors), EngineOptions(), choose_numerics("cpu", "fp32")
    )
    worker = Worker(Reranker(loaded, model.tokenizer))
    with pytest.raises(NonFiniteScore, match=r"prompts\[0\]"):
        worker.answer(["a"]).future.result(PATIENCE_S)
    worker.close()


@pytest.mark.parametrize("dimensions", [None, 16])
def test_a_worker_embeds_as_the_embedder_does(embedding: Worker, embedder: Embedder, dimensions: int | None) -> None:
    texts = ["mars", "venus is hot " * 12, "", "赤い惑星"] * 3
    documents = embedding.embed(texts, None, dimensions)
    queries = embedding.embed(texts, "Find planets", dimensions)
    default = embedding.embed(texts, "", dimensions)
    assert np.array_equal(documents.future.result(PATIENCE_S).vectors, embedder.embed(documents=texts, dimensions=dimensions))
    wanted = embedder.embed(texts, task="Find planets", dimensions=dimensions)
    assert np.array_equal(queries.future.result(PATIENCE_S).vectors, wanted)
    assert np.array_equal(default.future.result(PATIENCE_S).vectors, embedder.embed(texts, dimensions=dimensions))


def test_embeddings_tell_what_they_cost(embedding: Worker) -> None:
    found = embedding.embed(["mars", "", "red planet"]).future.result(PATIENCE_S)
    ids = tiny.qwen_text().plain(["mars", "", "red planet"], "texts")
    tokens = sum(map(len, ids))
    assert (found.usage.documents, found.usage.document_tokens, found.usage.total_tokens) == (3, tokens, tokens + 3)
    assert found.vectors.shape == (3, 64)
    assert embedding.embed([]).future.result(PATIENCE_S).vectors.shape == (0, 64)


def test_wrong_texts_and_sizes_are_refused(embedding: Worker) -> None:
    with pytest.raises(InvalidInput, match="dimensions: must be from 1 to 64, not 65"):
        embedding.embed(["a"], dimensions=65)
    with pytest.raises(InvalidInput, match="texts: must be a list, not str"):
        embedding.embed("mars")
    with pytest.raises(InvalidInput, match=r"texts\[1\]: not valid Unicode"):
        embedding.embed(["a", "\ud800"]).future.result(PATIENCE_S)
    with pytest.raises(DeadlineExceeded, match="deadline"):
        embedding.embed(["a"], urgency=Urgency(deadline=0.0)).future.result(PATIENCE_S)


def test_an_embedder_neither_scores_nor_answers(embedding: Worker) -> None:
    with pytest.raises(InvalidInput, match="an embedder, not a reranker"):
        embedding.score(Work((Search("q", ("a",)),)))
    with pytest.raises(InvalidInput, match="an embedder, not a reranker"):
        embedding.answer(["q"])
