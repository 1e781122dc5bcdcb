"""How cost grows: each axis moves one thing, all steps take turns, what cannot be read is left out, and plots are files."""

import json
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from gigarank.bench import growth
from gigarank.bench.growth import QUICK, Steps, check, measure, using, workloads
from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.bench.workloads import Request, request
from gigarank.engine.reranker import Reranker
from gigarank.errors import InvalidInput
from gigarank.evaluation.plots import Line, plot_growth, to_file
from gigarank.types import EngineOptions

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "growth.py"), run_name="growth")
FEW = Steps(documents=(1, 4), document_tokens=(5, 50), query_tokens=(3, 9), threads=(1,))


@pytest.fixture(scope="module")
def model() -> Reranker:
    return tiny.reranker(options=EngineOptions(max_pair_tokens=400))


def measured(model: Reranker, steps: Steps = FEW, repeats: int = 1) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    found = measure(model, qwen_tokenizer(), steps, repeats=repeats, progress=lambda done, total: seen.append((done, total)))
    return found, seen


def test_the_axes_reach_as_far_as_is_asked() -> None:
    steps = Steps()
    assert (steps.documents[0], steps.documents[-1]) == (1, 10_000)
    assert (steps.document_tokens[0], steps.document_tokens[-1]) == (10, 32_000)
    assert steps.threads == QUICK.threads == (1, 2)
    for quick, whole in zip(
        (QUICK.documents, QUICK.document_tokens, QUICK.query_tokens),
        (steps.documents, steps.document_tokens, steps.query_tokens),
        strict=True,
    ):
        assert set(quick) <= set(whole)
        assert len(quick) < len(whole)


def test_an_axis_moves_one_thing() -> None:
    found = workloads(Steps((1, 50), (10, 32_000), (4, 64)))
    assert [(axis, value) for axis, value, _ in found] == [
        *(("documents", value) for value in (1, 50)),
        *(("document_tokens", value) for value in (10, 32_000)),
        *(("query_tokens", value) for value in (4, 64)),
    ]
    loads = [load for _, _, load in found]
    assert [load.documents for load in loads] == [1, 50, 64, 1, 16, 16]
    assert [load.tokens for load in loads] == [40, 40, 10, 32_000, 140, 140]
    assert [load.query_words for load in loads] == [12, 12, 12, 12, 4, 64]
    assert [load.spread for load in loads] == [0.4, 0.4, 0.0, 0.0, 0.4, 0.4]


def test_every_step_is_measured_once_a_round_and_counted(model: Reranker) -> None:
    found, seen = measured(model, repeats=3)
    assert found["left_out"] == []
    assert [(point["axis"], point["value"]) for point in found["points"]] == [
        ("documents", 1),
        ("documents", 4),
        ("document_tokens", 5),
        ("document_tokens", 50),
        ("query_tokens", 3),
        ("query_tokens", 9),
    ]
    assert all(len(point["seconds"]) == 3 and min(point["seconds"]) > 0 for point in found["points"])
    assert seen == [(number, 18) for number in range(1, 19)]


def test_figures_are_of_the_median_round(model: Reranker, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([0.0, 2.0, 4.0, 8.0])  # the warm-up's, then three rounds
    monkeypatch.setattr(growth, "_rank", lambda model, asked: next(taken))
    found, _ = measured(model, Steps((8,), (), (), (1,)), repeats=3)
    (point,) = found["points"]
    assert point["seconds"] == [2.0, 4.0, 8.0]
    assert point["pairs_per_second"] == 2.0
    asked = request(workloads(Steps((8,), (), ()))[0][2], qwen_tokenizer(), model.prompt)
    assert point["read_tokens_per_second"] == pytest.approx(asked.read_tokens / 4.0, rel=1e-3)


def test_what_the_model_cannot_read_is_left_out_and_said(model: Reranker) -> None:
    found, _ = measured(model, Steps((), (5, 2_000), (3, 500), (1,)))
    assert [point["value"] for point in found["points"]] == [5, 3]
    assert [(one["axis"], one["value"]) for one in found["left_out"]] == [("document_tokens", 2_000), ("query_tokens", 500)]
    assert "the model reads 400" in found["left_out"][0]["reason"]
    assert "tokens of a document 2,000 left out: a pair has " in SCRIPT["table"](found)


def test_threads_are_set_for_the_step_and_put_back(model: Reranker, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    def watched(model: Reranker, asked: Request) -> float:
        seen.append(torch.get_num_threads())
        return 1.0

    monkeypatch.setattr(growth, "_rank", watched)
    measured(model, Steps((1, 2), (), (), (1, 2)))
    assert seen == [1, 1, 2, 2, 1, 1, 2, 2]
    with pytest.raises(ValueError), using(before + 1):
        raise ValueError
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("steps", "repeats", "message"),
    [
        (Steps(documents=(0,)), 1, "documents: at least 1, not 0"),
        (Steps(document_tokens=(10, -5)), 1, "document_tokens: at least 1, not -5"),
        (Steps(threads=(1, 3)), 1, "threads: at most 2, the cores of this machine, not 3"),
        (Steps(threads=()), 1, "threads: at least one number is needed"),
        (Steps(), 0, "repeats: at least 1, not 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(steps: Steps, repeats: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check(steps, repeats, cores=2)


def test_a_plot_is_a_file_of_its_own_for_light_and_dark() -> None:
    lines = [Line("1 thread", ((1, 3.0), (10, 5.0), (100, 6.5))), Line("2 threads", ((1, 4.0), (10, 9.0), (100, 12.0)))]
    text = to_file(plot_growth(lines, "Growth <b>", "documents"))
    drawn = ET.fromstring(text)
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert "Growth &lt;b&gt;" in text
    assert "1 thread from 3 to 6.5 pairs a second; 2 threads from 4 to 12 pairs a second." in text
    assert "prefers-color-scheme:dark" in text and "--line:" in text
    assert text == to_file(plot_growth(lines, "Growth <b>", "documents"))


def test_the_script_writes_plots_a_table_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--shape", "nano", "--layers", "1", "--repeats", "1", "--out", str(tmp_path / "plots"), "--threads", "1"]
    code = SCRIPT["main"]([*given, "--documents", "1,3", "--document-tokens", "5,8000,9000", "--query-tokens", ""])
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")  # no bar where there is no terminal
    result = json.loads(printed.out.splitlines()[-1])
    assert (result["bench"], result["shape"], result["layers"], result["dtype"]) == ("growth", "nano", 1, "fp32")
    assert result["plots"] == ["documents.svg", "document-tokens.svg"]
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == sorted(result["plots"])
    for path in (tmp_path / "plots").iterdir():
        assert any("pairs a second" in text for text in ET.fromstring(path.read_text()).itertext())
    assert [(point["axis"], point["value"]) for point in result["points"]][:2] == [("documents", 1), ("documents", 3)]
    assert result["left_out"][-1]["value"] == 9_000
    assert "| documents | 3 | 1 | 3 |" in printed.out


def test_a_bad_option_of_the_script_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert SCRIPT["main"](["--shape", "nano", "--documents", "0", "--out", str(tmp_path / "none")]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "growth: error: documents: at least 1, not 0\n")
    assert not (tmp_path / "none").exists()


def test_each_axis_is_drawn_with_a_line_for_each_number_of_threads(tmp_path: Path) -> None:
    points = [
        {"axis": axis, "value": value, "threads": threads, "pairs_per_second": float(value * threads)}
        for axis in ("query_tokens", "documents")
        for value in (4, 16)
        for threads in (1, 2)
    ]
    assert SCRIPT["draw"](points, tmp_path) == ["query-tokens.svg", "documents.svg"]
    drawn = (tmp_path / "query-tokens.svg").read_text()
    assert "1 thread from 4 to 16 pairs a second; 2 threads from 8 to 32 pairs a second." in drawn
    assert "tokens of the query (logarithmic)" in drawn
