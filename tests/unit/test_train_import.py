"""Training data of other tools comes in as rows of ours, or is refused by file, line and field."""

import json
from pathlib import Path
from typing import Any

import pytest

from gigarank.errors import BadFile, InvalidInput
from gigarank.training.importers import ImportOptions, ImportReport, import_rows, tell_format
from gigarank.training.rows import Row


def write(folder: Path, *rows: Any, name: str = "data.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path, **options: Any) -> list[Row]:
    return list(import_rows(path, ImportOptions(**options), ImportReport()))


def judged(row: Row) -> list[tuple[str, float]]:
    return list(zip(row.documents, row.labels, strict=True))


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def test_swift_rows(tmp_path: Path) -> None:
    row = {
        "messages": [message("system", "find the law"), message("user", "old"), message("user", "may I park?")],
        "positive_messages": [
            [message("assistant", "yes you may")],
            [message("user", "ask"), message("assistant", "at night")],
        ],
        "negative_messages": [[message("assistant", "bread")]],
    }
    (found,) = read(write(tmp_path, row))
    assert (found.query, found.instruction) == ("may I park?", "find the law")
    assert judged(found) == [("yes you may", 1.0), ("at night", 1.0), ("bread", 0.0)]
    assert found.scores is None


def test_flagembedding_rows_keep_scores_and_prompt(tmp_path: Path) -> None:
    row = {
        "query": "q",
        "pos": ["a"],
        "neg": ["b", "c"],
        "pos_scores": [0.9],
        "neg_scores": [0.1, -2],
        "prompt": "p",
        "type": "t",
    }
    (found,) = read(write(tmp_path, row))
    assert judged(found) == [("a", 1.0), ("b", 0.0), ("c", 0.0)]
    assert found.scores == (0.9, 0.1, -2.0)
    assert (found.instruction, found.task, found.language) == ("p", "t", None)


def test_scores_of_one_side_leave_the_others_open(tmp_path: Path) -> None:
    (found,) = read(write(tmp_path, {"query": "q", "pos": ["a"], "neg": ["b"], "neg_scores": [0.5]}))
    assert found.scores == (None, 0.5)


def test_rows_with_language_and_instruction(tmp_path: Path) -> None:
    (found,) = read(write(tmp_path, {"query": "q", "pos": ["a"], "neg": [], "lang": "th", "instruction": "i"}))
    assert (found.language, found.instruction) == ("th", "i")


def test_what_a_row_does_not_say_the_options_say(tmp_path: Path) -> None:
    rows = [{"query": "q", "pos": ["a"]}, {"query": "r", "pos": ["a"], "instruction": "own", "lang": "de", "task": "own"}]
    first, second = read(write(tmp_path, *rows), instruction="given", task="given", language="en")
    assert (first.instruction, first.task, first.language) == ("given", "given", "en")
    assert (second.instruction, second.task, second.language) == ("own", "own", "de")


COLUMNS: dict[str, tuple[dict[str, Any], list[tuple[str, float]]]] = {
    "pair": ({"anchor": "q", "positive": "a"}, [("a", 1.0)]),
    "question and answer": ({"question": "q", "answer": "a"}, [("a", 1.0)]),
    "triplet": ({"anchor": "q", "positive": "a", "negative": "b"}, [("a", 1.0), ("b", 0.0)]),
    "many negatives": (
        {"query": "q", "positive": "a", "negative_1": "b", "negative_2": "c"},
        [("a", 1.0), ("b", 0.0), ("c", 0.0)],
    ),
    "mteb reranking": (
        {"query": "q", "positive": ["a", "b"], "negative": ["c", "d"]},
        [("a", 1.0), ("b", 1.0), ("c", 0.0), ("d", 0.0)],
    ),
    "labelled pair": ({"sentence1": "q", "sentence2": "a", "label": 1}, [("a", 1.0)]),
    "similarity": ({"sentence1": "q", "sentence2": "a", "score": 0.25}, [("a", 0.25)]),
    "listwise": ({"query": "q", "docs": ["a", "b"], "labels": [0, 1]}, [("a", 0.0), ("b", 1.0)]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_count_by_their_order(tmp_path: Path, kind: str) -> None:
    row, wanted = COLUMNS[kind]
    path = write(tmp_path, row)
    assert tell_format(path) == "columns"
    (found,) = read(path)
    assert found.query == "q"
    assert judged(found) == wanted


def test_labelled_pairs_of_one_query_that_follow_each_other_are_one_row(tmp_path: Path) -> None:
    rows = [("q", "a", 0), ("q", "b", 1), ("r", "c", 1), ("q", "d", 1)]
    found = read(write(tmp_path, *({"sentence1": q, "sentence2": d, "label": label} for q, d, label in rows)))
    assert [(row.query, judged(row)) for row in found] == [
        ("q", [("a", 0.0), ("b", 1.0)]),
        ("r", [("c", 1.0)]),
        ("q", [("d", 1.0)]),
    ]


def test_another_instruction_is_another_row(tmp_path: Path) -> None:
    rows = [{"anchor": "q", "positive": "a", "instruction": name} for name in ("x", "y")]
    assert [row.instruction for row in read(write(tmp_path, *rows))] == ["x", "y"]


def test_labels_are_divided_by_the_highest(tmp_path: Path) -> None:
    path = write(tmp_path, {"sentence1": "q", "sentence2": "a", "score": 4.0})
    assert read(path, highest_label=5.0)[0].labels == (0.8,)
    with pytest.raises(BadFile, match=r"data\.jsonl:1: score: must be from 0 to 1 \(highest_label\), not 4"):
        read(path)
    with pytest.raises(InvalidInput, match="highest_label: must be above 0"):
        read(path, highest_label=0.0)


@pytest.mark.parametrize("named", [True, False])
def test_a_text_s_class_is_its_positive_and_the_other_classes_are_not(tmp_path: Path, named: bool) -> None:
    names = {0: "anger", 1: "joy", 2: "fear"}
    rows = [{"text": f"t{n}", "label": n % 3, **({"label_text": names[n % 3]} if named else {})} for n in range(4)]
    path = write(tmp_path, *rows)
    assert tell_format(path) == "classes"
    found = read(path, instruction="Which emotion?", task="classification")
    wanted = [("joy", 1.0), ("anger", 0.0), ("fear", 0.0)] if named else [("1", 1.0), ("0", 0.0), ("2", 0.0)]
    assert judged(found[1]) == wanted
    assert [row.query for row in found] == ["t0", "t1", "t2", "t3"]
    assert (found[3].documents[0], found[3].instruction, found[3].task) == (wanted[1][0], "Which emotion?", "classification")


def test_one_class_or_none_says_where(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"data\.jsonl: 1 classes; from 2 to 1000 can be told apart"):
        read(write(tmp_path, {"text": "a", "label": 1}, {"text": "b", "label": 1}))
    with pytest.raises(BadFile, match=r"data\.jsonl:2: label"):
        read(write(tmp_path, {"text": "a", "label": 1}, {"text": "b", "label": True}))


def test_our_own_rows_come_back_as_they_are(tmp_path: Path) -> None:
    row = {"query": "q", "documents": ["a", "b"], "labels": [1, 0.5], "scores": [2.5, None], "task": "t", "lang": "en"}
    (found,) = read(write(tmp_path, row))
    assert found == Row("q", ("a", "b"), (1.0, 0.5), (2.5, None), None, "t", "en")


def beir(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    write(folder, {"_id": "q1", "text": "one"}, {"_id": "q2", "text": "two"}, name="queries.jsonl")
    rows = [{"_id": "d1", "title": "T", "text": "a"}, {"_id": "d2", "title": "", "text": "b"}, {"_id": "d3", "text": "c"}]
    write(folder, *rows, name="corpus.jsonl")
    lines = ["query-id\tcorpus-id\tscore", "q2\td1\t2", "q2\td3\t0", "q1\td2\t1"]
    (folder / "qrels" / "train.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_beir_folder(tmp_path: Path) -> None:
    found = read(beir(tmp_path / "set"))
    assert [(row.query, judged(row)) for row in found] == [("two", [("T\na", 1.0), ("c", 0.0)]), ("one", [("b", 1.0)])]


def test_grades_below_the_least_are_negative(tmp_path: Path) -> None:
    report = ImportReport()
    found = list(import_rows(beir(tmp_path / "set"), ImportOptions(least_grade=2, skip=True), report))
    assert [row.query for row in found] == ["two"]
    assert (report.rows, report.skipped) == (1, 1)
    assert report.first_skipped is not None
    assert report.first_skipped.endswith("train.tsv:4")


BEIR: dict[str, tuple[str, str, str]] = {
    "qrels": ("qrels/train.tsv", "q2 d1 1\n", r"train\.tsv:1: must be query, document and grade between tabs"),
    "grade": ("qrels/train.tsv", "q2\td1\thigh\n", r"train\.tsv:1: must be"),
    "query": ("qrels/train.tsv", "q9\td1\t1\n", r"train\.tsv:1: 'q9' is judged, but .*queries\.jsonl does not hold it"),
    "document": ("qrels/train.tsv", "q1\td9\t1\n", r"train\.tsv:1: 'd9' is judged, but .*corpus\.jsonl does not hold it"),
    "text": ("corpus.jsonl", '{"_id": "d1"}\n', r"corpus\.jsonl:1: text: is missing"),
}


@pytest.mark.parametrize("what", BEIR)
def test_a_broken_beir_folder_says_where(tmp_path: Path, what: str) -> None:
    name, text, said = BEIR[what]
    folder = beir(tmp_path / "set")
    (folder / name).write_text(text)
    with pytest.raises(BadFile, match=said):
        read(folder)


def test_a_split_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="splits that are here: train"):
        read(beir(tmp_path / "set"), split="test")


BAD: dict[str, tuple[Any, str]] = {
    "not json": ("{", r":2: not JSON: "),
    "too deep": ("[" * 100_000, ":2: not JSON: nested too deeply"),
    "no object": ([1], ":2: must be an object, not an array"),
    "no query": ({"pos": ["a"]}, ":2: query: is missing"),
    "empty query": ({"query": " ", "pos": ["a"]}, ":2: query: is empty"),
    "query no text": ({"query": 1, "pos": ["a"]}, ":2: query: must be a text, not a number"),
    "half a character": ({"query": "\ud800", "pos": ["a"]}, ":2: query: holds half a character"),
    "pos no list": ({"query": "q", "pos": "a"}, ":2: pos: must be a list of texts, not a string"),
    "document no text": ({"query": "q", "pos": ["a", None]}, r":2: pos\[1\]: is missing"),
    "empty document": ({"query": "q", "pos": ["a"], "neg": [""]}, r":2: neg\[0\]: is empty"),
    "too few scores": ({"query": "q", "pos": ["a"], "pos_scores": []}, ":2: pos_scores: must hold 1 numbers.*not 0 values"),
    "score no number": (
        {"query": "q", "pos": ["a"], "pos_scores": ["x"]},
        r":2: pos_scores\[0\]: must be a number, not a string",
    ),
    "score NaN": ('{"query": "q", "pos": ["a"], "pos_scores": [NaN]}', r":2: pos_scores\[0\]: must be a number, not nan"),
    "no positive": ({"query": "q", "pos": [], "neg": ["a"]}, ":2: a row without a positive document"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_row_says_where(tmp_path: Path, what: str) -> None:
    row, said = BAD[what]
    path = write(tmp_path, {"query": "q", "pos": ["a"]}, row)
    with pytest.raises(BadFile, match=said) as raised:
        read(path)
    assert str(path) in str(raised.value)


SWIFT: dict[str, tuple[dict[str, Any], str]] = {
    "no messages": ({"messages": "q"}, "messages: must be a list of messages, not a string"),
    "nobody asks": ({"messages": [message("system", "x")]}, "messages: has no user message"),
    "positive no list": ({"positive_messages": "a"}, "positive_messages: must be a list of message lists"),
    "positive empty": ({"positive_messages": [[]]}, r"positive_messages\[0\]: has no message"),
    "content no text": ({"positive_messages": [[message("assistant", None)]]}, r"positive_messages\[0\].content: is missing"),
}


@pytest.mark.parametrize("what", SWIFT)
def test_bad_swift_rows_say_where(tmp_path: Path, what: str) -> None:
    change, said = SWIFT[what]
    row = {"messages": [message("user", "q")], "positive_messages": [[message("assistant", "a")]], **change}
    with pytest.raises(BadFile, match=r":1: " + said):
        read(write(tmp_path, row), format="swift")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"sentence1": "q", "label": 1}, "columns: a query and a document are needed; there is sentence1"),
        ({"a": "q", "b": "x", "label": [1, 0]}, "label: must hold 1 numbers, one a document, not 2 values"),
        ({"a": "q", "b": ["x", "y"], "label": 1}, "label: 1 label for 2 documents"),
        ({"a": "q", "b": "x", "label": True}, "label: must be a number, not a boolean"),
        ({"a": "q", "b": 3}, "b: must be a text, not a number"),
        ({"query": "q", "documents": ["a"], "labels": [1, 0]}, "labels: must hold 1 numbers"),
        ({"query": "q", "documents": ["a"], "labels": [1], "scores": [1, 2]}, "scores: must hold 1 numbers or nulls"),
    ],
)
def test_bad_columns_and_rows_say_where(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(BadFile, match=said):
        read(write(tmp_path, row), format="rows" if "documents" in row else "columns")


OURS = {"query": "q", "documents": ["a", "b"], "labels": [1, 0]}
BAD_OURS: dict[str, tuple[dict[str, Any], str]] = {
    "label above 1": ({"labels": [5, -1]}, r"labels\[0\]: must be from 0 to 1, not 5"),
    "label below 0": ({"labels": [1, -0.5]}, r"labels\[1\]: must be from 0 to 1, not -0.5"),
    "huge label": ({"labels": [1, 10**400]}, r"labels\[1\]: must be from -3.4e\+38 to 3.4e\+38, not one of 401 digits"),
    "huge score": ({"scores": [1, -(10**400)]}, r"scores\[1\]: must be from .* not one of 401 digits"),
    "score that fp32 does not hold": ({"scores": [1e300, 0]}, r"scores\[0\]: must be from .*, not 1e\+300"),
    "misspelt field": ({"instuction": "i"}, "instuction: no such field; nearest: instruction; known: query, documents"),
    "unknown field": ({"zzz": 1}, "zzz: no such field; known: query, documents, labels, scores, instruction, task, lang"),
    "contradiction": ({"documents": ["a", "a"]}, "labels: the document 'a' stands there twice, with 1 and with 0"),
}


@pytest.mark.parametrize("what", BAD_OURS)
def test_a_row_of_ours_that_cannot_be_meant_says_where(tmp_path: Path, what: str) -> None:
    change, said = BAD_OURS[what]
    with pytest.raises(BadFile, match=rf"data\.jsonl:2: {said}"):
        read(write(tmp_path, OURS, OURS | change))


def test_a_number_of_more_digits_than_are_read_says_where(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"data\.jsonl:2: not JSON: a number of too many digits"):
        read(write(tmp_path, OURS, '{"query": "q", "documents": ["a"], "labels": [' + "1" * 5_000 + "]}"))


def test_synonyms_of_fields_are_known_in_rows_of_ours(tmp_path: Path) -> None:
    (found,) = read(write(tmp_path, OURS | {"prompt": "p", "type": "t", "language": "en"}))
    assert (found.instruction, found.task, found.language) == ("p", "t", "en")


def test_other_labels_of_our_rows_are_scaled_as_columns(tmp_path: Path) -> None:
    (found,) = read(write(tmp_path, OURS | {"labels": [3, 1.5]}), format="columns", highest_label=3.0)
    assert judged(found) == [("a", 1.0), ("b", 0.5)]


CONTRADICTING: dict[str, tuple[list[dict[str, Any]], str]] = {
    "flagembedding": ([{"query": "r", "pos": ["a", "b"], "neg": ["c", "a"]}], "with 1 and with 0"),
    "swift": (
        [
            {
                "messages": [message("user", "r")],
                "positive_messages": [[message("assistant", "a")]],
                "negative_messages": [[message("assistant", "a")]],
            }
        ],
        "with 1 and with 0",
    ),
    "columns": ([{"a": "r", "b": "a", "label": one} for one in (0.5, 1)], "with 0.5 and with 1"),
}


@pytest.mark.parametrize("kind", CONTRADICTING)
def test_a_document_with_contradicting_labels_is_refused_or_skipped(tmp_path: Path, kind: str) -> None:
    rows, said = CONTRADICTING[kind]
    path = write(tmp_path, *rows)
    with pytest.raises(BadFile, match=rf"data\.jsonl:1: labels: the document 'a' stands there twice, {said}"):
        read(path)
    report = ImportReport()
    assert list(import_rows(path, ImportOptions(skip=True), report)) == []
    assert (report.skipped, report.first_skipped) == (1, f"{path}:1")


def test_a_document_twice_with_equal_labels_stays(tmp_path: Path) -> None:
    (found,) = read(write(tmp_path, {"query": "q", "pos": ["a", "a"], "neg": ["b", "b"]}))
    assert judged(found) == [("a", 1.0), ("a", 1.0), ("b", 0.0), ("b", 0.0)]


def test_an_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"no known format has the fields id, n; known: swift"):
        tell_format(write(tmp_path, {"id": 3, "n": 4}))


def test_files_that_are_none_say_so(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="holds no rows"):
        read(write(tmp_path, "", " "))
    with pytest.raises(BadFile, match="cannot be read: No such file"):
        read(tmp_path / "nothing.jsonl")
    (tmp_path / "latin").write_bytes(b'{"query": "q", "pos": ["a"]}\n\xe4\n')
    with pytest.raises(BadFile, match="not UTF-8"):
        read(tmp_path / "latin")


def test_rows_without_a_positive_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, {"query": "q", "pos": ["a"], "neg": ["b"]}, {"query": "r", "pos": []}, {"query": "s", "pos": []})
    report = ImportReport()
    assert len(list(import_rows(path, ImportOptions(skip=True), report))) == 1
    assert report == ImportReport(rows=1, documents=2, positives=1, skipped=2, first_skipped=f"{path}:2")


def test_rows_are_streamed(tmp_path: Path) -> None:
    """The first row is there before a broken later one is read."""
    rows = import_rows(write(tmp_path, {"query": "q", "pos": ["a"]}, "{"), ImportOptions(), ImportReport())
    assert next(rows).query == "q"
    with pytest.raises(BadFile):
        next(rows)


def test_a_byte_order_mark_and_separators_inside_texts_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes('\ufeff{"query": "q", "pos": ["a\u2028b"]}\r\n\r\n{"query": "r", "pos": ["c"]}'.encode())
    assert [row.documents for row in read(path)] == [("a\u2028b",), ("c",)]
