"""What evaluation sets hold does not get into training: n-grams of words, in every script, and a report of what was dropped."""

import pytest

from gigarank.errors import InvalidInput
from gigarank.training.overlap import EvaluationTexts, OverlapReport, without_overlap
from gigarank.training.rows import Row
from gigarank.training.words import words

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"


def texts(*found: str, size: int = 13) -> EvaluationTexts:
    known = EvaluationTexts(size)
    known.add("set", found)
    return known


def row(query: str, *documents: str, labels: tuple[float, ...] = (1.0, 0.0)) -> Row:
    return Row(query, documents, labels[: len(documents)], tuple(float(i) for i in range(len(documents))), None, None, None)


@pytest.mark.parametrize(
    ("text", "overlaps"),
    [
        (LONG, True),
        ("before it " + LONG.replace(" ", ", ").upper() + "! and after", True),
        ("one two three four five six seven eight nine ten eleven twelve", False),  # twelve words are too few, and not all
        (LONG.replace("seven", "7"), False),
        ("two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen", True),
        ("", False),
        ("?!", False),
    ],
)
def test_thirteen_words_in_a_row_overlap(text: str, overlaps: bool) -> None:
    assert (texts(LONG).find(text) == "set") == overlaps


@pytest.mark.parametrize(
    ("text", "overlaps"),
    [
        ("What is gravity?", True),
        ("what IS gravity", True),
        ("what is gravity really", False),
        ("is gravity", False),
        ("gravity is what", False),
    ],
)
def test_short_texts_overlap_where_all_their_words_are_equal(text: str, overlaps: bool) -> None:
    assert (texts("what is gravity").find(text) is not None) == overlaps


def test_a_short_text_does_not_overlap_with_a_part_of_a_long_one() -> None:
    assert texts(LONG).find("one two three") is None
    assert texts(LONG, size=3).find("zero one two three zero") == "set"


def test_scripts_without_blanks_are_compared_by_characters() -> None:
    known = texts("北京是中华人民共和国的首都和直辖市之一")
    assert known.find("众所周知，北京是中华人民共和国的首都！") == "set"
    assert known.find("上海是中国的一个城市") is None
    assert texts("ประเทศไทยมีกรุงเทพเป็นเมืองหลวง").find("เรารู้ว่าประเทศไทยมีกรุงเทพเป็นเมืองหลวงครับ") == "set"


def test_words_do_not_depend_on_case_width_or_punctuation() -> None:
    assert words("Ｈｅｌｌｏ, WORLD_x-1") == ["hello", "world", "x", "1"]
    assert words("東京 is 大") == ["東", "京", "is", "大"]


def test_the_first_set_is_named_and_sets_are_added_to() -> None:
    known = EvaluationTexts()
    known.add("a", ["what is gravity"])
    known.add("b", ["what is gravity", "who was he"])
    known.add("a", ["where are we"])
    assert [known.find(text) for text in ("what is gravity", "who was he", "where are we", "why")] == ["a", "b", "a", None]


def test_a_query_that_overlaps_takes_its_row_with_it() -> None:
    report = OverlapReport()
    rows = [row("what is gravity", "a", "b"), row("why", "a", "b")]
    assert list(without_overlap(rows, texts("what is gravity"), report)) == rows[1:]
    assert (report.kept, dict(report.dropped_rows), report.dropped_documents) == (1, {"query": 1}, 0)
    assert report.examples == [{"set": "set", "what": "query", "text": "what is gravity"}]


def test_a_document_that_overlaps_leaves_its_row_and_takes_label_and_score_with_it() -> None:
    report = OverlapReport()
    (found,) = without_overlap([row("why", "a", LONG, "c", labels=(0.0, 1.0, 1.0))], texts(LONG), report)
    assert (found.documents, found.labels, found.scores) == (("a", "c"), (0.0, 1.0), (0.0, 2.0))
    assert (report.kept, report.dropped_documents, dict(report.by_set)) == (1, 1, {"set": 1})


def test_a_row_whose_positives_all_overlap_is_dropped() -> None:
    report = OverlapReport()
    assert list(without_overlap([row("why", LONG, "b")], texts(LONG), report)) == []
    assert report.to_json()["dropped_rows"] == {"no positive left": 1}
    assert report.to_json()["dropped_documents"] == 0  # they are counted with their row


def test_the_report_shows_a_few_and_counts_all() -> None:
    report = OverlapReport()
    list(without_overlap([row("why", LONG, "b")] * 30, texts(LONG), report))
    assert len(report.examples) == 20
    assert report.by_set["set"] == 30


def test_an_empty_set_and_a_senseless_size() -> None:
    known = EvaluationTexts()
    known.add("nothing", [])
    known.add("no words", ["...", ""])
    assert known.find("any text") is None
    with pytest.raises(InvalidInput, match="size: an n-gram has at least 1 word, not 0"):
        EvaluationTexts(0)
