"""A task from its set to its result: what is chosen, scored once, measured, fused, kept and taken up again."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import gigarank
from gigarank.errors import InvalidInput, NonFiniteScore, QueryTooLong
from gigarank.evaluation import provenance
from gigarank.evaluation import run as run_module
from gigarank.evaluation.candidates import Bm25Search, RunFile
from gigarank.evaluation.figures import fused, strict
from gigarank.evaluation.metrics import by_query
from gigarank.evaluation.run import run_task
from gigarank.evaluation.sets import EvalDocument, EvalQuery, EvalSet
from gigarank.evaluation.store import PairScore, TaskResult, read_result, read_scores, scores_path
from gigarank.evaluation.task import RunOptions, chosen_queries, plan, result_path, slug
from gigarank.evaluation.trec import read_qrels, read_run
from gigarank.prompt import QWEN3_V1
from gigarank.types import Numerics, Pair, Progress, Score

TEXTS = {"d1": "stone", "d2": "a fish in water", "d3": "fish fish", "d4": "water"}
QRELS = {"q1": {"d2": 1, "d1": 0}, "q2": {"d4": 2, "d2": 1}, "q3": {"d1": 1}, "q4": {"d1": 0}}


def a_set(**changes: Any) -> EvalSet:
    queries = {
        "q1": EvalQuery("q1", "fish"),
        "q2": EvalQuery("q2", "water", instruction="Find water"),
        "q3": EvalQuery("q3", "stone"),
        "q4": EvalQuery("q4", "nothing"),
    }
    corpus = {name: EvalDocument(name, text) for name, text in TEXTS.items()}
    own = {"q1": ("d1", "d2", "d3"), "q2": ("d2", "d4"), "q3": ("d1", "d3")}
    return dataclasses.replace(EvalSet("fish", queries, corpus, QRELS, own, "s1"), **changes)


class Lengths:
    """A scorer whose logit is minus the document's length; it notes every pair, and fails as it is told."""

    name, prompt, max_pair_tokens = "org/lengths", QWEN3_V1, 512
    numerics = Numerics("cpu", "fp32", "plain", "segments", True, 0.0, ())

    def __init__(self, fails: Callable[[Pair], BaseException | None] = lambda pair: None, fingerprint: str = "m1") -> None:
        self._fails, self.fingerprint = fails, fingerprint
        self.calls: list[list[Pair]] = []

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [(pair.query, pair.document) for call in self.calls for pair in call]

    def score(self, pairs: Sequence[Pair], *, progress: Progress | None = None) -> list[Score]:
        for pair in pairs:
            if error := self._fails(pair):
                raise error
        self.calls.append(list(pairs))
        if progress is not None:
            progress(len(pairs), len(pairs))
        return [Score(n, 0.5, -float(len(pair.document)), len(pair.document.split()), False) for n, pair in enumerate(pairs)]


def breaks_on(word: str, error: type[BaseException] = NonFiniteScore) -> Callable[[Pair], BaseException | None]:
    return lambda pair: error(f"{word} breaks it") if word in pair.document else None


def order(path: Path) -> list[str]:
    return [line.split()[2] for line in path.read_text().splitlines()]


def test_a_result_says_what_was_asked_found_and_compared(tmp_path: Path) -> None:
    model = Lengths()
    seen: list[tuple[int, int]] = []
    result = run_task(
        a_set(), model, RunOptions(output=tmp_path, fuse_weight=1.0), lambda done, total: seen.append((done, total))
    )
    assert read_result(tmp_path / "org-lengths" / "fish.json") == result
    assert (result.set.queries, result.set.documents_scored, result.cost.pairs) == (3, 7, 7)
    assert result.cost.tokens == sum(len(TEXTS[document].split()) for document in ("d1", "d2", "d3", "d2", "d4", "d1", "d3"))
    ndcg = {query: {side: found["ndcg_cut_10"] for side, found in sides.items()} for query, sides in result.by_query.items()}
    assert ndcg["q1"] == pytest.approx({"reranked": 0.5, "first_stage": 0.6309, "oracle": 1.0, "fused": 0.5}, abs=1e-4)
    assert ndcg["q2"] == pytest.approx(dict.fromkeys(("reranked", "first_stage", "oracle", "fused"), 1.0))
    main = result.metrics["ndcg_cut_10"]
    assert main.reranked == pytest.approx(sum(one["reranked"] for one in ndcg.values()) / 3)
    assert main.interval[0] <= main.reranked - main.first_stage <= main.interval[1] and not main.significant
    assert order(tmp_path / "org-lengths" / "fish.trec") == ["d1", "d3", "d2", "d4", "d2", "d1", "d3"]
    assert seen[-1] == (7, 7) and result.provenance.packages["gigarank"] and result.first_stage.scores == "bm25"
    assert result.failures == () and result.published is None


def test_the_run_and_the_judgments_beside_a_result_give_its_figures_again(tmp_path: Path) -> None:
    result = run_task(a_set(), Lengths(), RunOptions(output=tmp_path))
    path = tmp_path / "org-lengths" / "fish.json"
    values = by_query(read_qrels(path.with_suffix(".qrels")), read_run(path.with_suffix(".trec")), ["ndcg_cut_10", "map"])
    assert values == {
        query: {metric: sides["reranked"][metric] for metric in ("ndcg_cut_10", "map")}
        for query, sides in result.by_query.items()
    }


def test_an_id_with_white_space_does_not_cost_the_result(tmp_path: Path) -> None:
    corpus = {"d 1": EvalDocument("d 1", "fish"), "d2": EvalDocument("d2", "water and stone")}
    queries = {"q\u00a01": EvalQuery("q\u00a01", "fish")}
    blank = a_set(queries=queries, corpus=corpus, qrels={"q\u00a01": {"d 1": 1}}, candidates={"q\u00a01": ("d2", "d 1")})
    result = run_task(blank, Lengths(), RunOptions(output=tmp_path))
    path = tmp_path / "org-lengths" / "fish.trec"
    assert [line.split()[:3:2] for line in path.read_text().splitlines()] == [["q%C2%A01", "d%201"], ["q%C2%A01", "d2"]]
    again = RunFile(path, read_run(path)).find(blank, ["q\u00a01"], 5)
    assert [document for document, _ in again["q\u00a01"]] == ["d 1", "d2"] and result.set.documents_scored == 2


def test_all_pairs_go_in_one_call_with_the_instruction_that_holds_for_each(tmp_path: Path) -> None:
    model = Lengths()
    run_task(a_set(instruction="Of the set"), model, RunOptions(output=tmp_path))
    assert len(model.calls) == 1
    assert {(pair.query, pair.instruction) for pair in model.calls[0]} == {
        ("fish", "Of the set"),
        ("water", "Find water"),
        ("stone", "Of the set"),
    }
    model = Lengths()
    run_task(a_set(instruction="Of the set"), model, RunOptions(output=tmp_path, instruction="Asked for"))
    assert {pair.instruction for pair in model.calls[0]} == {"Asked for", "Find water"}


def test_groups_hold_as_many_queries_as_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "GROUP_CHARACTERS", 40)
    model = Lengths()
    seen: list[tuple[int, int]] = []
    run_task(a_set(), model, RunOptions(output=tmp_path), lambda done, total: seen.append((done, total)))
    assert [len(call) for call in model.calls] == [3, 4]  # 12 + 29 characters, then the rest
    assert seen == sorted(seen) and seen[-1] == (7, 7)


def test_the_same_again_scores_nothing_and_changes_no_file(tmp_path: Path) -> None:
    first = run_task(a_set(), Lengths(), RunOptions(output=tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("fish*")}
    again = Lengths()
    assert run_task(a_set(), again, RunOptions(output=tmp_path)) == first
    assert again.calls == [] and {path: path.stat().st_mtime_ns for path in tmp_path.rglob("fish*")} == before


@pytest.mark.parametrize(
    ("of_set", "of_model", "of_options"),
    [
        ({"fingerprint": "s2"}, {}, {}),
        ({}, {"fingerprint": "m2"}, {}),
        ({}, {"prompt": dataclasses.replace(QWEN3_V1, id="other")}, {}),
        ({}, {"numerics": dataclasses.replace(Lengths.numerics, dtype="bf16")}, {}),
        ({}, {"max_pair_tokens": 64}, {}),
        ({}, {}, {"instruction": "Another"}),
        ({}, {}, {"first_stage": Bm25Search()}),
        ({}, {}, {"top_k": 2}),
        ({}, {}, {"limit": 2}),
        ({}, {}, {"machine": {"cpu": "another"}}),
        ({}, {}, {"machine": {"cpu_capability": "AMX"}}),
        ({}, {}, {"machine": {"gpu": "one"}}),
    ],
)
def test_what_differs_in_anything_is_scored_anew_and_the_old_is_kept(
    tmp_path: Path, of_set: dict[str, Any], of_model: dict[str, Any], of_options: dict[str, Any]
) -> None:
    first = run_task(a_set(), Lengths(), RunOptions(output=tmp_path))
    model = Lengths()
    for name, value in of_model.items():
        setattr(model, name, value)
    second = run_task(a_set(**of_set), model, RunOptions(output=tmp_path, **of_options))
    assert model.calls and second.key != first.key
    (kept,) = tmp_path.rglob("superseded/*-fish.json")
    assert read_result(kept) == first
    assert {path.name.removeprefix(first.key[:12]) for path in kept.parent.iterdir()} == {
        "-fish.json",
        "-fish.trec",
        "-fish.qrels",
        "-fish.scores.jsonl",
    }


def test_a_result_without_its_scores_is_kept_too_when_another_takes_its_place(tmp_path: Path) -> None:
    first = run_task(a_set(), Lengths(), RunOptions(output=tmp_path))
    scores_path(result_path(tmp_path, Lengths.name, "fish")).unlink()
    run_task(a_set(), Lengths(), RunOptions(output=tmp_path, top_k=2))
    (kept,) = tmp_path.rglob("superseded/*.json")
    assert read_result(kept) == first


@pytest.mark.parametrize("options", [{"fuse_weight": 2.0}, {"metrics": ("P_1",)}])
def test_other_figures_of_the_same_scores_need_no_model(tmp_path: Path, options: dict[str, Any]) -> None:
    first = run_task(a_set(), Lengths(), RunOptions(output=tmp_path))
    again = Lengths()
    second = run_task(a_set(), again, RunOptions(output=tmp_path, **options))
    assert again.calls == [] and second.key == first.key and second.metrics_key != first.metrics_key
    assert read_result(tmp_path / "org-lengths" / "fish.json") == second


def test_metric_code_that_changed_measures_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_task(a_set(), Lengths(), RunOptions(output=tmp_path))
    monkeypatch.setattr(provenance, "metrics_version", lambda: "other")
    assert run_task(a_set(), Lengths(), RunOptions(output=tmp_path)).metrics_key != first.metrics_key


@pytest.mark.parametrize(("package", "scores"), [("torch", True), ("tokenizers", True), ("bm25s", False), ("mteb", False)])
def test_another_package_is_another_result_and_scores_anew_only_where_it_computes_them(
    package: str, scores: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_task(a_set(), Lengths(), RunOptions(output=tmp_path))
    changed = provenance.packages() | {package: "0.0.1"}
    provenance.metrics_version.cache_clear()
    monkeypatch.setattr(provenance, "packages", lambda: changed)
    model = Lengths()
    second = run_task(a_set(), model, RunOptions(output=tmp_path))
    provenance.metrics_version.cache_clear()
    assert second.metrics_key != first.metrics_key and second.provenance.packages[package] == "0.0.1"
    assert (bool(model.calls), second.key != first.key) == (scores, scores)


def test_another_version_of_the_program_scores_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_task(a_set(), Lengths(), RunOptions(output=tmp_path))
    monkeypatch.setattr(gigarank, "__version__", "9.9.9")
    assert run_task(a_set(), Lengths(), RunOptions(output=tmp_path)).key != first.key


def test_what_a_machine_is_busy_with_is_no_other_machine(tmp_path: Path) -> None:
    first = run_task(a_set(), Lengths(), RunOptions(output=tmp_path, machine={"cpu": "one", "load_average": 0.1}))
    again = run_task(a_set(), Lengths(), RunOptions(output=tmp_path, machine={"cpu": "one", "load_average": 3.0}))
    assert again == first


def test_an_ended_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "GROUP_CHARACTERS", 1)
    ended = Lengths(breaks_on("water", KeyboardInterrupt))
    options = RunOptions(output=tmp_path, first_stage=Bm25Search())
    with pytest.raises(KeyboardInterrupt):
        run_task(a_set(candidates={"q3": ("d1",), "q1": ("d1",), "q2": ("d1",)}), ended, options)
    assert ended.pairs == [("stone", "stone")]
    model = Lengths()
    result = run_task(a_set(candidates={"q3": ("d1",), "q1": ("d1",), "q2": ("d1",)}), model, options)
    assert ("stone", "stone") not in model.pairs and len(model.pairs) == 4
    fresh = run_task(
        a_set(candidates={"q3": ("d1",), "q1": ("d1",), "q2": ("d1",)}),
        Lengths(),
        dataclasses.replace(options, output=tmp_path / "fresh"),
    )
    assert (fresh.by_query, fresh.metrics, fresh.key) == (result.by_query, result.metrics, result.key)


def test_a_pair_that_fails_is_reported_and_stands_last(tmp_path: Path) -> None:
    model = Lengths(breaks_on("fish fish"))
    result = run_task(a_set(), model, RunOptions(output=tmp_path, fuse_weight=1.0))
    assert [(one.query, one.document, one.message) for one in result.failures] == [
        ("q1", "d3", "fish fish breaks it"),
        ("q3", "d3", "fish fish breaks it"),
    ]
    assert order(tmp_path / "org-lengths" / "fish.trec")[:3] == ["d1", "d2", "d3"]
    assert sorted(model.pairs) == sorted(set(model.pairs)) and len(model.pairs) == 5  # nobody twice
    logits = [pair.logit for pair in read_scores(scores_path(result_path(tmp_path, model.name, "fish")))]
    assert logits.count(None) == 2 and len(logits) == 7
    assert set(result.by_query) == {"q1", "q2", "q3"}


def test_a_query_that_is_too_long_does_not_cost_the_others(tmp_path: Path) -> None:
    model = Lengths(lambda pair: QueryTooLong("too long") if pair.query == "water" else None)
    result = run_task(a_set(), model, RunOptions(output=tmp_path))
    assert {one.query for one in result.failures} == {"q2"} and len(model.pairs) == 5


def test_a_model_that_scores_nothing_at_all_says_why(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteScore, match="breaks it"):
        run_task(a_set(), Lengths(breaks_on("")), RunOptions(output=tmp_path))
    assert not list(tmp_path.rglob("*.json"))


def test_a_query_without_candidates_counts_as_0(tmp_path: Path) -> None:
    result = run_task(a_set(candidates={"q1": (), "q3": ("d1", "d3")}), Lengths(), RunOptions(output=tmp_path))
    assert {side: found["ndcg_cut_10"] for side, found in result.by_query["q1"].items()} == dict.fromkeys(
        ("reranked", "first_stage", "oracle"), 0.0
    )
    assert result.metrics["ndcg_cut_10"].reranked == 0.5


def test_languages_of_the_queries_are_kept(tmp_path: Path) -> None:
    def spoken(*languages: str | None) -> TaskResult:
        queries = {f"q{n}": EvalQuery(f"q{n}", "stone", language=one) for n, one in enumerate(languages, 1)}
        return run_task(
            a_set(queries=queries, candidates=None), Lengths(), RunOptions(output=tmp_path, first_stage=Bm25Search())
        )

    assert spoken("de", "de").set.language == "de"
    mixed = spoken("de", "fr", None).set
    assert (mixed.language, mixed.notes) == (None, {"query_languages": {"q1": "de", "q2": "fr"}})


def test_queries_are_those_that_can_be_measured_spread_evenly() -> None:
    assert chosen_queries(a_set(), None) == ("q1", "q2", "q3")
    assert chosen_queries(a_set(candidates=None), None) == ("q1", "q2", "q3")
    assert chosen_queries(a_set(candidates={"q4": ("d1",), "q2": ("d1",)}), None) == ("q2",)
    many = {f"q{n}": EvalQuery(f"q{n}", "x") for n in range(100)}
    spread = a_set(queries=many, qrels={query: {"d1": 1} for query in many}, candidates=None)
    assert chosen_queries(spread, 4) == ("q0", "q25", "q50", "q75")
    assert chosen_queries(spread, 100) == chosen_queries(spread, 500) == tuple(many)
    for limit in (1, 3, 7, 99):
        assert len(set(chosen_queries(spread, limit))) == limit
    with pytest.raises(InvalidInput, match="limit: must be at least 1, not 0"):
        chosen_queries(spread, 0)
    with pytest.raises(InvalidInput, match="no query has a relevant document"):
        chosen_queries(a_set(qrels={}), None)


def test_one_question_under_several_instructions_is_chosen_whole() -> None:
    many = {f"q{n}-{way}": EvalQuery(f"q{n}-{way}", f"question {n}", f"find {way}") for n in range(10) for way in ("yes", "no")}
    asked = a_set(queries=many, qrels={query: {"d1": 1} for query in many}, candidates=None)
    assert chosen_queries(asked, 4) == ("q0-yes", "q0-no", "q5-yes", "q5-no")
    assert chosen_queries(asked, 1) == ("q0-yes",)
    assert len(chosen_queries(asked, 5)) == 4 and len(chosen_queries(asked, 20)) == 20
    alone = a_set(
        queries=many | {"q0-maybe": EvalQuery("q0-maybe", "question 0", "find maybe")}, qrels=asked.qrels, candidates=None
    )
    assert chosen_queries(alone, 4) == ("q0-yes", "q0-no", "q5-yes", "q5-no")


def test_a_model_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="org/lengths has no files to know its results by"):
        plan(a_set(), Lengths(fingerprint=""), RunOptions(output=tmp_path))


def test_equal_scores_keep_the_candidates_order_and_failed_ones_are_last() -> None:
    pairs = [PairScore("q", name, None, 0.0, 0, False) for name in ("z", "a", "m", "b")]
    assert list(strict(pairs, [1.0, None, 2.0, 1.0])) == ["m", "z", "b", "a"]
    assert list(strict(pairs, [1.0, None, 2.0, 1.0]).values()) == [-1.0, -2.0, -3.0, -4.0]
    assert list(strict(pairs, [-5.0, None, -6.0, -5.0])) == ["z", "b", "m", "a"]


def test_fused_scores_leave_failed_pairs_out() -> None:
    logits, first_stage = [-5.0, None, -15.0, -9.0], [0.0, 100.0, 0.3, 0.45]
    pairs = [PairScore("q", str(n), one, two, 0, False) for n, (one, two) in enumerate(zip(logits, first_stage, strict=True))]
    assert list(strict(pairs, fused(pairs, 1.0))) == ["3", "0", "2", "1"]
    assert list(strict(pairs, fused(pairs, 0.0))) == ["0", "3", "2", "1"]
    assert fused(pairs, 1.0)[1] is None and sum(one or 0.0 for one in fused(pairs, 1.0)) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("name", "file"),
    [("Qwen/Qwen3-Reranker-0.6B", "Qwen-Qwen3-Reranker-0.6B"), ("../up", "up"), ("模型", "模型"), ("..", "model")],
)
def test_a_name_becomes_a_file_name(name: str, file: str) -> None:
    assert slug(name) == file


def test_the_journal_is_on_the_disk_before_the_next_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "GROUP_CHARACTERS", 1)
    model = Lengths()
    path = scores_path(result_path(tmp_path, model.name, "fish"))
    lines: list[int] = []
    whole = model.score

    def watched(pairs: Sequence[Pair], *, progress: Progress | None = None) -> list[Score]:
        lines.append(len(path.read_text().splitlines()))
        return whole(pairs, progress=progress)

    monkeypatch.setattr(model, "score", watched)
    run_task(a_set(), model, RunOptions(output=tmp_path))
    assert lines == [1, 2, 3]
    assert [json.loads(line).get("query") for line in path.read_text().splitlines()] == [None, "q1", "q2", "q3"]


def test_provenance_names_the_commit_only_within_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    provenance.commit.cache_clear()
    found = provenance.commit()
    assert found is None or len(found.removesuffix("+changed")) == 40
    (tmp_path / "gigarank").mkdir()
    monkeypatch.setattr(gigarank, "__file__", str(tmp_path / "gigarank" / "__init__.py"))
    provenance.commit.cache_clear()
    assert provenance.commit() is None
    provenance.commit.cache_clear()
