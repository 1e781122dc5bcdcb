"""The script that says what cutting words by script is worth to BM25."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "word_cutting.py"


@pytest.fixture
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("word_cutting", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def write_set(folder: Path, documents: list[str], queries: list[str]) -> None:
    """Query n's only relevant document is document n."""
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", documents), ("queries", queries)):
        rows = [json.dumps({"_id": f"{name[0]}{n}", "text": text}) + "\n" for n, text in enumerate(texts)]
        (folder / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")
    judged = "".join(f"q{n}\tc{n}\t1\n" for n in range(len(queries)))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, encoding="utf-8")


def test_a_sentence_without_blanks_is_found_by_its_words_only_where_these_are_cut(
    tmp_path: Path, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path / "zh", ["火星是红色的行星。", "鲸鱼生活在海洋里。", "面包用面粉烤成。"], ["红色行星", "海洋里的鲸鱼"])
    write_set(tmp_path / "en", ["Mars is red.", "Whales live in the sea.", "Bread is baked."], ["red", "sea whales"])
    assert script.main(["--data", str(tmp_path / "zh"), "--data", str(tmp_path / "en")]) == 0
    chinese, english = map(json.loads, capsys.readouterr().out.splitlines())
    assert (chinese["data"], chinese["queries"], chinese["by_script"], chinese["naive"]) == ("zh", 2, 1.0, 0.0)
    assert (english["data"], english["by_script"], english["naive"]) == ("en", 1.0, 1.0)
