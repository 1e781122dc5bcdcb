"""Suites end to end without a hub: mteb runs our tiny models on local tasks, and its figures are ours."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import mteb
import pytest
from mteb.models import CrossEncoderProtocol, EncoderProtocol

import tiny
from gigarank.cli.evaluate_suite import SuiteRun, run_suite
from gigarank.engine.embedder import Embedder
from gigarank.engine.loading import assemble
from gigarank.engine.numerics import choose_numerics
from gigarank.engine.reranker import Reranker
from gigarank.errors import InvalidInput
from gigarank.evaluation import adapter, suites
from gigarank.evaluation.adapter import GROUP_CHARACTERS, MTEB_DEFAULT, MtebEncoder, MtebReranker, mteb_instruction
from gigarank.evaluation.metrics import by_query
from gigarank.evaluation.report_data import read_suites
from gigarank.evaluation.suite_run import SuiteOptions, suite_run, task_run
from gigarank.evaluation.trec import read_run
from gigarank.types import EngineOptions, Pair, Progress, Score
from mteb_tasks import DOCUMENTS, INSTRUCTED, QRELS, QUERIES, RETRIEVAL, TinyInstructed, TinyRetrieval


@cache
def reranker() -> Reranker:
    return tiny.reranker()


@cache
def embedder() -> Embedder:
    loaded = assemble("qwen3", tiny.CONFIGS["qwen3"], tiny.tensors_of("qwen3"), EngineOptions(), choose_numerics("cpu", "fp32"))
    return Embedder(loaded, tiny.qwen_text())


class Recorded:
    """A reranker that keeps what it was asked."""

    name = "recorded"

    def __init__(self) -> None:
        self.calls: list[list[Pair]] = []

    @property
    def pairs(self) -> list[Pair]:
        return [pair for call in self.calls for pair in call]

    def score(self, pairs: Sequence[Pair], *, progress: Progress | None = None) -> list[Score]:
        self.calls.append(list(pairs))
        return reranker().score(pairs)


class RecordedEmbedder:
    """An embedder that keeps the queries and tasks that it was asked."""

    name = "org/recorded"
    fingerprint = "e1"
    max_tokens = 512

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.documents: list[str] = []
        self.numerics = embedder().numerics

    def embed(
        self,
        queries: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        *,
        task: str | None = None,
        dimensions: int | None = None,
        progress: Progress | None = None,
    ) -> Any:
        self.documents += documents or ()
        self.asked += [(query, task) for query in queries or ()]
        return embedder().embed(queries, documents, task=task)


def test_two_stages_give_mtebs_figures_and_ours_alike() -> None:
    asked, searched, seen = Recorded(), RecordedEmbedder(), list[tuple[int, int]]()
    options = SuiteOptions(top_k=3, progress=lambda done, total: seen.append((done, total)))
    (row,) = task_run(TinyRetrieval(), RETRIEVAL, asked, searched, options)
    assert (row["task"], row["split"], row["subset"], row["languages"]) == ("TinyRetrieval", "test", "default", ["eng-Latn"])
    assert (row["queries"], row["pairs"], row["metric"], row["revision"]) == (4, 12, "ndcg_at_10", "1")
    assert row["reranked"] == pytest.approx(row["mteb"], abs=6e-6)
    assert row["reranked"] <= row["oracle"]
    assert row["first_stage"] <= row["oracle"]
    assert row["interval"][0] <= row["reranked"] - row["first_stage"] <= row["interval"][1]
    assert seen[-1] == (12, 12)
    assert {pair.instruction for pair in asked.pairs} == {RETRIEVAL.instruction}
    assert sorted(set(searched.asked)) == sorted((text, RETRIEVAL.instruction) for text in QUERIES.values())


def test_the_first_stage_is_the_embedders_own_nearest_documents() -> None:
    asked = Recorded()
    task_run(TinyRetrieval(), RETRIEVAL, asked, embedder(), SuiteOptions(top_k=2))
    texts = [f"Sky {text}" if key == "d2" else text for key, text in DOCUMENTS.items()]
    for query in QUERIES.values():
        near = embedder().embed(queries=[query], task=RETRIEVAL.instruction) @ embedder().embed(documents=texts).T
        expected = {texts[place] for place in (-near[0]).argsort()[:2]}
        assert {pair.document for pair in asked.pairs if pair.query == query} == expected


def test_p_mrr_of_an_instruction_task_is_mtebs_and_the_instruction_is_in_the_prompt_once() -> None:
    asked = Recorded()
    (row,) = task_run(TinyInstructed(), INSTRUCTED, asked, None, SuiteOptions())
    assert (row["metric"], row["queries"], row["pairs"], row["first_stage"]) == ("p-MRR", 4, 32, 0.0)
    assert row["reranked"] == pytest.approx(row["mteb"])
    assert row["reranked"] != 0
    # What is excluded first of 8, then last: q1 one document, 1 - 1/8; q2 two, (1 - 1/7 + 1 - 2/8) / 2.
    assert row["oracle"] == pytest.approx(100 * (7 / 8 + (6 / 7 + 6 / 8) / 2) / 2)
    assert row["interval"][0] <= row["reranked"] <= row["interval"][1] and 0 < row["p_value"] <= 1
    assert {pair.query for pair in asked.pairs} == {QUERIES["q1"], QUERIES["q2"]}
    assert {pair.instruction for pair in asked.pairs} == {
        "Find everything about it.",
        "Find it, but nothing about what is large or has gills.",
    }


def test_mtebs_own_convention_asks_the_instruction_twice() -> None:
    asked, plain = Recorded(), Recorded()
    options = SuiteOptions(mteb_convention=True)
    (row,) = task_run(TinyInstructed(), INSTRUCTED, asked, None, options)
    assert row["reranked"] == pytest.approx(row["mteb"])
    assert all(pair.query.endswith(f" {pair.instruction}") for pair in asked.pairs)
    task_run(TinyRetrieval(), RETRIEVAL, plain, embedder(), options)
    assert {pair.instruction for pair in plain.pairs} == {MTEB_DEFAULT}


def test_the_command_keeps_a_tasks_figures_and_a_run_file_that_gives_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(suites.SUITES, "Tiny", suites.Suite("Tiny", (RETRIEVAL,)))
    monkeypatch.setattr(mteb, "get_task", lambda name, eval_splits: {"TinyRetrieval": TinyRetrieval}[name]())
    path = tmp_path / "qwen3" / "Tiny.suite.jsonl"
    run = SuiteRun(
        suite="Tiny",
        reranker=reranker(),
        embedder=RecordedEmbedder(),
        top_k=3,
        limit=None,
        path=path,
        provenance=lambda started: {},
    )
    (row,) = run_suite(run)
    assert (row["queries"], row["revision"], "run" in row) == (4, "1", False)
    written = read_run(path.with_name("Tiny.TinyRetrieval.test.default.trec"))
    figures = by_query(QRELS, written, ["ndcg_cut_10"]).values()
    assert sum(one["ndcg_cut_10"] for one in figures) / 4 == pytest.approx(row["reranked"])
    (reported,) = read_suites(tmp_path)
    assert reported == row | {"suite": "Tiny"}
    monkeypatch.undo()
    monkeypatch.setitem(suites.SUITES, "Tiny", suites.Suite("Tiny", (RETRIEVAL,)))
    assert run_suite(run) == [row], "from the disk: mteb knows no such task"


class Dies(Recorded):
    """Scores one group of pairs, and is ended at the next."""

    def score(self, pairs: Sequence[Pair], *, progress: Progress | None = None) -> list[Score]:
        if self.calls:
            raise KeyboardInterrupt
        return super().score(pairs)


def test_a_task_that_was_ended_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "GROUP_CHARACTERS", 1)
    options = SuiteOptions(top_k=3, scores=tmp_path / "scores", vectors=tmp_path / "vectors")
    first, searched = Dies(), RecordedEmbedder()
    with pytest.raises(KeyboardInterrupt):
        task_run(TinyRetrieval(), RETRIEVAL, first, searched, options)
    again, searching = Recorded(), RecordedEmbedder()
    (row,) = task_run(TinyRetrieval(), RETRIEVAL, again, searching, options)
    assert len(first.pairs) == 3 and len(again.pairs) == 9
    assert not {(pair.query, pair.document) for pair in first.pairs} & {(pair.query, pair.document) for pair in again.pairs}
    assert (len(searched.documents), len(searching.documents)) == (9, 1), "the first once more, for its size"
    (whole,) = task_run(TinyRetrieval(), RETRIEVAL, Recorded(), RecordedEmbedder(), SuiteOptions(top_k=3))
    assert row == whole


def test_bm25_finds_a_tasks_candidates_in_its_whole_corpus() -> None:
    asked = Recorded()
    (row,) = task_run(TinyRetrieval(), RETRIEVAL, asked, None, SuiteOptions(top_k=2, bm25=True))
    found = {query: {pair.document for pair in asked.pairs if pair.query == query} for query in QUERIES.values()}
    assert found["salt"] == {DOCUMENTS["d6"]}, "d8 says salty"
    assert found["red planet"] == {DOCUMENTS["d1"], DOCUMENTS["d3"]}
    assert row["reranked"] == pytest.approx(row["mteb"], abs=6e-6) and row["first_stage"] <= row["oracle"]


def test_an_instruction_task_is_also_searched_with_each_querys_own_instruction() -> None:
    searched = RecordedEmbedder()
    (row,) = task_run(TinyInstructed(), INSTRUCTED, reranker(), searched, SuiteOptions(top_k=4))
    assert row["pairs"] == 16
    assert (QUERIES["q2"], "Find everything about it.") in searched.asked


def test_a_limit_spreads_over_the_queries_and_keeps_both_instructions_of_one() -> None:
    asked = Recorded()
    (row,) = task_run(TinyRetrieval(), RETRIEVAL, asked, embedder(), SuiteOptions(top_k=2, limit=2))
    assert {pair.query for pair in asked.pairs} == {QUERIES["q1"], QUERIES["q3"]}
    assert (row["queries"], row["reranked"]) == (2, pytest.approx(row["mteb"], abs=6e-6))
    (row,) = task_run(TinyInstructed(), INSTRUCTED, reranker(), None, SuiteOptions(limit=1))
    assert row["queries"] == 2
    with pytest.raises(InvalidInput, match="limit: must be at least 1, not 0"):
        task_run(TinyRetrieval(), RETRIEVAL, asked, None, SuiteOptions(limit=0))


def test_without_candidates_and_first_stage_the_task_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"TinyRetrieval \(default, test\): the task has no candidates of its own"):
        task_run(TinyRetrieval(), RETRIEVAL, reranker(), None, SuiteOptions())


@pytest.mark.parametrize("suite", ["MTEB-R", "FollowIR"])
def test_where_the_hub_cannot_be_reached_one_sentence_says_so_and_what_to_do(suite: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"on the Hugging Face hub\) cannot be fetched: .*; bring a set as a BEIR folder"
    ) as no:
        next(suite_run(suite, reranker(), None))
    assert "\n" not in no.value.message
    assert no.value.param == "suite"


class Unreachable(TinyRetrieval):
    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        raise ConnectionError("no route\nRequest ID 17")


def test_of_a_long_reason_only_the_first_line_is_said() -> None:
    with pytest.raises(InvalidInput, match="cannot be fetched: no route; bring") as refusal:
        task_run(Unreachable(), RETRIEVAL, reranker(), None, SuiteOptions())
    assert "17" not in refusal.value.message


def test_both_adapters_are_what_mteb_asks_for_and_nothing_else() -> None:
    one, other = MtebReranker(reranker()), MtebEncoder(embedder())
    assert isinstance(one, CrossEncoderProtocol)
    assert not isinstance(one, EncoderProtocol)
    assert isinstance(other, EncoderProtocol)
    assert not isinstance(other, CrossEncoderProtocol)
    assert one.mteb_model_meta.name == "gigarank/qwen3"
    assert MtebEncoder(RecordedEmbedder()).mteb_model_meta.name == "org/recorded"


def batches(**columns: list[str]) -> list[dict[str, list[str]]]:
    """Columns as mteb hands them over, two rows a batch."""
    size = len(columns["text"])
    return [{name: values[start : start + 2] for name, values in columns.items()} for start in range(0, size, 2)]


class Metadata:
    prompt: Any = None


def test_pairs_are_grouped_by_query_and_scores_come_back_in_mtebs_order() -> None:
    asked = Recorded()
    queries = batches(text=["a", "b", "a", "b", "a"])
    documents = batches(text=["one", "two", "three", "four", "five"])
    found = MtebReranker(asked).predict(queries, documents, task_metadata=Metadata())
    assert [pair.query for pair in asked.pairs] == ["a", "a", "a", "b", "b"]
    expected = reranker().score([("a", "one"), ("b", "two"), ("a", "three"), ("b", "four"), ("a", "five")])
    assert list(found) == pytest.approx([score.logit for score in expected])


class Counted(Recorded):
    """Answers 0, at once."""

    def score(self, pairs: Sequence[Pair], *, progress: Progress | None = None) -> list[Score]:
        self.calls.append(list(pairs))
        return [Score(place, 0.5, 0.0, 1, False) for place in range(len(pairs))]


def test_a_query_is_never_parted_between_calls() -> None:
    asked = Counted()
    long = "x " * (GROUP_CHARACTERS // 400)
    queries = batches(text=[name for name in "abcd" for _ in range(90)])
    MtebReranker(asked).predict(queries, batches(text=[long] * 360), task_metadata=Metadata())
    assert [len(call) for call in asked.calls] == [270, 90]
    assert {pair.query for pair in asked.calls[1]} == {"d"}


def test_the_instruction_of_a_task_is_its_prompt_for_queries() -> None:
    for prompt, expected in ((None, None), ("Find.", "Find."), ({"query": "Ask."}, "Ask."), ({"document": "No."}, None)):
        metadata = Metadata()
        metadata.prompt = prompt
        assert mteb_instruction(metadata) == expected
