"""The first stages: terms in every script, BM25 against its formula, exact vector search, candidates that are found once."""

import dataclasses
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gigarank.engine import bm25
from gigarank.engine.bm25 import Bm25
from gigarank.engine.fusion import fuse, standardise
from gigarank.engine.words import words
from gigarank.errors import InvalidInput
from gigarank.evaluation import dense
from gigarank.evaluation.candidates import Bm25Search, Candidates, DenseSearch, OwnCandidates, RunFile, find_candidates
from gigarank.evaluation.sets import EvalDocument, EvalQuery, EvalSet
from gigarank.types import Numerics, Progress


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The cat's 2 Hats!", ["the", "cat", "s", "2", "hats"]),
        ("Straße ＡＢＣ", ["strasse", "abc"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("黑豹队", ["黑", "豹", "队", "黑豹", "豹队"]),
        ("東京タワー2号", ["東", "京", "タ", "ワ", "ー", "東京", "京タ", "タワ", "ワー", "2", "号"]),
        ("สวัสดี", ["สวัส", "วัสด", "ัสดี"]),
        ("ไป", ["ไป"]),
        ("한국어 문서", ["한국어", "문서"]),
        ("", []),
        ("!?", []),
    ],
)
def test_terms_of_every_script(text: str, terms: list[str]) -> None:
    assert words(text) == terms


@pytest.mark.parametrize("text", ["".join(map(chr, range(128))), "A_b-C 9x\x1c_\tZ'z", "Hello, world!"])
def test_plain_text_is_cut_as_any_other(text: str) -> None:
    *found, _ = words(text + " é")
    assert words(text) == found


@pytest.mark.parametrize(
    ("query", "right", "wrong"),
    [
        ("黑豹队的防守", "卡罗来纳黑豹队防守排名第六", "联盟的比赛在周日举行"),
        ("東京の人口", "日本の首都東京は人口が多い", "大阪は西日本の中心都市である"),
        ("เมืองหลวงของไทย", "กรุงเทพเป็นเมืองหลวงของประเทศไทย", "ลอนดอนอยู่ในประเทศอังกฤษ"),
    ],
)
def test_a_document_is_found_by_a_part_of_an_unbroken_sentence(query: str, right: str, wrong: str) -> None:
    assert Bm25([wrong, right]).search(query, 1)[0][0] == 1
    assert not set(query.split()) & set(right.split())  # cut at blanks there would be nothing in common


def test_bm25_is_its_formula() -> None:
    documents = ["red fish", "blue fish fish", "green bird sings"]
    lengths = [2, 3, 3]
    mean = sum(lengths) / 3
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))

    def expected(count: int, length: int) -> float:
        return idf * count / (count + bm25.K1 * (1 - bm25.B + bm25.B * length / mean))

    found = Bm25(documents).scores("fish")
    assert found == pytest.approx([expected(1, 2), expected(2, 3), 0.0], rel=1e-5)
    assert Bm25(documents).scores("fish fish") == pytest.approx(2 * found, rel=1e-5)


def test_search_gives_only_documents_that_share_a_word_and_keeps_the_order_of_equals() -> None:
    index = Bm25(["a fish", "a bird", "a fish", "stone"])
    assert [place for place, _ in index.search("fish", 10)] == [0, 2]
    assert [place for place, _ in index.search("fish", 1)] == [0]
    many = Bm25([f"{'fish' if place % 3 else 'bird'} water" for place in range(300)]).search("fish", 300)
    assert [place for place, _ in many] == [place for place in range(300) if place % 3]
    assert index.search("unknown", 10) == index.search("", 10) == index.search("?!", 10) == []


@pytest.mark.parametrize("documents", [[], ["", "!"]])
def test_documents_without_a_term_are_never_found(documents: list[str]) -> None:
    assert Bm25(documents).search("fish", 3) == []
    assert list(Bm25(documents).scores("fish")) == [0.0] * len(documents)


class Counting:
    """An embedder whose vectors follow from a text's letters; it counts what it is asked, and can be made to stop."""

    name = "counting"
    numerics = Numerics("cpu", "fp32", "packed", "segments", True, 0.0, ())
    max_tokens = 64

    def __init__(self, fingerprint: str = "f1", fails_after: int | None = None) -> None:
        self._fingerprint, self.fails_after = fingerprint, fails_after
        self.documents: list[str] = []
        self.tasks: list[str | None] = []

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def embed(
        self,
        queries: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        *,
        task: str | None = None,
        dimensions: int | None = None,
        progress: Progress | None = None,
    ) -> dense.Vectors:
        if queries is not None:
            self.tasks.append(task)
        self.documents += documents or []
        if self.fails_after is not None and len(self.documents) > self.fails_after:
            raise KeyboardInterrupt
        rows = [[text.lower().count(letter) + 0.01 for letter in "abcdefgh"] for text in queries or documents or ()]
        vectors = np.asarray(rows, dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def test_nearest_is_exact_and_keeps_the_order_of_equals() -> None:
    random = np.random.default_rng(0)
    documents = random.standard_normal((300, 16)).astype(np.float32)
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    documents[200] = documents[7]
    queries = documents[[7, 30]]
    found = dense.nearest(documents, queries, 5)
    assert [place for place, _ in found[0]][:2] == [7, 200]
    for row, query in zip(found, queries, strict=True):
        products = documents @ query
        assert [score for _, score in row] == pytest.approx(sorted(products, reverse=True)[:5], abs=1e-5)
        assert [products[place] for place, _ in row] == pytest.approx([score for _, score in row], abs=1e-5)


def test_nearest_of_nothing_is_nothing() -> None:
    some = np.ones((2, 3), dtype=np.float32)
    none = np.empty((0, 3), dtype=np.float32)
    assert dense.nearest(none, some, 4) == [[], []]
    assert dense.nearest(some, none, 4) == []
    assert [len(row) for row in dense.nearest(some, some, 9)] == [2, 2]


def test_vectors_are_computed_once_and_continue_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "CHUNK", 2)
    documents = ["aa", "b", "cab", "d", "he"]
    with pytest.raises(KeyboardInterrupt):
        dense.document_vectors(Counting(fails_after=3), documents, tmp_path)
    (path,) = tmp_path.glob("*.f32")
    path.write_bytes(path.read_bytes() + b"torn")
    again = Counting()
    seen: list[tuple[int, int]] = []
    vectors = dense.document_vectors(again, documents, tmp_path, lambda done, total: seen.append((done, total)))
    assert again.documents == ["aa", "cab", "d", "he"]  # the first once more, for its size
    assert seen == [(4, 5), (5, 5)]
    np.testing.assert_array_equal(vectors, Counting().embed(documents=documents))
    third = Counting()
    np.testing.assert_array_equal(dense.document_vectors(third, documents, tmp_path), vectors)
    assert third.documents == ["aa"]


@pytest.mark.parametrize("change", [{"max_tokens": 8}, {"numerics": dataclasses.replace(Counting.numerics, dtype="bf16")}])
def test_vectors_of_another_precision_or_length_are_not_taken(change: dict[str, Any], tmp_path: Path) -> None:
    other = Counting()
    for name, value in change.items():
        setattr(other, name, value)
    dense.document_vectors(Counting(), ["a", "b"], tmp_path)
    dense.document_vectors(other, ["a", "b"], tmp_path)
    assert "b" in other.documents
    stages = DenseSearch("dense", Counting, tmp_path), DenseSearch("dense", lambda: other, tmp_path)
    assert stages[0].options != stages[1].options


def test_two_that_want_the_same_vectors_write_them_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "CHUNK", 1)
    documents = ["aa", "b", "cab", "d", "he"]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: dense.document_vectors(Slow(), documents, tmp_path), range(2)))
    for vectors in found:
        np.testing.assert_array_equal(vectors, Counting().embed(documents=documents))


class Slow(Counting):
    def embed(self, *arguments: Any, **options: Any) -> dense.Vectors:
        time.sleep(0.01)
        return super().embed(*arguments, **options)


def test_vectors_of_another_model_or_other_documents_are_not_taken(tmp_path: Path) -> None:
    dense.document_vectors(Counting(), ["a", "b"], tmp_path)
    dense.document_vectors(Counting("f2"), ["a", "b"], tmp_path)
    dense.document_vectors(Counting(), ["ab", ""], tmp_path)
    assert len(list(tmp_path.glob("*.f32"))) == 3
    with pytest.raises(InvalidInput, match="no files to know it by"):
        dense.document_vectors(Counting(""), ["a"], tmp_path)


def fish_set(candidates: dict[str, tuple[str, ...]] | None = None) -> EvalSet:
    texts = {"d1": "stone", "d2": "a fish in water", "d3": "fish fish", "d4": "water"}
    queries = {"q1": EvalQuery("q1", "fish"), "q2": EvalQuery("q2", "water", instruction="Find water")}
    corpus = {name: EvalDocument(name, text) for name, text in texts.items()}
    return EvalSet("fish", queries, corpus, {"q1": {"d3": 1}, "q2": {"d4": 1}}, candidates, fingerprint="s1")


def ids(found: Candidates) -> dict[str, list[str]]:
    return {query: [document for document, _ in ranked] for query, ranked in found.items()}


def test_own_candidates_are_cut_in_the_files_order_and_ordered_by_bm25() -> None:
    own = fish_set({"q1": ("d1", "d2", "d3", "d4"), "q2": ("d1", "d4")})
    found = OwnCandidates().find(own, ["q1", "q2"], 3)
    assert ids(found) == {"q1": ["d3", "d2", "d1"], "q2": ["d4", "d1"]}
    assert found["q1"][2][1] == 0 < found["q1"][1][1] < found["q1"][0][1]


def test_a_set_without_candidates_says_so() -> None:
    with pytest.raises(InvalidInput, match="fish: the set has no candidates of its own") as caught:
        OwnCandidates().find(fish_set(), ["q1"], 3)
    assert caught.value.param == "first_stage"


def test_bm25_searches_the_whole_corpus() -> None:
    assert ids(Bm25Search().find(fish_set(), ["q1", "q2"], 2)) == {"q1": ["d3", "d2"], "q2": ["d4", "d2"]}


def test_dense_search_reads_each_query_behind_its_task(tmp_path: Path) -> None:
    embedder = Counting()
    stage = DenseSearch("counting", lambda: embedder, tmp_path)
    found = stage.find(fish_set(), ["q2", "q1"], 2)
    assert list(found) == ["q2", "q1"]
    assert set(embedder.tasks) == {None, "Find water"}
    assert found["q1"][0][0] == "d3"
    assert "f1" in stage.options and stage.scores == "counting"


def test_a_run_file_is_cut_and_sorted() -> None:
    run = RunFile(Path("x.trec"), {"q1": {"d1": 0.5, "d3": 2.0, "d2": 0.5}})
    assert run.find(fish_set(), ["q1", "q2"], 2) == {"q1": [("d3", 2.0), ("d1", 0.5)], "q2": []}


@pytest.mark.parametrize(
    ("run", "said"), [({"q1": {"d9": 1.0}}, "query q1 names document d9"), ({"q7": {"d1": 1.0}}, "names no query of fish")]
)
def test_a_run_about_something_else_is_refused(run: dict[str, dict[str, float]], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        RunFile(Path("x.trec"), run).find(fish_set(), ["q1", "q2"], 5)


class Once(Bm25Search):
    asked = 0

    def find(self, evaluation_set: EvalSet, queries: Sequence[str], top_k: int) -> Candidates:
        self.asked += 1
        return super().find(evaluation_set, queries, top_k)


def test_candidates_are_found_once_for_the_same_question(tmp_path: Path) -> None:
    stage = Once()
    first = find_candidates(fish_set(), stage, ["q1"], 2, tmp_path)
    assert find_candidates(fish_set(), stage, ["q1"], 2, tmp_path) == first == stage.find(fish_set(), ["q1"], 2)
    assert stage.asked == 2  # once for the first, once just now
    for queries, top_k in ((["q1"], 3), (["q1", "q2"], 2)):
        find_candidates(fish_set(), stage, queries, top_k, tmp_path)
    assert stage.asked == 4
    find_candidates(fish_set(), stage, ["q1"], 2, None)
    assert stage.asked == 5


def test_a_broken_file_of_candidates_is_found_again(tmp_path: Path) -> None:
    first = find_candidates(fish_set(), Bm25Search(), ["q1"], 2, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text()[:-3])
    assert find_candidates(fish_set(), Bm25Search(), ["q1"], 2, tmp_path) == first


def test_standardised_scores_have_mean_0_and_deviation_1() -> None:
    found = standardise([1.0, 2.0, 6.0])
    assert (np.mean(found), np.std(found)) == pytest.approx((0.0, 1.0))
    assert standardise([10.0, 20.0, 60.0]) == pytest.approx(found)
    assert standardise([3.0, 3.0]) == [0.0, 0.0] and standardise([]) == [] and standardise([1e9] * 3) == [0.0] * 3


def test_fusion_weighs_the_first_stage() -> None:
    ours, theirs = [2.0, 1.0, 0.0], [0.0, 50.0, 100.0]
    assert fuse(ours, theirs, 0.0) == standardise(ours)
    assert fuse(ours, theirs) == pytest.approx([0.0, 0.0, 0.0])
    assert fuse(ours, theirs, 3.0)[2] == max(fuse(ours, theirs, 3.0))
    with pytest.raises(InvalidInput, match="weight"):
        fuse(ours, theirs, -1.0)
    with pytest.raises(InvalidInput, match="weight"):
        fuse(ours, theirs, math.nan)
