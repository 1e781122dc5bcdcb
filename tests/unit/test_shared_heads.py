"""scripts/shared_heads.py: what documents of a query have in common at their heads, counted."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "shared_heads.py"), run_name="heads")
TITLE = list(range(1_000, 1_020))


def test_a_head_is_what_begins_alike_and_equal_documents_are_one() -> None:
    assert SCRIPT["heads"]([[1, 2, 3], [1, 2, 4], [1, 2, 3], [5]]) == [0, 2, 0]
    assert SCRIPT["heads"]([[1, 2], [1, 2, 3]]) == [0, 2]
    assert SCRIPT["heads"]([[9]]) == [0]


def test_documents_and_tokens_are_counted_by_the_length_of_the_head() -> None:
    three = [[*TITLE, 1, 2], [*TITLE, 3, 4], [7, 8, 9, 10, 11, 12]]
    found = SCRIPT["shared"]([three, [[5, 6]]])
    assert (found["queries"], found["documents"], found["tokens"]) == (2, 4, 52)
    assert found["heads_of_16"] == {"documents": 0.5, "tokens_saved": 0.3846}  # 20 of 52
    assert found["heads_of_32"] == {"documents": 0.0, "tokens_saved": 0.0}


def test_a_chain_of_three_saves_two_heads() -> None:
    found = SCRIPT["shared"]([[[*TITLE, place] for place in range(3)]])
    assert found["heads_of_16"] == {"documents": 1.0, "tokens_saved": round(40 / 63, 4)}


def test_without_a_document_there_is_nothing_to_share() -> None:
    assert SCRIPT["shared"]([[]])["heads_of_64"] == {"documents": 0.0, "tokens_saved": 0.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    notice = "all rights reserved by the society of red planets and of whoever else would like to have some of them too "
    texts = {"a": notice + "mars is red", "b": notice + "venus is not red", "c": "a red cake for whoever likes it"}
    made = tmp_path / "planets"
    (made / "qrels").mkdir(parents=True)
    (made / "corpus.jsonl").write_text("".join(json.dumps({"_id": one, "text": text}) + "\n" for one, text in texts.items()))
    queries = [{"_id": "q1", "text": "what is red"}, {"_id": "q2", "text": "cake"}]
    (made / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries))
    (made / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\ta\t1\nq2\tc\t1\n")
    return made


def test_a_folder_is_an_object_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert SCRIPT["main"](["--data", str(folder), "--data", str(folder), "--limit", "1"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == second
    assert (first["data"], first["top_k"], first["queries"], first["documents"]) == ("planets", 50, 1, 3)
    assert first["heads_of_16"]["documents"] == 0.6667
    assert first["heads_of_16"]["tokens_saved"] > 0.2
    assert first["heads_of_64"]["tokens_saved"] == 0.0


def test_candidates_are_as_many_as_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    SCRIPT["main"](["--data", str(folder), "--top-k", "1"])
    found = json.loads(capsys.readouterr().out)
    assert (found["queries"], found["documents"]) == (2, 2)
