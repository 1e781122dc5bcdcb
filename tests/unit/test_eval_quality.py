"""The script that writes docs/quality.md: what it puts between the markers, and what it leaves alone."""

import argparse
import re
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval_results import right, write_measured, write_set, wrong
from gigarank.evaluation.quality_page import CONTRASTS, verdicts
from gigarank.evaluation.report_data import About, read_about
from gigarank.evaluation.report_rows import Row

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "quality.py"), run_name="quality")
PAGE = "# A page\n\nbefore\n\n<!-- measured -->\nold\n<!-- /measured -->\n\nbetween\n\n<!-- sets -->\n<!-- /sets -->\n\nafter\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Runs the script over two sets of which nano wins one and loses the other; gives back the page."""
    for name, logits in (("scifact", right()), ("cacm", wrong())):
        write_measured(tmp_path / "results", write_set(tmp_path / "sets" / name), logits)
    page = tmp_path / "quality.md"

    def run(text: str = PAGE) -> str:
        page.write_text(text, encoding="utf-8")
        arguments = [str(tmp_path / "sets"), "--results", str(tmp_path / "results"), "--measured", "--page", str(page)]
        assert SCRIPT["main"](arguments) == 0
        return page.read_text(encoding="utf-8")

    return run


def test_what_stands_between_the_markers_is_made_and_the_rest_is_left(write: Callable[..., str]) -> None:
    text = write()
    assert "\nold\n" not in text
    outside = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", text, flags=re.S).split()
    assert outside == ["#", "A", "page", "before", "between", "after"]
    assert "| scifact | ndcg_cut_10 | 6 |" in text and "| scientific claims |" in text
    assert "2 of 24 sets, 12 queries, 60 pairs" in text


def test_it_says_where_nano_wins_where_it_loses_and_what_is_not_measured(write: Callable[..., str]) -> None:
    lines = write().splitlines()
    assert [line for line in lines if line.startswith("- ")][:2] == [
        "- better (1): scifact 0.66 → 1.00",
        "- worse (1): cacm 0.66 → 0.39",
    ]
    missing = re.search(r"Not measured: (.*?)\.\n\n", write(), re.S)
    assert missing and "scifact" not in missing[1] and "xquad-langinstruct" in missing[1]
    assert len(missing[1].replace("\n", " ").split(", ")) == 22


def test_writing_twice_writes_the_same(write: Callable[..., str]) -> None:
    once = write()
    assert write(once) == once


def test_lines_of_words_stay_within_the_width(write: Callable[..., str]) -> None:
    assert max(len(line) for line in write().splitlines() if not line.startswith("|")) <= 128


@pytest.mark.parametrize("name", ["measured", "sets"])
def test_a_page_without_markers_is_refused(name: str, write: Callable[..., str]) -> None:
    with pytest.raises(SystemExit, match=f"has no <!-- {name} -->"):
        write(PAGE.replace(f"<!-- /{name} -->", ""))


def a_row(name: str, first_stage: float, reranked: float, verdict: str, fused: float | None = None) -> Row:
    return Row(name, "nano", "ndcg_cut_10", 1, 40, first_stage, reranked, fused, 1.0, (0.0, 0.1), 0.5, verdict)


def test_verdicts_put_the_clearest_first_and_count_what_fusion_wins() -> None:
    rows = [
        a_row("little", 0.5, 0.4, "worse", 0.6),
        a_row("much", 0.9, 0.1, "worse", 0.8),
        a_row("none_", 0.5, 0.5, "no clear difference", None),
    ]
    lines: list[str] = verdicts(rows)
    assert lines == [
        "- better (0): none",
        "- worse (2): much 0.90 → 0.10, little 0.50 → 0.40",
        "- no clear difference (1): none\\_ 0.50 → 0.50",
        "- fused above both (1): little",
    ]


@pytest.fixture
def two_runs(tmp_path: Path) -> list[str]:
    """The arguments for two runs: the plain one is wrong everywhere, the trained one right; only the first has cisi."""
    for name in ("scifact", "xquad-en", "condaqa-polarity", "cisi"):
        data = write_set(tmp_path / "sets" / name)
        write_measured(tmp_path / "results" / "plain", data, wrong())
        if name != "cisi":
            write_measured(tmp_path / "results" / "trained", data, right())
    page = tmp_path / "quality.md"
    page.write_text(PAGE, encoding="utf-8")
    runs = ["--run", "plain=nano", "--run", f"trained=nano+{tmp_path / 'adapter'}"]
    return [str(tmp_path / "sets"), "--results", str(tmp_path / "results"), "--page", str(page), "--measured", *runs]


def made(arguments: list[str]) -> str:
    assert SCRIPT["main"](arguments) == 0
    return Path(arguments[arguments.index("--page") + 1]).read_text(encoding="utf-8")


def cells(text: str, first: str, heading: str) -> list[str]:
    """The cells of the row that begins with `first`, of the table below `heading`."""
    table = text.split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    [row] = [line for line in table.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_two_runs_stand_side_by_side_beside_the_first_stage(two_runs: list[str]) -> None:
    text = made(two_runs)
    first, plain, trained = (cells(text, name, "In short") for name in (r"first stage (BM25)", "plain", "trained"))
    assert trained[1:3] == ["1.0000", "1.0000"]
    assert float(plain[1]) < float(first[1]) < 1
    assert first[3] == "" and float(trained[3]) > float(plain[3])
    assert trained[4].startswith("1.000 (") and plain[4].startswith("0.000 (") and 0 < float(first[4][:5]) < 1
    assert "### Where plain stands against" in text and "### Where trained stands against" in text
    assert "#### plain" in text and "#### trained" in text


def test_the_second_run_is_compared_with_the_first_alone_and_fused(two_runs: list[str]) -> None:
    text = made(two_runs)
    row = cells(text, "scifact", "trained against plain")
    assert row[2:5] == ["6", "0.3869", "1.0000"] and row[6:] == ["better", "6", "0"]
    assert cells(text, "mean over sets", "trained against plain")[3:5] == ["0.3869", "1.0000"]
    assert float(cells(text, "scifact", "trained against plain, fused")[4]) > float(row[3])


def test_the_rows_of_one_set_stand_together_in_the_runs_order(two_runs: list[str]) -> None:
    table = made(two_runs).split("### By set\n", 1)[1].split("\n#", 1)[0]
    rows = [line.split(" | ")[:2] for line in table.splitlines() if line.startswith("| ")][2:]
    assert [name.strip("| ") for name, _ in rows][:4] == ["condaqa-polarity", "condaqa-polarity", "scifact", "scifact"]
    assert [model for _, model in rows] == ["plain", "trained"] * 4


def test_a_set_that_one_run_lacks_is_named_and_compared_nowhere(two_runs: list[str]) -> None:
    text = made(two_runs)
    assert "3 of 24 sets" in text and "Not measured by every run, so left out: cisi." in text
    assert "| cisi |" not in text.split("<!-- /measured -->")[0]


def test_runs_that_share_no_set_are_refused(two_runs: list[str], tmp_path: Path) -> None:
    for path in (tmp_path / "results" / "trained" / "nano").iterdir():
        path.rename(path.with_name(path.name.replace("scifact", "other")))
    write_measured(tmp_path / "results" / "third", tmp_path / "sets" / "cisi", right())
    with pytest.raises(SystemExit, match="quality: runs: plain, trained, third have no set in common"):
        SCRIPT["main"]([*two_runs, "--run", "third=nano"])


def test_single_sets_are_printed_and_leave_the_page_alone(
    two_runs: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCRIPT["main"].__globals__, "PAGE", Path("not", "there"))
    place = two_runs.index("--page")
    assert SCRIPT["main"]([*two_runs[:place], *two_runs[place + 2 :], "--set", "scifact"]) == 0
    text = capsys.readouterr().out
    assert "1 of 1 sets, 6 queries" in text and "| xquad-en |" not in text and "Not measured" not in text


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("nano", ("nano", "nano", None)),
        ("trained=nano+runs/a", ("trained", "nano", Path("runs/a"))),
        ("big=Qwen/Qwen3-Reranker-4B", ("big", "Qwen/Qwen3-Reranker-4B", None)),
        ("=nano", None),
        ("trained=", None),
    ],
)
def test_a_run_is_a_name_a_model_and_an_adapter(text: str, spec: tuple[str, str, Path | None] | None) -> None:
    if spec is None:
        with pytest.raises(argparse.ArgumentTypeError, match="must be NAME=MODEL"):
            SCRIPT["run_spec"](text)
    else:
        found = SCRIPT["run_spec"](text)
        assert (found.name, found.model, found.adapter) == spec


def test_what_is_run_is_the_command_that_the_page_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    class Done:
        returncode = 3

    def record(command: list[str], **_: Any) -> Done:
        asked.append(command[command.index("eval") :])
        return Done()

    monkeypatch.setattr(SCRIPT["main"].__globals__["subprocess"], "run", record)
    with pytest.raises(SystemExit) as ended:
        SCRIPT["main"]([str(tmp_path), "--set", "cacm", "--run", "trained=nano+here", "--limit", "70", "--top-k", "30"])
    assert ended.value.code == 3
    with pytest.raises(SystemExit):
        SCRIPT["main"]([str(tmp_path), "--full", "--adapter", "somewhere/steps-9"])
    short, full = (" ".join(command) for command in asked)
    assert f"--data {tmp_path / 'cacm'} --model nano --adapter here --limit 70 --top-k 30 --max-tokens 2048 --fuse" in short
    assert short.endswith(f"--output {Path('results', 'trained')}")
    assert "--model nano --full --max-tokens 2048 --fuse" in full and "--limit" not in full
    assert full.endswith(f"--output {Path('results-full', 'nano')}")


def test_two_runs_need_two_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        SCRIPT["main"]([str(tmp_path), "--run", "nano", "--run", "nano"])
    assert "two runs need two names, not nano, nano" in capsys.readouterr().err


def test_every_set_has_a_domain_a_licence_and_a_source() -> None:
    about: dict[str, About] = read_about(ROOT / "scripts" / "quality_sets.toml")
    assert len(about) == 24
    assert all(one.domain and one.licence and one.source and one.made for one in about.values())
    assert about["xquad-x2en"].documents == "en" and about["xquad-x2en"].language is None
    assert about["belebele-de2en"].language == "de"
    solved = {name for name, one in about.items() if one.solved_by}
    assert solved == {"xquad-en", "xquad-de", "xquad-zh", "xquad-th", "jsquad"}
    assert set(CONTRASTS) < set(about)


def test_the_page_lists_every_set_and_names_the_command_that_makes_it() -> None:
    page = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8")
    sets: dict[str, Any] = tomllib.loads((ROOT / "scripts" / "quality_sets.toml").read_text(encoding="utf-8"))
    assert all(f"| {name} | " in page for name in sets)
    assert "python scripts/quality.py sets --results results" in page
