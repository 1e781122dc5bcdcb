"""The programs of examples/ run as they stand, offline, with nano; what they print is well formed.

Which document comes first is asserted only where nano really finds it: it is no good reranker, and the examples do not hide it.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gigarank.training.importers import ImportOptions, ImportReport, import_rows

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(path for path in EXAMPLES.glob("*.py") if "def main" in path.read_text(encoding="utf-8"))

pytestmark = pytest.mark.nano


def printed(name: str, *arguments: str) -> list[str]:
    """The lines that the example prints; warnings are errors in it, too."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "error"}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_example_is_short_and_has_a_test_here() -> None:
    tests = Path(__file__).read_text(encoding="utf-8") + Path(__file__).with_name("test_examples.py").read_text(
        encoding="utf-8"
    )
    assert len(PROGRAMS) >= 6
    for program in PROGRAMS:
        assert len(program.read_text(encoding="utf-8").splitlines()) < 60, program.name
        assert f"{program.name}" in tests, f"{program.name} is not run by a test"


def test_multilingual_search_finds_the_answer_in_five_languages(nano_folder: Path) -> None:
    rows = [re.fullmatch(r"(0\.\d{3})  (\w+)  (.+)", line) for line in printed("multilingual_search.py")]
    scores = [float(row[1]) for row in rows if row]
    assert scores == sorted(scores, reverse=True)
    assert {row[2] for row in rows if row} == {"en", "de", "fr", "es", "zh"}
    assert all(row and re.search(r"photosynth|fotos[ií]nt|光合作用", row[3], re.I) for row in rows)


def test_cross_lingual_prints_a_place_for_each_language(nano_folder: Path) -> None:
    rows = [re.fullmatch(r"(\w\w)  place (\d) of 5  (.+)", line) for line in printed("cross_lingual.py")]
    assert [row and row[1] for row in rows] == ["en", "de", "fr", "es", "zh"]
    assert all(row and 1 <= int(row[2]) <= 5 for row in rows)


def test_code_retrieval_ranks_three_functions_for_each_question(nano_folder: Path) -> None:
    lines = printed("code_retrieval.py")
    assert [line for line in lines if not line.startswith("  ")] == [lines[0], lines[4]]
    for group in (lines[1:4], lines[5:8]):
        found = [re.fullmatch(r"  (0\.\d{3})  (\w+)", line) for line in group]
        scores = [float(row[1]) for row in found if row]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(("name", "search"), [("rerank_bm25.py", "BM25"), ("rerank_vector_search.py", "vectors")])
def test_re_ranking_orders_what_the_search_found(nano_folder: Path, name: str, search: str) -> None:
    first, second = printed(name)
    assert re.match(rf"{search}: +shutil\.copytree \d\.\d\d, ", first)
    found = re.findall(r"([\w.]+) (\d\.\d\d)", second)
    scores = [float(score) for _, score in found]
    assert second.startswith("re-ranked: ")
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert "shutil.copytree" in [function for function, _ in found]


def test_the_rows_of_ones_own_domain_can_be_trained_on_and_hold_no_test_question(tmp_path: Path) -> None:
    (counts,) = printed("own_domain.py", str(tmp_path / "mine"))
    found = re.fullmatch(r"(\d+) rows, (\d+) test questions", counts)
    assert found is not None
    report = ImportReport()
    rows = list(import_rows(tmp_path / "mine" / "rows.jsonl", ImportOptions(), report))
    assert len(rows) == int(found[1]) > 3 * int(found[2]) > 300
    assert all(row.labels[0] == 1 and not any(row.labels[1:]) for row in rows)
    asked = {
        json.loads(line)["text"] for line in (tmp_path / "mine" / "test" / "queries.jsonl").read_text("utf-8").splitlines()
    }
    assert len(asked) == int(found[2])
    assert not asked & {row.query for row in rows}
