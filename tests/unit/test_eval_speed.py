"""The script that compares an evaluation's speed with the engine's: the same pairs, both timed."""

import importlib.util
import json
from pathlib import Path

import pytest

from gigarank.bench.checkpoint import write_checkpoint
from gigarank.catalogue import Shape
from gigarank.prompt import QWEN3_V1

SCRIPT = Path(__file__).parents[2] / "scripts" / "eval_speed.py"
SMALL = Shape("qwen3", 32, 2, 2, 1, 16, 48, 151_669, True, 1e6, 1e-6, 8_192)


def test_both_score_the_same_pairs_and_the_ratio_is_theirs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    specification = importlib.util.spec_from_file_location("eval_speed", SCRIPT)
    assert specification is not None and specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    data, model = tmp_path / "fish", tmp_path / "small"
    (data / "qrels").mkdir(parents=True)
    (data / "corpus.jsonl").write_text("".join(json.dumps({"_id": f"d{n}", "text": f"word{n}"}) + "\n" for n in range(6)))
    (data / "queries.jsonl").write_text("".join(json.dumps({"_id": f"q{n}", "text": f"word{n}"}) + "\n" for n in range(4)))
    (data / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{n}\td{n}\t1\n" for n in range(4)))
    pairs = "".join(f"q{n}\td{m}\n" for n in range(4) for m in range(6))
    (data / "candidates.tsv").write_text("query-id\tcorpus-id\n" + pairs)
    write_checkpoint(model, SMALL, QWEN3_V1)
    asked = ["--data", str(data), "--model", str(model), "--limit", "3", "--top-k", "5", "--repeats", "2"]
    assert script.main(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["data"], found["pairs"]) == ("small", "fish", 15)
    assert found["ratio"] == pytest.approx(found["evaluation_pairs_per_second"] / found["engine_pairs_per_second"])
