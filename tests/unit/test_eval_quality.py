"""The script that writes docs/quality.md: what it puts between the markers, and what it leaves alone."""

import re
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval_results import right, write_measured, write_set, wrong
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
    lines: list[str] = SCRIPT["verdicts"](rows)
    assert lines == [
        "- better (0): none",
        "- worse (2): much 0.90 → 0.10, little 0.50 → 0.40",
        "- no clear difference (1): none\\_ 0.50 → 0.50",
        "- fused above both (1): little",
    ]


def test_every_set_has_a_domain_a_licence_and_a_source() -> None:
    about: dict[str, About] = read_about(ROOT / "scripts" / "quality_sets.toml")
    assert len(about) == 24
    assert all(one.domain and one.licence and one.source and one.made for one in about.values())
    assert about["xquad-x2en"].documents == "en" and about["xquad-x2en"].language is None
    assert about["belebele-de2en"].language == "de"


def test_the_page_lists_every_set_and_names_the_command_that_makes_it() -> None:
    page = (ROOT / "docs" / "quality.md").read_text(encoding="utf-8")
    sets: dict[str, Any] = tomllib.loads((ROOT / "scripts" / "quality_sets.toml").read_text(encoding="utf-8"))
    assert all(f"| {name} | " in page for name in sets)
    assert "python scripts/quality.py sets --results results" in page
