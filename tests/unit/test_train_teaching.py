"""Teachers' scores: one a document, blended by weight, kept from run to run."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gigarank.engine import bm25
from gigarank.errors import InvalidInput, NonFiniteScore
from gigarank.training.mining import Vectors
from gigarank.training.rows import Row
from gigarank.training.teaching import Blend, Bm25, Cosine, Labels, Teaches, TeachReport, taught, teach

ROWS = [
    Row("cat", ("a cat", "a dog", "a cat and a cat"), (1.0, 0.0, 0.5), instruction="find cats"),
    Row("dog", ("a dog", "stars"), (1.0, 0.0), scores=(9.0, 9.0)),
]


class Lengths:
    """A teacher that can be followed by hand, and counts what it is asked."""

    identity = "lengths"

    def __init__(self, breaks_at: int = 10_000) -> None:
        self.asked: list[str] = []
        self._breaks_at = breaks_at

    def teach(self, rows: Sequence[Row]) -> Sequence[Sequence[float]]:
        self.asked += [row.query for row in rows]
        if len(self.asked) > self._breaks_at:
            raise KeyboardInterrupt
        return [[float(len(document)) for document in row.documents] for row in rows]


def scores(tmp_path: Path, *teachers: Teaches, blend: Blend | None = None) -> list[Sequence[float | None] | None]:
    journal = tmp_path / "journal"
    teach(ROWS, teachers, journal, TeachReport())
    return [row.scores for row in taught(ROWS, teachers, journal, blend or Blend((1.0,) * len(teachers)))]


def test_one_teachers_scores_get_mean_0_and_deviation_1_by_query(tmp_path: Path) -> None:
    first, second = scores(tmp_path, Lengths())
    lengths = np.array([5.0, 5.0, 15.0])
    assert first == pytest.approx((lengths - lengths.mean()) / lengths.std())
    assert second == (0.0, 0.0)  # what does not differ says nothing


def test_raw_scores_stay_as_they_are_but_for_the_scale(tmp_path: Path) -> None:
    assert scores(tmp_path, Lengths(), blend=Blend((1.0,), raw=True)) == [(5.0, 5.0, 15.0), (5.0, 5.0)]
    assert scores(tmp_path, Lengths(), blend=Blend((3.0,), scale=2.0, raw=True))[0] == (10.0, 10.0, 30.0)


def test_several_teachers_are_a_weighted_mean_whatever_their_units(tmp_path: Path) -> None:
    both = scores(tmp_path, Lengths(), Labels(), blend=Blend((3.0, 1.0), scale=2.0))[0]
    lengths, labels = (scores(tmp_path, one)[0] for one in (Lengths(), Labels()))
    assert both is not None and lengths is not None and labels is not None
    assert both == pytest.approx([2 * (3 * (a or 0.0) + (b or 0.0)) / 4 for a, b in zip(lengths, labels, strict=True)])


def test_everything_else_of_a_row_stays(tmp_path: Path) -> None:
    teach(ROWS, [Lengths()], tmp_path / "journal", TeachReport())
    for before, after in zip(ROWS, taught(ROWS, [Lengths()], tmp_path / "journal", Blend((1.0,))), strict=True):
        assert (after.query, after.documents, after.labels) == (before.query, before.documents, before.labels)
        assert after.instruction == before.instruction


def test_bm25_scores_are_the_engines_over_rows_and_corpus(tmp_path: Path) -> None:
    documents = ["more", "a cat", "a dog", "a cat and a cat", "stars"]
    index = bm25.Bm25(documents)
    teacher = Bm25(ROWS, ["more"])
    assert teacher.teach(ROWS)[0] == pytest.approx([float(index.scores("cat")[place]) for place in (1, 2, 3)])
    assert teacher.identity != Bm25(ROWS).identity


def test_cosines_are_each_querys_with_its_own_task() -> None:
    asked: list[tuple[str | None, int]] = []

    class Embeds:
        def embed(
            self, queries: Sequence[str] | None = None, documents: Sequence[str] | None = None, *, task: str | None = None
        ) -> Vectors:
            if queries is not None:
                asked.append((task, len(queries)))
            texts = [f"{task or ''}{text}" if queries is not None else text for text in queries or documents or ()]
            rows = np.array([[text.count("cat"), text.count("dog"), 1.0] for text in texts], dtype=np.float32)
            unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            return unit

    found = Cosine(Embeds(), "known").teach(ROWS)
    query = np.array([2.0, 0.0, 1.0]) / np.sqrt(5)  # the task speaks of cats too
    assert found[0] == pytest.approx([query @ [1, 0, 1] / np.sqrt(2), query @ [0, 1, 1] / np.sqrt(2), 1.0])
    assert found[1][0] == pytest.approx(1.0)
    assert asked == [("find cats", 1), (None, 1)]


def test_a_run_that_was_ended_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    rows = [Row(f"q{number}", ("a", "bb"), (1.0, 0.0)) for number in range(80)]
    journal, first, second = tmp_path / "journal", Lengths(breaks_at=70), Lengths()
    with pytest.raises(KeyboardInterrupt):
        teach(rows, [first], journal, TeachReport())
    with journal.open("a") as file:
        file.write('{"key": "torn')
    report = TeachReport()
    counts: list[tuple[int, int]] = []
    teach(rows, [second], journal, report, lambda done, total: counts.append((done, total)))
    assert second.asked == [f"q{number}" for number in range(64, 80)]
    assert (report.rows, report.known, report.asked) == (80, 128, 32)
    assert counts == [(80, 80)]
    assert all(row.scores == pytest.approx((-1.0, 1.0)) for row in taught(rows, [second], journal, Blend((1.0,))))


def test_another_document_or_teacher_is_asked_about_anew(tmp_path: Path) -> None:
    teacher, other = Lengths(), Lengths()
    other.identity = "lengths 2"
    for rows, one in ((ROWS, teacher), (ROWS, other), ([Row("cat", ("a cat",), (1.0,))], other)):
        teach(rows, [one], tmp_path / "journal", TeachReport())
    assert (teacher.asked, other.asked) == (["cat", "dog"], ["cat", "dog", "cat"])


def test_a_score_that_is_no_number_ends_the_run_and_keeps_what_came_before(tmp_path: Path) -> None:
    class Broken(Lengths):
        def teach(self, rows: Sequence[Row]) -> Sequence[Sequence[float]]:
            return [[1.0] * len(row.documents) if row.query == "cat" else [float("nan")] * 2 for row in rows]

    with pytest.raises(NonFiniteScore, match="its score of 'dog' and document 0 is nan"):
        teach(ROWS, [Broken()], tmp_path / "journal", TeachReport())
    assert len([json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]) == 1


@pytest.mark.parametrize(
    ("weights", "more", "said"),
    [
        ((1.0, 0.0), {}, "weight: must be above 0, not 0.0"),
        ((1.0,), {"scale": float("nan")}, "scale: must be above 0, not nan"),
        ((1.0, 1.0), {"raw": True}, "raw: the scores of 2 teachers have no common unit"),
    ],
)
def test_an_impossible_blend_is_refused(weights: tuple[float, ...], more: dict[str, float], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Blend(weights, **more)  # type: ignore[arg-type]
