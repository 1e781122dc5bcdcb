"""Hard negatives: near the query, not among the answers, and not a false negative by the judge's margin."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gigarank.errors import InvalidInput
from gigarank.training.mining import Bm25, CosineJudge, Dense, MiningOptions, MiningReport, Vectors, corpus_of, mine
from gigarank.training.rows import Row
from gigarank.training.words import words

CORPUS = [
    "the cat sat on the mat",
    "a cat and a dog",
    "dogs bark at night",
    "stars shine at night",
    "cooking rice for two",
    "the cat sat on the sofa",
]


class WordVectors:
    """An embedder that can be followed by hand: a direction a word, texts are the sum of theirs."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def embed(
        self, queries: Sequence[str] | None = None, documents: Sequence[str] | None = None, *, task: str | None = None
    ) -> Vectors:
        rows = np.zeros((len(queries or documents or ()), 100), dtype=np.float32)
        for row, text in zip(rows, queries or documents or (), strict=True):
            for word in words(text):
                row[self.places.setdefault(word, len(self.places))] += 1
        unit: Vectors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        return unit


class Fixed:
    """A judge with a score for each text."""

    def __init__(self, **scores: float) -> None:
        self.scores = scores

    def judge(self, row: Row, documents: Sequence[str]) -> Sequence[float]:
        return [self.scores[document] for document in documents]


class Lists:
    """A first stage that finds the same for every query."""

    def __init__(self, *places: int) -> None:
        self.places = places

    def search(self, queries: Sequence[str], top_k: int) -> list[list[int]]:
        return [list(self.places[:top_k]) for _ in queries]


def row(query: str, *positives: str, negatives: tuple[str, ...] = (), scores: Any = None) -> Row:
    labels = (1.0,) * len(positives) + (0.0,) * len(negatives)
    return Row(query, positives + negatives, labels, scores, None, None, None)


def mined(given: Row, corpus: Sequence[str], *stages: Any, judge: Any = None, **options: Any) -> tuple[Row, MiningReport]:
    report = MiningReport()
    (found,) = mine([given], corpus, stages, MiningOptions(**options), report, judge)
    return found, report


def test_bm25_finds_texts_with_the_querys_words_best_first() -> None:
    found = Bm25(CORPUS).search(["cat on the mat", "night", "unheard of words"], 10)
    assert found[0][:2] == [0, 5]
    assert set(found[1]) == {2, 3}
    assert 4 not in found[0]
    assert found[2] == []


def test_bm25_searches_in_scripts_without_blanks() -> None:
    assert Bm25(["北京是首都", "上海是城市", "面包很好吃"]).search(["首都在北京"], 3)[0][0] == 0


def test_a_text_without_words_is_no_find_and_does_no_harm() -> None:
    assert Bm25(["...", "cat"]).search(["cat", "!!!"], 5) == [[1], []]


def test_dense_search_is_by_cosine() -> None:
    assert Dense(CORPUS, WordVectors()).search(["the cat sat on the mat"], 2) == [[0, 5]]


def test_negatives_stand_behind_the_rows_own_documents() -> None:
    found, report = mined(row("cat mat", CORPUS[0]), CORPUS, Bm25(CORPUS), negatives=2)
    assert found.documents[0] == CORPUS[0]
    assert set(found.documents[1:]) == {CORPUS[1], CORPUS[5]}
    assert found.labels == (1.0, 0.0, 0.0)
    assert report == MiningReport(rows=1, mined=2)


def test_no_document_of_the_row_comes_twice_nor_the_query_itself() -> None:
    given = row("the cat sat on the mat", "a cat and a dog", negatives=(" the cat sat on the sofa ",))
    found, _ = mined(given, CORPUS, Bm25(CORPUS), negatives=7)
    assert len(set(found.documents)) == len(found.documents)
    assert "the cat sat on the mat" not in found.documents
    assert "the cat sat on the sofa" not in found.documents


def test_blanks_around_a_text_make_no_other_document() -> None:
    found, _ = mined(row("q", "a"), [" a\n", "q ", "b"], Lists(0, 1, 2), negatives=3)
    assert found.documents == ("a", "b")


def test_a_rows_own_negatives_count() -> None:
    given = row("q", "a", negatives=("b", "c"), scores=(1.0, 0.5, None))
    found, report = mined(given, ["x", "y"], Lists(0, 1), negatives=3)
    assert found.documents == ("a", "b", "c", "x")
    assert found.scores == (1.0, 0.5, None, None)
    assert report.mined == 1
    assert mined(given, ["x"], Lists(0), negatives=1)[0] == given


def test_first_stages_take_turns_and_skip_their_best() -> None:
    corpus = ["0", "1", "2", "3", "4", "5"]
    found, _ = mined(row("q", "a"), corpus, Lists(0, 1, 2), Lists(3, 0, 4, 5), negatives=9)
    assert found.documents[1:] == ("0", "3", "1", "2", "4", "5")
    found, _ = mined(row("q", "a"), corpus, Lists(0, 1, 2), Lists(3, 2), negatives=9, skip=1)
    assert found.documents[1:] == ("1", "2")


def test_depth_bounds_the_search() -> None:
    found, report = mined(row("q", "a"), ["0", "1", "2"], Lists(0, 1, 2), negatives=3, depth=2)
    assert found.documents[1:] == ("0", "1")
    assert report.short == 1


def test_what_is_judged_above_the_worst_positive_by_more_than_the_margin_is_no_negative() -> None:
    judge = Fixed(good=0.9, fair=0.5, x=0.59, y=0.61, z=0.1)
    found, report = mined(row("q", "good", "fair"), ["x", "y", "z"], Lists(0, 1, 2), judge=judge, margin=0.1)
    assert found.documents == ("good", "fair", "x", "z")
    assert report.false_negatives == 1
    strict, _ = mined(row("q", "good", "fair"), ["x", "y", "z"], Lists(0, 1, 2), judge=judge, margin=-0.1)
    assert strict.documents == ("good", "fair", "z")


def test_an_embedder_judges_by_cosine() -> None:
    judge = CosineJudge(WordVectors())
    close, far = judge.judge(row("cat sat", "a"), ["the cat sat", "dogs bark"])
    assert close == pytest.approx(2 / np.sqrt(6), abs=1e-6)
    assert far == 0


def test_many_rows_are_searched_in_batches_and_keep_their_order() -> None:
    given = [row(f"cat {number}", "a") for number in range(600)]
    report = MiningReport()
    found = list(mine(iter(given), CORPUS, [Bm25(CORPUS)], MiningOptions(negatives=1), report))
    assert [one.query for one in found] == [one.query for one in given]
    assert (report.rows, report.mined) == (600, 600)


def test_the_corpus_of_rows_has_each_document_once() -> None:
    assert corpus_of([row("q", "a", "b"), row("r", "b", "c")]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"negatives": 0}, "negatives: at least 1, not 0"),
        ({"skip": -1}, "skip: at least 0, not -1"),
        ({"depth": 3, "skip": 3}, "depth: 3 leaves nothing behind the first 3"),
    ],
)
def test_options_that_leave_nothing_are_refused(options: dict[str, int], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        MiningOptions(**options)


def test_mining_in_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="corpus: empty"):
        mined(row("q", "a"), [], Lists())
    with pytest.raises(InvalidInput, match="stages: empty"):
        mined(row("q", "a"), ["x"])
