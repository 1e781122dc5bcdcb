"""Sets and their files: what a good one gives, and that each fault is refused with its file and line."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gigarank.errors import BadFile, InvalidInput
from gigarank.evaluation.beir import read_beir
from gigarank.evaluation.sets import EvalDocument
from gigarank.evaluation.trec import read_qrels, read_run, write_qrels, write_run

CORPUS = [
    {"_id": "d1", "title": "Mars", "text": "The Red\u2028Planet.", "lang": "en"},
    {"_id": "d2", "text": "Venus", "other": [1]},
    {"_id": "d3", "title": "Only a title", "text": ""},
]
QUERIES = [{"_id": "q1", "text": "red planet", "instruction": "Find it.", "lang": "de"}, {"_id": "q2", "text": "hot"}]


def written(folder: Path, **files: str) -> Path:
    """A good set, but for the files given; names are BEIR's, with _ for the dot."""
    good = {
        "corpus_jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in CORPUS),
        "queries_jsonl": "".join(json.dumps(row) + "\n" for row in QUERIES),
        "qrels": "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td2\t1\n",
    }
    root = folder / "tiny"
    (root / "qrels").mkdir(parents=True)
    for name, text in (good | files).items():
        path = root / "qrels/test.tsv" if name == "qrels" else root / name.replace("_jsonl", ".jsonl").replace("_tsv", ".tsv")
        path.write_text(text, encoding="utf-8", newline="")
    return root


def test_a_set_is_read_with_all_that_it_says(tmp_path: Path) -> None:
    found = read_beir(written(tmp_path, README="tiny: made up | licence: none\n"))
    assert (found.name, list(found.queries), list(found.corpus)) == ("tiny", ["q1", "q2"], ["d1", "d2", "d3"])
    assert (found.queries["q1"].instruction, found.queries["q1"].language) == ("Find it.", "de")
    assert (found.queries["q2"].instruction, found.queries["q2"].language) == (None, None)
    assert found.corpus["d1"].text == "The Red\u2028Planet."
    assert found.qrels == {"q1": {"d1": 2, "d2": 0}, "q2": {"d2": 1}}
    assert (found.candidates, found.metric, found.instruction) == (None, "ndcg_cut_10", None)
    assert found.notes["readme"] == "tiny: made up | licence: none"


def test_a_passage_is_title_and_text_or_the_one_that_there_is() -> None:
    passages = [EvalDocument("d", text, title).passage for text, title in (("b", "a"), ("b", ""), ("", "a"), ("", ""))]
    assert passages == ["a\nb", "b", "a", ""]


def test_candidates_keep_their_order_and_a_pool_goes_before_a_first_stage(tmp_path: Path) -> None:
    root = written(tmp_path, candidates_bm25_tsv="query-id\tcorpus-id\nq1\td3\nq1\td1\nq2\td2\n")
    assert read_beir(root).candidates == {"q1": ("d3", "d1"), "q2": ("d2",)}
    (root / "candidates.tsv").write_text("query-id\tcorpus-id\nq2\td1\n", encoding="utf-8")
    found = read_beir(root)
    assert (found.candidates, found.notes["candidates"]) == ({"q2": ("d1",)}, "candidates.tsv")


def test_another_split_is_read_from_its_own_file(tmp_path: Path) -> None:
    root = written(tmp_path)
    (root / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td1\t1\n", encoding="utf-8")
    assert read_beir(root, "dev").qrels == {"q2": {"d1": 1}}


def test_judgments_may_be_in_trecs_own_form(tmp_path: Path) -> None:
    plain, folder = read_beir(written(tmp_path / "plain")), written(tmp_path / "trec")
    write_qrels(folder / "qrels" / "test.qrels", plain.qrels)
    (folder / "qrels" / "test.tsv").unlink()
    found = read_beir(folder)
    assert found.qrels == plain.qrels and found.fingerprint != plain.fingerprint
    (folder / "qrels" / "test.qrels").write_text("q1 0 d1 1\nq1 0 d9 1\n")
    with pytest.raises(BadFile, match=r"test\.qrels:2: corpus-id 'd9' is not in corpus\.jsonl"):
        read_beir(folder)


def test_the_fingerprint_tells_one_letter_and_nothing_but_what_was_read(tmp_path: Path) -> None:
    first = read_beir(written(tmp_path / "a")).fingerprint
    assert first == read_beir(written(tmp_path / "b", README="another readme")).fingerprint
    other = read_beir(written(tmp_path / "c", queries_jsonl='{"_id": "q1", "text": "x"}\n{"_id": "q2", "text": "y"}\n'))
    assert other.fingerprint != first
    assert len(first) == len(hashlib.sha256().hexdigest())
    pool, stage = (
        read_beir(written(tmp_path / name, **{name: "query-id\tcorpus-id\nq1\td1\n"}))
        for name in ("candidates_tsv", "candidates_bm25_tsv")
    )
    assert pool.candidates == stage.candidates
    assert pool.fingerprint != stage.fingerprint


def test_windows_line_ends_and_empty_lines_change_no_value(tmp_path: Path) -> None:
    found = read_beir(written(tmp_path, qrels="query-id\tcorpus-id\tscore\r\nq1\td1\t2\r\n\r\nq2\td2\t1\r\n"))
    assert found.qrels == {"q1": {"d1": 2}, "q2": {"d2": 1}}
    found = read_beir(written(tmp_path / "pool", candidates_tsv="query-id\tcorpus-id\r\nq1\td1\r\n"))
    assert found.candidates == {"q1": ("d1",)}


HEADER = "query-id\tcorpus-id\tscore\n"
FAULTS: dict[str, tuple[dict[str, str], str, str]] = {
    "no JSON": ({"corpus_jsonl": '{"_id": "d1", "text": "a"}\n{oops\n'}, "corpus.jsonl:2", "is no JSON"),
    "no object": ({"corpus_jsonl": "[1]\n"}, "corpus.jsonl:1", "must be a JSON object, not list"),
    "no id": ({"corpus_jsonl": '{"text": "a"}\n'}, "corpus.jsonl:1", "_id must be a text, not nothing"),
    "an empty id": ({"queries_jsonl": '{"_id": "", "text": "a"}\n'}, "queries.jsonl:1", "must not be empty"),
    "an id twice": ({"queries_jsonl": '{"_id": "q", "text": "a"}\n' * 2}, "queries.jsonl:2", "'q' stands on an earlier line"),
    "a text of another type": ({"corpus_jsonl": '{"_id": "d", "text": 3}\n'}, "corpus.jsonl:1", "text must be a text, not int"),
    "a title of another type": (
        {"corpus_jsonl": '{"_id": "d", "text": "a", "title": 3}\n'},
        "corpus.jsonl:1",
        "title must be a text, not int",
    ),
    "an empty query": ({"queries_jsonl": '\n{"_id": "q", "text": " "}\n'}, "queries.jsonl:2", "text must not be empty"),
    "no header": ({"qrels": "q1\td1\t1\n"}, "test.tsv:1", "must name the columns"),
    "blanks for tabs": ({"qrels": HEADER + "q1 d1 1\n"}, "test.tsv:2", "3 fields parted by tabs are needed, not 1"),
    "a score that is no number": ({"qrels": HEADER + "q1\td1\thigh\n"}, "test.tsv:2", "score must be a whole number"),
    "a score beyond all grades": ({"qrels": HEADER + "q1\td1\t1000001\n"}, "test.tsv:2", "from -1,000,000 to 1,000,000"),
    "an unknown query": ({"qrels": HEADER + "q1\td1\t1\nq9\td1\t1\n"}, "test.tsv:3", "'q9' is not in queries.jsonl"),
    "an unknown document": ({"qrels": HEADER + "q1\td9\t1\n"}, "test.tsv:2", "'d9' is not in corpus.jsonl"),
    "a judgment twice": ({"qrels": HEADER + "q1\td1\t1\nq1\td1\t0\n"}, "test.tsv:3", "were judged before"),
    "a candidate twice": (
        {"candidates_tsv": "query-id\tcorpus-id\nq1\td1\nq1\td1\n"},
        "candidates.tsv:3",
        "is a candidate of query q1 already",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_with_its_file_and_line(tmp_path: Path, fault: str) -> None:
    files, place, said = FAULTS[fault]
    with pytest.raises(BadFile) as refusal:
        read_beir(written(tmp_path, **files))
    assert f"{place}: " in refusal.value.message
    assert said in refusal.value.message


def test_bytes_that_are_no_utf8_and_a_file_that_is_not_there_are_refused(tmp_path: Path) -> None:
    root = written(tmp_path)
    (root / "corpus.jsonl").write_bytes(b'{"_id": "d1", "text": "a"}\n{"_id": "d2", "text": "\xff"}\n')
    with pytest.raises(BadFile, match=r"corpus\.jsonl:2: is no UTF-8"):
        read_beir(root)
    (root / "corpus.jsonl").unlink()
    with pytest.raises(BadFile, match=r"corpus\.jsonl: cannot be read: No such file"):
        read_beir(root)


def test_a_run_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.trec"
    run = {"q2": {"a": 0.1 + 0.2, "b": 7.0, "c": 0.1 + 0.2}, "q1": {"z": -1e-300}}
    write_run(path, run, "nano")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "q2 Q0 b 1 7.0 nano"
    assert [line.split()[3] for line in lines] == ["1", "2", "3", "1"]
    found = read_run(path)
    assert found == run
    assert [list(scores) for scores in found.values()] == [["b", "a", "c"], ["z"]]


def test_a_run_is_ordered_by_score_and_equal_scores_by_rank(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    path.write_text("q Q0 low 1 1.0 t\nq Q0 second 3 2.0 t\nq  Q0\tfirst 2 2.0 t\n", encoding="utf-8")
    assert list(read_run(path)["q"]) == ["first", "second", "low"]


def test_qrels_come_back_as_they_were_written(tmp_path: Path) -> None:
    qrels = {"q1": {"a": 2, "b": -1}, "q2": {"a": 0}}
    write_qrels(tmp_path / "qrels", qrels)
    assert (tmp_path / "qrels").read_text(encoding="utf-8").splitlines()[1] == "q1 0 b -1"
    assert read_qrels(tmp_path / "qrels") == qrels


@pytest.mark.parametrize(
    ("read", "line", "said"),
    [
        (read_run, "q Q0 d 1 0.5", r"6 fields are needed \(query Q0 document rank score tag\), not 5"),
        (read_run, "q Q0 d 1 high tag", "score must be a finite number, not 'high'"),
        (read_run, "q Q0 d 1 nan tag", "score must be a finite number, not 'nan'"),
        (read_run, "q Q0 d 1.5 1 tag", "rank must be a whole number, not '1.5'"),
        (read_run, "q Q0 first 2 1 tag", "document first is in the run of query q already"),
        (read_qrels, "q 0 d", r"4 fields are needed \(query 0 document relevance\), not 3"),
        (read_qrels, "q 0 d -99999999999999999999", "relevance must be from -1,000,000 to 1,000,000, not -9"),
        (read_qrels, "q 0 d yes", "relevance must be a whole number, not 'yes'"),
    ],
)
def test_a_broken_line_of_a_trec_file_is_refused(tmp_path: Path, read: Callable[[Path], object], line: str, said: str) -> None:
    path = tmp_path / "file"
    path.write_text(("q Q0 first 1 3.0 tag\n" if read is read_run else "q 0 first 1\n") + line + "\n", encoding="utf-8")
    with pytest.raises(BadFile, match=f"file:2: {said}"):
        read(path)


def test_an_id_that_a_trec_file_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for query, document, tag in (("a b", "d", "t"), ("q", "", "t"), ("q", "d", "my tag")):
        with pytest.raises(InvalidInput, match="must not be empty or hold white space"):
            write_run(tmp_path / "run", {query: {document: 1.0}}, tag)
    with pytest.raises(InvalidInput, match="white space"):
        write_qrels(tmp_path / "run", {"q": {"a\u00a0b": 1}})
    assert not (tmp_path / "run").exists()
