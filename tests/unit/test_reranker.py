"""The library's reranker: order, fields, usage, windows, instructions, errors that name what was wrong, threads."""

import dataclasses
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import hosting
import tiny
from gigarank.bench.checkpoint import write_checkpoint
from gigarank.engine import request
from gigarank.engine.loading import assemble
from gigarank.engine.numerics import choose_numerics
from gigarank.engine.plan import Piece
from gigarank.engine.reranker import Reranker
from gigarank.engine.scoring import answer_logits
from gigarank.engine.tokenizer import PromptTokenizer
from gigarank.errors import CheckpointError, InvalidInput, NonFiniteScore, QueryTooLong, UnknownModel
from gigarank.model.weights import TensorDict
from gigarank.prompt import NANO_V1, QWEN3_V1
from gigarank.types import EngineOptions, Pair, Score, Usage, Window, Windows

QUERY = "Which planet is red?"
PREFIX_TOKENS = 39 + 21 + 7  # the system's, the instruction's, the query's with the document's label
DOCUMENTS = ["Mars is red.", "", "Venus " * 30, "火星", "Mars is red."]


@pytest.fixture(scope="module")
def model() -> Reranker:
    return tiny.reranker()


def saved(folder: Path) -> Path:
    """A checkpoint folder as users have it."""
    save_file(dict(tiny.tensors_of("qwen3").tensors), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(tiny.CONFIGS["qwen3"].to_json()))
    (folder / "tokenizer.json").write_text(tiny.qwen_json())
    return folder


SMALL = dataclasses.replace(hosting.SHAPE, max_position_embeddings=8_192)
"""Its vocabulary is read at once, where Qwen3's whole one takes seconds."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is not changed."""
    folder = tmp_path_factory.mktemp("small")
    write_checkpoint(folder, SMALL, QWEN3_V1)
    return folder


def test_a_ranking_is_best_first_and_complete(model: Reranker) -> None:
    ranking = model.rank(QUERY, DOCUMENTS)
    logits = [score.logit for score in ranking]
    assert logits == sorted(logits, reverse=True)
    assert sorted(score.index for score in ranking) == list(range(5))
    assert [score.index for score in ranking if score.index in (0, 4)] == [0, 4]  # equal logits: the request's order
    assert (ranking.query, ranking.model, len(ranking), ranking[0]) == (QUERY, "qwen3", 5, ranking.results[0])


def test_scores_come_in_the_order_of_the_pairs(model: Reranker) -> None:
    by_index = {score.index: score for score in model.rank(QUERY, DOCUMENTS)}
    assert model.score([(QUERY, document) for document in DOCUMENTS]) == [by_index[index] for index in range(5)]


def test_the_probability_is_the_sigmoid_of_the_logit(model: Reranker) -> None:
    for score in model.rank(QUERY, DOCUMENTS):
        assert score.relevance_score == pytest.approx(1 / (1 + math.exp(-score.logit)), abs=1e-12)


def test_top_n_cuts_the_result_only(model: Reranker) -> None:
    whole = model.rank(QUERY, DOCUMENTS)
    assert model.rank(QUERY, DOCUMENTS, top_n=2).results == whole.results[:2]
    assert model.rank(QUERY, DOCUMENTS, top_n=2).usage == whole.usage
    assert model.rank(QUERY, DOCUMENTS, top_n=50).results == whole.results
    assert model.rank(QUERY, DOCUMENTS, top_n=np.int64(2)).results == whole.results[:2]  # type: ignore[arg-type]


def test_no_documents_make_an_empty_ranking(model: Reranker) -> None:
    ranking = model.rank(QUERY, [])
    assert ranking.results == ()
    assert ranking.usage == Usage(0, 0, 0, 0)
    assert model.score([]) == []


def test_usage_counts_a_shared_prefix_once(model: Reranker) -> None:
    one, two = model.rank(QUERY, ["Mars is red."]).usage, model.rank(QUERY, ["Mars is red.", "Mars so red."]).usage
    assert (one.documents, two.documents) == (1, 2)
    assert one.prefix_tokens == two.prefix_tokens == PREFIX_TOKENS
    assert (one.document_tokens, two.document_tokens) == (4, 8)
    assert two.total_tokens == two.prefix_tokens + 8 + 2 * 9


def test_an_instruction_changes_the_score_and_a_pairs_own_one_goes_first(model: Reranker) -> None:
    default, other = (model.rank(QUERY, ["Mars"], instruction=text)[0].logit for text in (None, "Find cats"))
    assert default != other
    pairs = [Pair(QUERY, "Mars"), Pair(QUERY, "Mars", QWEN3_V1.default_instruction)]
    assert [score.logit for score in model.score(pairs, instruction="Find cats")] == [other, default]


def test_tokens_and_truncation_are_reported_per_document() -> None:
    short = tiny.reranker(options=EngineOptions(max_pair_tokens=90))
    cut, whole = short.score([(QUERY, "Venus " * 50), (QUERY, "Mars")])
    assert (cut.truncated, cut.tokens) == (True, 90 - 9 - PREFIX_TOKENS)
    assert (whole.truncated, whole.tokens) == (False, 1)


def test_windows_give_the_best_windows_score_and_say_which() -> None:
    room, overlap = 20, 5
    short = tiny.reranker(dtype="fp64", options=EngineOptions(max_pair_tokens=PREFIX_TOKENS + room + 9))
    document = " ".join(f"{word} planet" for word in ["mars", "venus", "red", "saturn", "neptune", "jupiter"]) * 5
    tokens = short.tokenizer
    (root,), (query,), (ids,) = tokens.roots([None]), tokens.queries([QUERY]), tokens.documents([document])
    starts = range(0, len(ids) - overlap, room - overlap)
    whole = [root + query + ids[start : start + room] + tokens.suffix_ids for start in starts]
    run = short.runner.run([Piece(len(prompt)) for prompt in whole], whole)
    alone = {
        piece: logit for pieces, hidden in run for piece, logit in zip(pieces, answer_logits(hidden, short.answer), strict=True)
    }
    best = max(alone, key=lambda place: alone[place])

    (score,) = short.score([(QUERY, document)], windows=Windows(overlap))
    assert len(alone) > 2
    assert score.logit == pytest.approx(alone[best], abs=1e-10)
    start, stop = starts[best], min(starts[best] + room, len(ids))
    assert score.window == Window(best, len(alone), start, stop)
    assert (score.tokens, score.truncated) == (stop - start, False)

    first = short.score([(QUERY, document)], windows=Windows(overlap, max_windows=1))[0]
    assert first.logit == pytest.approx(alone[0], abs=1e-10)
    assert first.truncated


def test_windows_leave_short_documents_as_they_are(model: Reranker) -> None:
    assert model.score([(QUERY, "Mars")], windows=Windows()) == model.score([(QUERY, "Mars")])


def test_progress_ends_at_the_number_of_documents() -> None:
    seen: list[tuple[int, int]] = []
    tiny.reranker(options=EngineOptions(max_batch_tokens=100)).rank(
        QUERY, DOCUMENTS, progress=lambda done, total: seen.append((done, total))
    )
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert seen[-1] == (5, 5)


@pytest.mark.parametrize(
    ("call", "message", "param"),
    [
        (lambda m: m.rank("", ["a"]), "query: must not be empty", "query"),
        (lambda m: m.rank(" \n", ["a"]), "query: must not be empty", "query"),
        (lambda m: m.rank(3, ["a"]), "query: must be a string, not int", "query"),
        (lambda m: m.rank("q", "a text"), "documents: must be a list, not str", "documents"),
        (lambda m: m.rank("q", None), "documents: must be a list, not NoneType", "documents"),
        (lambda m: m.rank("q", ["a", None]), r"documents\[1\]: must be a string, not NoneType", "documents[1]"),
        (lambda m: m.rank("q", ["a"], top_n=0), "top_n: must be at least 1, not 0", "top_n"),
        (lambda m: m.rank("q", ["a"], instruction=5), "instruction: must be a string, not int", "instruction"),
        (lambda m: m.rank("q\ud800", ["a"]), "query: not valid Unicode, a lone surrogate at character 1", "query"),
        (lambda m: m.rank("q", ["a"], instruction="\udfff"), "instruction: .* lone surrogate at character 0", "instruction"),
        (lambda m: m.rank("q", ["a"], top_n="3"), "top_n: must be a whole number, not str", "top_n"),
        (lambda m: m.rank("q", ["a"], top_n=True), "top_n: must be a whole number, not bool", "top_n"),
        (lambda m: m.rank("q", ["a"], windows=True), "windows: must be Windows, not bool", "windows"),
        (lambda m: m.score(None), "pairs: must be a list, not NoneType", "pairs"),
        (lambda m: m.score("qa"), "pairs: must be a list, not str", "pairs"),
        (
            lambda m: m.rank("q", ["a"], windows=Windows(1.5)),  # type: ignore[arg-type]
            "overlap_tokens: must be a whole number, not float",
            "windows.overlap_tokens",
        ),
        (lambda m: m.score([("q", "a", "b")]), r"pairs\[0\]: must be \(query, document\), not 3 values", "pairs[0]"),
        (lambda m: m.score(["qa"]), r"pairs\[0\]: must be a list, not str", "pairs[0]"),
        (
            lambda m: m.rank("q", ["a"], windows=Windows(-1)),
            "overlap_tokens: must be at least 0, not -1",
            "windows.overlap_tokens",
        ),
        (lambda m: m.rank("q", ["a"], windows=Windows(1, 0)), "max_windows: must be at least 1, not 0", "windows.max_windows"),
    ],
)
def test_bad_input_is_named(model: Reranker, call: Any, message: str, param: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        call(model)
    assert caught.value.param == param
    assert caught.value.status == 400


def test_a_query_without_room_for_a_document_says_the_numbers() -> None:
    short = tiny.reranker(options=EngineOptions(max_pair_tokens=80))
    with pytest.raises(QueryTooLong, match=r"take \d+ tokens, .* limit of 80 tokens"):
        short.rank("word " * 40, ["a"])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_weight_is_an_error_not_a_score(value: float) -> None:
    tensors = dict(tiny.tensors_of("qwen3").tensors)
    tensors["model.norm.weight"] = torch.full((64,), value)
    loaded = assemble("x", tiny.CONFIGS["qwen3"], TensorDict(tensors), EngineOptions(), choose_numerics("cpu", "fp32"))
    broken = Reranker(loaded, PromptTokenizer(tiny.qwen_text(), QWEN3_V1, 8_192))
    with pytest.raises(NonFiniteScore, match=r"documents\[0\]: the model's score is"):
        broken.rank(QUERY, ["Mars"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EngineOptions(max_pair_tokens=8_193), "max_pair_tokens: must be at most 8192, not 8193"),
        (EngineOptions(max_pair_tokens=0), "max_pair_tokens: must be at least 1, not 0"),
        (EngineOptions(max_batch_tokens=0), "max_batch_tokens: must be at least 1, not 0"),
        (EngineOptions(max_batch_tokens="9"), "max_batch_tokens: must be a whole number, not str"),  # type: ignore[arg-type]
        (EngineOptions(max_pair_tokens=99.5), "max_pair_tokens: must be a whole number, not float"),  # type: ignore[arg-type]
        ({"max_pair_tokens": 99}, "options: must be EngineOptions, not dict"),
        (EngineOptions(max_kept_tokens=-1), "max_kept_tokens: must be at least 0, not -1"),
        (EngineOptions(prompt="qwen4"), "prompt: unknown format 'qwen4'"),
    ],
)
def test_limits_out_of_range_are_refused(small: Path, options: EngineOptions, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Reranker.load(small, options=options)


def test_a_folder_loads_with_its_name_and_the_canonical_prompt(tmp_path: Path, model: Reranker) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    loaded = Reranker.load(saved(folder), dtype="fp32", device="cpu")
    assert (loaded.name, loaded.prompt, loaded.max_pair_tokens) == ("my-model", QWEN3_V1, 8_192)
    assert loaded.rank(QUERY, DOCUMENTS).results == model.rank(QUERY, DOCUMENTS).results
    assert all(isinstance(score, Score) for score in loaded.rank(QUERY, DOCUMENTS))


def test_a_folders_own_prompt_format_is_used_unless_another_is_asked_for(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, SMALL, NANO_V1)
    assert Reranker.load(tmp_path).prompt == NANO_V1
    assert Reranker.load(tmp_path, options=EngineOptions(prompt="qwen3-v1")).prompt == QWEN3_V1


def test_an_embedders_folder_is_refused(tmp_path: Path) -> None:
    (saved(tmp_path) / "1_Pooling").mkdir()
    with pytest.raises(InvalidInput, match=r"is an embedder, its folder says \(1_Pooling\).*Embedder\.load"):
        Reranker.load(tmp_path)


def test_more_documents_than_are_encoded_at_once_keep_their_places(monkeypatch: pytest.MonkeyPatch, model: Reranker) -> None:
    texts = [f"{word} {number}" for number in range(4) for word in ("mars", "venus", "red")]
    wanted = model.score([(QUERY, text) for text in texts])
    monkeypatch.setattr(request, "_PORTION_CHARACTERS", 20)
    assert model.score([(QUERY, text) for text in texts]) == wanted


def test_what_cannot_be_loaded_is_named(tmp_path: Path, small: Path) -> None:
    with pytest.raises(UnknownModel, match="nearest: nano"):
        Reranker.load("nanoo")
    with pytest.raises(InvalidInput, match="model: must be a name or a path, not int"):
        Reranker.load(3)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="dtype: 'int4' is not one of auto, fp32"):
        Reranker.load(small, dtype="int4")
    write_checkpoint(tmp_path, SMALL, QWEN3_V1)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match=r"config\.json: must hold an object, not a list"):
        Reranker.load(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        Reranker.load(tmp_path)


def test_threads_get_the_scores_that_they_would_get_alone(model: Reranker) -> None:
    queries = [f"query number {index}" for index in range(12)]
    alone = [model.rank(query, DOCUMENTS).results for query in queries]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda query: model.rank(query, DOCUMENTS).results, queries)) == alone


def test_results_are_frozen(model: Reranker) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.rank(QUERY, ["a"])[0].logit = 1.0  # type: ignore[misc]


def test_equal_pairs_are_computed_once_and_answered_each(model: Reranker) -> None:
    documents = ["mars", "venus", "mars", "", "mars", ""]
    encoded = request.encode([Pair(QUERY, text) for text in documents], model.tokenizer, request.Reads())
    assert len(encoded.readings) == 3
    assert encoded.copies == {0: [2, 4], 3: [5]}
    ranking = model.rank(QUERY, documents)
    found = {score.index: score.logit for score in ranking}
    assert sorted(found) == list(range(6))
    assert [found[index] for index in range(6)] == [model.score([(QUERY, text)])[0].logit for text in documents]
    assert ranking.usage == dataclasses.replace(model.rank(QUERY, ["mars", "venus", ""]).usage, documents=6)


def test_the_same_document_of_another_query_or_instruction_is_another_pair(model: Reranker) -> None:
    pairs = [Pair("a", "x"), Pair("b", "x"), Pair("a", "x", "Find code"), Pair("a", "x")]
    logits = [score.logit for score in model.score(pairs)]
    assert len(set(logits)) == 3
    assert logits == [model.score([pair])[0].logit for pair in pairs]


def test_windows_of_equal_documents_are_read_once() -> None:
    short = tiny.reranker(options=EngineOptions(max_pair_tokens=120))
    scores = short.score([(QUERY, "venus mars " * 60)] * 2, windows=Windows(overlap_tokens=4))
    assert scores[0].window is not None
    assert dataclasses.replace(scores[1], index=0) == scores[0]
