"""Kept scores: they are the very scores that computing gives, of nothing else, at most so many, from any thread."""

import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny
from gigarank.bench.checkpoint import write_checkpoint
from gigarank.catalogue import Shape
from gigarank.engine import selftest
from gigarank.engine.batch import Part
from gigarank.engine.plan import Piece
from gigarank.engine.reranker import Reranker
from gigarank.engine.runner import Runner
from gigarank.engine.score_cache import KeptScores, ScoreCache
from gigarank.engine.work import Failure, Result, Search, Work
from gigarank.engine.worker import Worker
from gigarank.errors import InvalidInput, NonFiniteScore
from gigarank.prompt import NANO_V1, QWEN3_V1
from gigarank.types import EngineOptions, Pair, Score, Usage, Windows

QUERY = "Which planet is red?"
DOCUMENTS = ["Mars is red.", "", "Venus " * 30, "火星", "Mars is red.", "a cake"]
LONG = " ".join(f"{word} planet {number}" for number in range(25) for word in ("mars", "venus", "red"))
PATIENCE_S = 60.0


class Counting(Runner):
    """The model's own runner; `tokens` were computed."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner.decoder, runner.limits)
        self.tokens = 0

    def compute(self, parts: Sequence[Part], pause: Callable[[], None] | None = None) -> list[Tensor]:
        self.tokens += sum(part.pieces[index].length for part in parts for index in part.batch.pieces)
        return super().compute(parts, pause)


def keeping(cache: ScoreCache | None = None, **fields: Any) -> tuple[Reranker, Counting]:
    model = tiny.reranker(**fields)
    model.runner = counting = Counting(model.runner)
    model.keep_scores(ScoreCache(1_000) if cache is None else cache)  # an empty one is false
    return model, counting


def counts(model: Reranker) -> tuple[int, int]:
    assert model.kept_scores is not None
    return model.kept_scores.hits, model.kept_scores.misses


class TestTheCache:
    def test_gives_what_was_kept_and_nothing_else(self) -> None:
        cache = ScoreCache(10)
        cache.keep([(b"a", 0.1), (b"b", -0.0)])
        assert cache.find([b"b", b"c", b"a"]) == [0.0, None, 0.1]
        assert len(cache) == 2

    def test_never_holds_more_than_its_limit_and_drops_the_least_recently_asked(self) -> None:
        cache = ScoreCache(3)
        cache.keep([(b"a", 1.0), (b"b", 2.0), (b"c", 3.0)])
        cache.find([b"a"])
        cache.keep([(b"d", 4.0)])
        assert cache.find([b"a", b"b", b"c", b"d"]) == [1.0, None, 3.0, 4.0]
        cache.keep([(b"a", 1.0)])  # kept again: the newest
        cache.keep([(b"e", 5.0), (b"f", 6.0)])
        assert cache.find([b"a", b"c", b"d", b"e", b"f"]) == [1.0, None, None, 5.0, 6.0]
        assert len(cache) == cache.max_scores == 3

    @pytest.mark.parametrize("limit", [0, -3])
    def test_a_limit_that_keeps_nothing_is_refused(self, limit: int) -> None:
        with pytest.raises(InvalidInput, match=rf"score_cache: must be at least 1, not {limit}") as caught:
            ScoreCache(limit)
        assert (caught.value.param, caught.value.limit, caught.value.received) == ("score_cache", 1, limit)

    @pytest.mark.parametrize("limit", [2.5, "10", True])
    def test_a_limit_that_is_no_number_is_refused(self, limit: Any) -> None:
        with pytest.raises(InvalidInput, match="score_cache: must be a whole number"):
            ScoreCache(limit)

    def test_a_score_takes_less_memory_than_the_docs_say(self) -> None:
        count = 20_000
        tracemalloc.start()
        cache = ScoreCache(count)
        cache.keep((number.to_bytes(32, "little"), number / 3) for number in range(2 * count))
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(cache) == count
        assert taken <= 250 * count

    def test_threads_share_it(self) -> None:
        usual = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)  # so that threads meet inside
        try:
            self.share()
        finally:
            sys.setswitchinterval(usual)

    def share(self) -> None:
        cache = ScoreCache(100)
        keys = [number.to_bytes(4, "little") for number in range(150)]

        def use(start: int) -> bool:
            own = keys[start:] + keys[:start]
            for _ in range(30):
                cache.keep([(key, float(keys.index(key))) for key in own[:20]])
                found = dict(zip(own, cache.find(own), strict=True))
                if any(logit not in (None, float(keys.index(key))) for key, logit in found.items()) or len(cache) > 100:
                    return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(use, range(0, 150, 10)))


class TestKeys:
    PIECES: Sequence[Piece] = (Piece(2, None, False), Piece(1, 0, False), Piece(2, 1), Piece(2, 1), Piece(2, 0))

    def keys(self, *ids: list[int], identity: str = "a", pieces: Sequence[Piece] = PIECES) -> list[bytes]:
        return KeptScores(ScoreCache(1), identity).keys(pieces, ids)

    def test_the_same_tokens_of_the_same_model_have_the_same_key(self) -> None:
        first = self.keys([1, 2], [3], [4, 5], [6, 7], [4, 5])
        assert first == self.keys([1, 2], [3], [4, 5], [6, 7], [4, 5])
        assert len(set(first)) == 5  # the last has the third's tokens behind another context

    def test_another_model_context_or_cut_has_another(self) -> None:
        (_, _, kept, _, _) = self.keys([1, 2], [3], [4, 5], [6, 7], [4, 5])
        others = [
            self.keys([1, 2], [3], [4, 5], [6, 7], [4, 5], identity="b")[2],
            self.keys([1, 9], [3], [4, 5], [6, 7], [4, 5])[2],
            self.keys([1, 2], [9], [4, 5], [6, 7], [4, 5])[2],
            self.keys([1, 2], [3], [4, 9], [6, 7], [4, 5])[2],
            self.keys([1, 2, 3], [4, 5], pieces=(Piece(3, None, False), Piece(2, 0)))[1],
        ]
        assert kept not in others
        assert len(set(others)) == len(others)

    def test_they_hold_nothing_that_can_be_read(self) -> None:
        model, _ = keeping()
        model.score([(QUERY, "swordfish")])
        assert model.kept_scores is not None
        kept = list(model.kept_scores.cache._logits)
        assert [len(key) for key in kept] == [32]
        assert not any(b"sword" in key for key in kept)


class TestTheLibrary:
    @pytest.mark.parametrize("dtype", ["fp32", "int8"])
    def test_what_is_kept_is_bitwise_what_is_computed(self, dtype: str) -> None:
        model, counting = keeping(dtype=dtype)
        expected = tiny.reranker(dtype=dtype).rank(QUERY, DOCUMENTS)
        first = model.rank(QUERY, DOCUMENTS)
        spent = counting.tokens
        second = model.rank(QUERY, DOCUMENTS)
        assert first == second == expected  # logits, tokens, order and usage
        assert counting.tokens == spent > 0
        assert counts(model) == (5, 5)  # equal documents of a request are looked for once

    def test_what_is_missing_is_computed_beside_what_is_kept(self) -> None:
        model, counting = keeping()
        model.score([(QUERY, "Venus " * 30), (QUERY, "火星")])
        spent = counting.tokens
        assert model.rank(QUERY, DOCUMENTS) == tiny.reranker().rank(QUERY, DOCUMENTS)
        whole, alone = keeping(), keeping()
        whole[0].rank(QUERY, DOCUMENTS)
        alone[0].rank(QUERY, [text for text in DOCUMENTS if text not in ("Venus " * 30, "火星")])
        assert counting.tokens - spent == alone[1].tokens < whole[1].tokens
        assert counts(model) == (2, 5)

    def test_windows_are_kept_one_by_one(self) -> None:
        model, counting = keeping(options=EngineOptions(max_pair_tokens=120))
        without = tiny.reranker(options=EngineOptions(max_pair_tokens=120))
        two, all_of_it = Windows(4, max_windows=2), Windows(4)
        assert model.score([(QUERY, LONG)], windows=two) == without.score([(QUERY, LONG)], windows=two)
        assert counts(model) == (0, 2)
        expected = without.score([(QUERY, LONG)], windows=all_of_it)
        assert model.score([(QUERY, LONG)], windows=all_of_it) == expected
        assert expected[0].window is not None
        assert counts(model) == (2, expected[0].window.count)
        spent = counting.tokens
        assert model.score([(QUERY, LONG)], windows=all_of_it) == expected
        assert counting.tokens == spent

    def test_another_query_instruction_or_document_is_computed(self) -> None:
        model, _ = keeping()
        model.score([(QUERY, "Mars")])
        asked = [Pair(QUERY, "Mars", "Find cats"), Pair("Which?", "Mars"), Pair(QUERY, "Mars "), Pair(QUERY, "mars")]
        assert model.score(asked) == tiny.reranker().score(asked)
        assert counts(model) == (0, 5)

    def test_the_default_instruction_is_the_same_named_or_not(self) -> None:
        model, _ = keeping()
        assert model.score([Pair(QUERY, "Mars")]) == model.score([Pair(QUERY, "Mars", QWEN3_V1.default_instruction)])
        assert counts(model) == (1, 1)

    def test_models_that_share_a_cache_do_not_share_scores(self) -> None:
        cache = ScoreCache(1_000)
        models = [keeping(cache), keeping(cache), keeping(cache, dtype="fp64"), keeping(cache, prompt=NANO_V1)]
        for model, _ in models:
            model.rank(QUERY, DOCUMENTS)
            assert counts(model) == (0, 5)
        assert len(cache) == 20

    def test_a_bound_that_is_too_small_costs_nothing_but_time(self) -> None:
        model, _ = keeping(ScoreCache(2))
        for _ in range(2):
            assert model.rank(QUERY, DOCUMENTS) == tiny.reranker().rank(QUERY, DOCUMENTS)
        assert model.kept_scores is not None
        assert len(model.kept_scores.cache) == 2

    def test_a_score_that_is_no_number_is_not_kept(self) -> None:
        model, _ = keeping()
        model.answer = torch.full_like(model.answer, float("nan"))
        for _ in range(2):
            with pytest.raises(NonFiniteScore):
                model.rank(QUERY, DOCUMENTS)
        assert counts(model)[0] == 0

    def test_progress_begins_with_what_is_kept(self) -> None:
        model, _ = keeping()
        seen: list[tuple[int, int]] = []
        model.rank(QUERY, DOCUMENTS[:3])
        model.rank(QUERY, [*DOCUMENTS[:3], "more"], progress=lambda done, total: seen.append((done, total)))
        model.rank(QUERY, DOCUMENTS[:3], progress=lambda done, total: seen.append((done, total)))
        assert seen == [(3, 4), (4, 4), (3, 3)]

    def test_threads_get_the_scores_of_one(self) -> None:
        model, _ = keeping(ScoreCache(12))
        asked = [[f"{word} {number}" for word in ("mars", "venus", "red")] for number in range(8)]
        expected = [tiny.reranker().rank(QUERY, documents) for documents in asked]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda documents: model.rank(QUERY, documents), asked * 4))
        assert found == expected * 4
        assert sum(counts(model)) == 3 * 8 * 4

    def test_the_self_test_computes(self) -> None:
        model, counting = keeping()
        selftest.run(model)
        spent = counting.tokens
        selftest.run(model)
        assert counting.tokens == 2 * spent > 0
        assert counts(model) == (0, 0)


class TestCheckpoints:
    SHAPE = Shape("qwen3", 64, 2, 4, 2, 32, 96, 10_000, True, 1e6, 1e-6, 4_096)

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_checkpoint(tmp_path / "a", self.SHAPE, QWEN3_V1, 1)
        return tmp_path / "a"

    def test_the_option_turns_it_on(self, folder: Path) -> None:
        assert Reranker.load(folder).kept_scores is None
        model = Reranker.load(folder, options=EngineOptions(score_cache=2))
        assert model.rank(QUERY, DOCUMENTS) == model.rank(QUERY, DOCUMENTS) == Reranker.load(folder).rank(QUERY, DOCUMENTS)
        assert model.kept_scores is not None
        assert len(model.kept_scores.cache) == model.kept_scores.cache.max_scores == 2

    @pytest.mark.parametrize(("value", "message"), [(-1, "at least 0, not -1"), ("9", "a whole number, not str")])
    def test_an_odd_value_is_refused_by_name(self, folder: Path, value: Any, message: str) -> None:
        with pytest.raises(InvalidInput, match=f"score_cache: must be {message}"):
            Reranker.load(folder, options=EngineOptions(score_cache=value))

    def test_a_model_that_is_loaded_anew_finds_its_scores_unless_its_files_changed(self, folder: Path) -> None:
        cache = ScoreCache(100)

        def hits(**options: Any) -> int:
            model = Reranker.load(folder, **options)
            model.keep_scores(cache)
            assert model.rank(QUERY, DOCUMENTS) == Reranker.load(folder, **options).rank(QUERY, DOCUMENTS)
            return counts(model)[0]

        assert [hits(), hits(), hits(dtype="int8"), hits(dtype="int8")] == [0, 5, 0, 5]
        write_checkpoint(folder, self.SHAPE, QWEN3_V1, 2)
        assert hits() == 0

    @pytest.mark.parametrize("word", ["yes_id", "no_id"])
    def test_another_answer_word_is_another_score(self, folder: Path, word: str) -> None:
        cache = ScoreCache(100)
        for token in (1, 2):
            model = Reranker.load(folder)
            setattr(model.tokenizer, word, token)
            model.keep_scores(cache)
            model.rank(QUERY, DOCUMENTS)
            assert counts(model) == (0, 5)


class TestTheWorker:
    @pytest.fixture
    def start(self) -> Iterator[Callable[[Reranker], Worker]]:
        workers: list[Worker] = []

        def make(model: Reranker) -> Worker:
            workers.append(Worker(model))
            return workers[-1]

        yield make
        for worker in workers:
            worker.close(drain=False)

    def done(self, worker: Worker, work: Work) -> Result:
        return worker.score(work).future.result(PATIENCE_S)

    def test_answers_from_what_is_kept_before_anything_is_computed(self, start: Callable[[Reranker], Worker]) -> None:
        model, counting = keeping()
        worker, plain = start(model), start(tiny.reranker())
        work = Work((Search(QUERY, tuple(DOCUMENTS)), Search("other", ("Mars is red.",), "Find cats")))
        first, expected = self.done(worker, work), self.done(plain, work)
        spent = counting.tokens
        second = self.done(worker, work)
        assert first.outcomes == second.outcomes == expected.outcomes
        assert first.usage == second.usage == expected.usage
        assert counting.tokens == spent > 0
        assert second.timing.inference_ms == 0.0
        found, none = worker.counters(), plain.counters()
        assert (found.score_hits, found.score_misses, none.score_hits, none.score_misses) == (6, 6, 0, 0)

    def test_serves_a_request_that_is_kept_in_part(self, start: Callable[[Reranker], Worker]) -> None:
        model, _ = keeping()
        worker, plain = start(model), start(tiny.reranker())
        self.done(worker, Work((Search(QUERY, ("Mars is red.", "a cake")),)))
        work = Work((Search(QUERY, ("a pie", *DOCUMENTS)), Search("other", ("a cake",))))
        found, expected = self.done(worker, work), self.done(plain, work)
        assert (found.outcomes, found.usage) == (expected.outcomes, expected.usage)
        assert worker.counters().score_hits == 2

    def test_limits_that_read_other_tokens_are_other_pairs(self, start: Callable[[Reranker], Worker]) -> None:
        model, _ = keeping()
        worker, plain = start(model), start(tiny.reranker())
        limits: list[dict[str, Any]] = [{}, {"max_document_tokens": 5}, {"max_query_tokens": 2}, {"max_document_tokens": 9_999}]
        for fields in limits:
            work = Work((Search(QUERY, (LONG, "Mars")),), **fields)
            found, expected = self.done(worker, work), self.done(plain, work)
            assert (found.outcomes, found.usage) == (expected.outcomes, expected.usage)
        read = [score for score in found.outcomes[0] if isinstance(score, Score)]
        assert [score.truncated for score in read] == [False, False]  # kept from the first request, which had no limit
        assert counts(model) == (3, 5)  # Mars has fewer than 5 tokens, and nothing here has 9,999

    def test_a_document_that_may_not_be_cut_fails_though_its_score_is_kept(self, start: Callable[[Reranker], Worker]) -> None:
        model, _ = keeping()
        worker = start(model)
        self.done(worker, Work((Search(QUERY, (LONG, "Mars")),), max_document_tokens=5))
        (found,) = self.done(worker, Work((Search(QUERY, (LONG, "Mars")),), max_document_tokens=5, truncate=False)).outcomes
        assert [type(outcome) for outcome in found] == [Failure, Score]

    def test_whoever_admits_is_asked_for_the_whole_cost(self, start: Callable[[Reranker], Worker]) -> None:
        model, _ = keeping()
        worker = start(model)
        asked: list[Usage] = []
        for _ in range(2):
            result = self.done(worker, Work((Search(QUERY, tuple(DOCUMENTS)),), admit=asked.append))
            assert asked.pop() == result.usage
