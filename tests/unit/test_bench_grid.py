"""Speed by documents and tokens: which cells, how a figure comes of rounds, and the script on a tiny model."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

import tiny
from gigarank.bench import grid
from gigarank.bench.grid import Cell
from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.errors import InvalidInput

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "speed_grid.py"), run_name="speed_grid")


def quiet(done: int, total: int) -> None:
    pass


def test_a_figure_is_of_the_median_round() -> None:
    assert Cell(10, 40, (5.0, 1.0, 2.0)).pairs_per_second == 5.0


def test_every_cell_is_ranked_in_every_round_with_documents_of_its_own() -> None:
    model, seen, told = tiny.reranker(), [], []
    ranked = model.rank

    def rank(query: str, documents: Any, **more: Any) -> Any:
        seen.append((len(documents), sum(len(text.split()) for text in documents) / len(documents)))
        return ranked(query, documents, **more)

    model.rank = rank  # type: ignore[method-assign]
    cells = grid.measure(model, qwen_tokenizer(), (1, 4), (10, 60), repeats=2, progress=lambda *at: told.append(at))
    assert [(cell.documents, cell.tokens, len(cell.seconds)) for cell in cells] == [
        (1, 10, 2),
        (1, 60, 2),
        (4, 10, 2),
        (4, 60, 2),
    ]
    timed = [
        one for place, one in enumerate(seen) if place >= 8 or place % 2
    ]  # before each cell of the first round one warms up
    assert [count for count, _ in timed] == [1, 1, 4, 4] * 2
    assert all(0.6 * wanted <= length <= 1.4 * wanted for (_, length), wanted in zip(timed, [10, 60] * 4, strict=True))
    assert told == [(place, 8) for place in range(1, 9)]


@pytest.mark.parametrize(("documents", "tokens", "repeats"), [((0,), (10,), 1), ((1,), (), 1), ((1,), (10,), 0)])
def test_what_cannot_be_measured_is_refused(documents: tuple[int, ...], tokens: tuple[int, ...], repeats: int) -> None:
    with pytest.raises(InvalidInput, match="at least 1"):
        grid.measure(tiny.reranker(), qwen_tokenizer(), documents, tokens, repeats=repeats, progress=quiet)


def test_a_row_is_a_number_of_documents_and_a_column_a_length() -> None:
    cells = [Cell(1, 40, (0.5,)), Cell(1, 1_400, (4.0,)), Cell(30, 40, (3.0,)), Cell(30, 1_400, (60.0,))]
    assert grid.table("x, fp32", cells) == [
        "| model | documents | 40 tokens | 1,400 tokens |",
        "|---|---|---|---|",
        "| x, fp32 | 1 | 2 | 0.25 |",
        "| x, fp32 | 30 | 10 | 0.5 |",
    ]


def test_the_script_prints_the_table_and_every_round(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--shape", "nano", "--layers", "1", "--documents", "1,2", "--tokens", "8", "--repeats", "2"]
    assert SCRIPT["main"](given) == 0
    *rows, line = capsys.readouterr().out.splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["nano, 1 layers, fp32"] * 2
    assert [len(cell["seconds"]) for cell in json.loads(line)["cells"]] == [2, 2]


def test_the_script_says_what_it_cannot_measure(capsys: pytest.CaptureFixture[str]) -> None:
    assert SCRIPT["main"](["--shape", "nano", "--layers", "1", "--documents", "0"]) == 2
    assert "grid: error: documents: at least 1" in capsys.readouterr().err
