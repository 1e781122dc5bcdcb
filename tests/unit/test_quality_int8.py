"""What 8 bits cost: the script reads results, compares like with like, and says when too much was lost."""

import json
import math
import runpy
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "quality_int8.py"), run_name="quality_int8")
correlations, table, main = SCRIPT["correlations"], SCRIPT["table"], SCRIPT["main"]


def test_correlations_are_means_over_queries_of_the_candidates_that_both_scored() -> None:
    exact = {"a": {"1": 3.0, "2": 2.0, "3": 1.0}, "b": {"1": 1.0, "2": 2.0, "3": 3.0}, "one": {"1": 1.0}}
    assert correlations(exact, exact) == (pytest.approx(1.0), pytest.approx(1.0))
    other = {"a": {"1": 30.0, "2": 20.0, "3": 10.0}, "b": {"1": 3.0, "2": 2.0, "4": 9.0}}
    assert correlations(exact, other) == (pytest.approx(0.0), pytest.approx(0.0))  # 1 and -1: document 3 is left out
    assert all(math.isnan(value) for value in correlations(exact, {}))
    assert all(math.isnan(value) for value in correlations({"a": {"1": 1.0, "2": 2.0}}, {"a": {"1": 5.0, "2": 5.0}}))


def test_the_table_has_a_row_a_set_and_the_means() -> None:
    figures = {"fp32": 40.0, "queries": 3.0, "bf16": 0.5, "bf16 tau": 0.9, "bf16 rho": 0.95}
    figures |= {"int8": -0.5, "int8 tau": 0.8, "int8 rho": 0.9}
    lines = table([("one", figures), ("two", figures | {"int8": -1.5, "queries": 5.0})]).splitlines()
    assert lines[2] == "| one | 3 | 40.00 | +0.50 | 0.900 | 0.950 | -0.50 | 0.800 | 0.900 |"
    assert lines[4] == "| mean | 8 | 40.00 | +0.50 | 0.900 | 0.950 | -1.00 | 0.800 | 0.900 |"


def _dataset(folder: Path) -> None:
    documents = ["Mars is the red planet.", "Venus is hot.", "Bananas are yellow.", "Paris is in France."]
    folder.joinpath("qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": f"d{number}", "title": "", "text": text}) for number, text in enumerate(documents)]
    folder.joinpath("corpus.jsonl").write_text("\n".join(lines))
    folder.joinpath("queries.jsonl").write_text(json.dumps({"_id": "q", "text": "Which planet is red?"}))
    folder.joinpath("qrels", "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td0\t1\n")


@pytest.mark.nano
@pytest.mark.usefixtures("nano_folder")
def test_nano_is_measured_in_three_precisions_and_a_second_run_computes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _dataset(tmp_path / "data" / "toy")
    given = ["--data", str(tmp_path / "data"), "--results", str(tmp_path / "results")]
    assert main(given) in (0, 1)
    first = capsys.readouterr().out
    assert first.startswith("| set | queries | fp32 nDCG@10 | bf16, points |")
    assert "| toy | 1 |" in first
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.json")}
    assert len(times) == 3
    monkeypatch.setattr(subprocess, "run", _forbidden)
    assert main([*given, "--measured"]) in (0, 1)
    assert capsys.readouterr().out == first
    path = next(path for path in times if "int8" in path.parts)
    result = json.loads(path.read_text())
    result["metrics"]["ndcg_cut_10"]["reranked"] -= 0.02
    path.write_text(json.dumps(result))
    assert main([*given, "--measured"]) == 1
    result["set"]["fingerprint"] = "other"
    path.write_text(json.dumps(result))
    with pytest.raises(SystemExit, match="toy: the precisions were measured on different data"):
        main([*given, "--measured"])


def _forbidden(*_: object, **__: object) -> Callable[..., None]:
    raise AssertionError("nothing may run")
