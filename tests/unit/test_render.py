"""Rendering: the table, the lines, the JSON object and the footer say the same thing, each for its reader."""

import json
import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from gigarank.cli import render
from gigarank.cli.documents import Document, Source
from gigarank.cli.render import Answer, footer, how_much, short_labels, to_json, to_lines, to_table
from gigarank.cli.terminal import cut_left
from gigarank.types import Numerics, Ranking, Score, Usage, Window

NUMERICS = Numerics("cpu", "fp32", "packed", "blocked", True, 1e-6, ("no CUDA device", "fp32 is exact on this CPU", "kernels"))
USAGE = Usage(documents=3, prefix_tokens=60, document_tokens=1_234, total_tokens=1_321)
DOCUMENTS = (
    Document("first\ttext\nof\u2028three lines", Source("notes.jsonl", line=4)),
    Document("植物はどうやって食べ物を作るのか", Source("a/very/long/path/to/the/folder/of/植物.txt")),
    Document("", Source("-", line=1)),
)
SCORES = (
    Score(index=1, relevance_score=0.75, logit=1.0986123, tokens=12, truncated=False),
    Score(index=0, relevance_score=1.5e-9, logit=-20.25, tokens=400, truncated=True),
    Score(index=2, relevance_score=0.0, logit=-200.0, tokens=0, truncated=False, window=Window(1, 5, 100, 200)),
)
ANSWER = Answer(Ranking("nano", "how?", SCORES, USAGE), DOCUMENTS, "the task", NUMERICS, (1.25, 0.5))

_STYLES = re.compile(r"\x1b\[[0-9;]*m")


def plain_table(answer: Answer, width: int) -> list[str]:
    return _STYLES.sub("", to_table(answer, width)).splitlines()


def of_one(document: Document, score: Score = SCORES[0]) -> Answer:
    """An answer with a single result."""
    ranking = Ranking("nano", "how?", (replace(score, index=0),), USAGE)
    return Answer(ranking, (document,), "the task", NUMERICS)


def test_json_is_one_object_with_the_documented_fields_in_their_order() -> None:
    text = to_json(ANSWER)
    content = json.loads(text)
    assert text.count("\n") == 1 and text.endswith("\n")
    assert list(content) == ["model", "query", "instruction", "results", "usage", "numerics"]
    assert (content["model"], content["query"], content["instruction"]) == ("nano", "how?", "the task")
    assert content["results"][0] == {
        "index": 1,
        "relevance_score": 0.75,
        "logit": 1.0986123,
        "tokens": 12,
        "truncated": False,
        "document": DOCUMENTS[1].text,
        "source": {"file": "a/very/long/path/to/the/folder/of/植物.txt"},
    }
    assert content["results"][1]["document"] == DOCUMENTS[0].text
    assert content["results"][1]["source"] == {"file": "notes.jsonl", "line": 4}
    assert content["usage"] == {"documents": 3, "prefix_tokens": 60, "document_tokens": 1234, "total_tokens": 1321}
    assert content["numerics"]["reasons"] == list(NUMERICS.reasons)


WINDOW_JSON = {"index": 1, "count": 5, "start": 100, "stop": 200}


def test_json_has_a_window_only_where_there_is_one() -> None:
    results = json.loads(to_json(ANSWER))["results"]
    assert [result.get("window") for result in results] == [None, None, WINDOW_JSON]
    assert ["window" in result for result in results] == [False, False, True]


def test_json_leaves_scripts_as_they_are() -> None:
    assert "植物はどうやって食べ物を作るのか" in to_json(ANSWER)


def test_lines_have_six_fields_each_best_first() -> None:
    rows = [line.split("\t") for line in to_lines(ANSWER).split("\n")]
    assert rows.pop() == [""]
    assert rows == [
        ["1", "0.75", "1.098612", "whole", "a/very/long/path/to/the/folder/of/植物.txt", DOCUMENTS[1].text],
        ["2", "1.5e-09", "-20.250000", "truncated", "notes.jsonl:4", "first text of three lines"],
        ["3", "0", "-200.000000", "window 2/5", "stdin:1", ""],
    ]


@pytest.mark.parametrize("character", ["\t", "\n", "\r", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_no_text_breaks_a_line(character: str) -> None:
    document = Document(f"a{character}b", Source(f"f{character}g"))
    assert to_lines(of_one(document)) == "1\t0.75\t1.098612\twhole\tf g\ta b\n"


def test_how_much_was_read() -> None:
    window = Window(0, 3, 0, 100)
    assert how_much(SCORES[0]) == ""
    assert how_much(replace(SCORES[0], truncated=True)) == "truncated"
    assert how_much(replace(SCORES[0], window=window)) == "window 1/3"
    assert how_much(replace(SCORES[0], window=window, truncated=True)) == "window 1/3, truncated"


def test_the_table_shows_rank_bar_probability_logit_source_and_first_words() -> None:
    heading, first, second, third = plain_table(ANSWER, 100)
    assert heading.split() == ["#", "score", "prob.", "logit", "source", "document"]
    assert first.startswith("1  ███████▌    0.7500    +1.10  植物.txt  ")
    assert first.rstrip().endswith("植物.txt       植物はどうやって食べ物を作るのか")
    assert second.startswith("2              0.0000   -20.25  notes.jsonl:4  ")
    assert second.rstrip().endswith("[truncated] first text of three lines")
    assert third.rstrip().endswith("stdin:1        [window 2/5]")


@pytest.mark.parametrize("width", [72, 80, 100, 200])
def test_every_line_of_the_table_fills_the_same_cells(width: int) -> None:
    assert {cell_len(line) for line in plain_table(ANSWER, width)} == {width}


def test_a_narrow_terminal_costs_words_but_no_number() -> None:
    for line, logit in zip(plain_table(ANSWER, 48)[1:], ["+1.10", "-20.25", "-200.00"], strict=True):
        assert re.search(rf" 0\.\d{{4}} +{re.escape(logit)} ", line)
        assert cell_len(line) <= 48


def test_the_columns_stand_under_each_other_whatever_the_script() -> None:
    heading, *rows = plain_table(ANSWER, 110)
    start = cell_len(heading[: heading.index("document")])
    for row, words in zip(rows, ["植物は", "[truncated]", "[window"], strict=True):
        assert cell_len(row[: row.index(words)]) == start


def test_a_long_document_ends_in_an_ellipsis_and_stays_on_its_line() -> None:
    lines = plain_table(of_one(Document("word " * 10_000, Source("a.txt"))), 80)
    assert len(lines) == 2
    assert lines[1].startswith("1  ███████▌    0.7500  +1.10  a.txt   word word")
    assert lines[1].endswith("…") and cell_len(lines[1]) == 80


@pytest.mark.parametrize("hostile", ["\x1b[2Jgone", "\x07", "\x9b31m", "a\u202eb", "\x00", "\u2066"])
def test_no_text_steers_the_terminal(hostile: str) -> None:
    table = to_table(of_one(Document(f"<{hostile}>", Source(f"[{hostile}]"))), 100)
    allowed = _STYLES.sub("", table)
    assert "\N{REPLACEMENT CHARACTER}" in allowed
    assert not set(allowed) & set("\x1b\x07\x9b\u202e\x00\u2066")


def test_brackets_are_text_and_no_markup() -> None:
    line = plain_table(of_one(Document("[bold]x[/bold] :smile:", Source("[red]a.txt"))), 100)[1]
    assert "[bold]x[/bold] :smile:" in line and "[red]a.txt" in line


@pytest.mark.parametrize(("probability", "bar"), [(0.0, ""), (1e-6, ""), (0.05, "▌"), (0.5, "█████"), (1.0, "█" * 10)])
def test_the_bar_is_as_long_as_the_probability(probability: float, bar: str) -> None:
    line = plain_table(of_one(Document("x", Source("a")), replace(SCORES[0], relevance_score=probability)), 80)[1]
    assert line[3:13].rstrip() == bar


@pytest.mark.parametrize(
    ("text", "cells", "shown"),
    [("short", 5, "short"), ("a/b/c.txt:12", 8, "….txt:12"), ("路径/文件", 9, "路径/文件"), ("路径/文件", 6, "…/文件")],
)
def test_a_source_is_cut_at_its_left(text: str, cells: int, shown: str) -> None:
    assert cut_left(text, cells) == shown


def test_the_table_leaves_folders_out_where_names_suffice() -> None:
    rows, texts = Source("data/rows.jsonl", line=3), Source("data/more/a.txt")
    assert short_labels([rows, texts, rows]) == ["rows.jsonl:3", "a.txt", "rows.jsonl:3"]
    assert short_labels([Source("x/a.txt"), Source("y/a.txt")]) == ["x/a.txt", "y/a.txt"]
    assert short_labels([Source("-", line=1), Source("b.csv", row=2)]) == ["stdin:1", "b.csv row 2"]


def test_the_footer_says_model_numerics_amounts_and_times() -> None:
    first, second, *_ = footer(ANSWER).splitlines()
    assert first == "nano: 3 documents, 1,321 tokens, loaded in 1.2 s, ranked in 0.5 s"
    assert second == "fp32 on cpu: no CUDA device; fp32 is exact on this CPU"


def test_the_footer_warns_of_nano_and_says_how_to_switch_and_of_no_other() -> None:
    assert "--model Qwen/Qwen3-Reranker-0.6B" in footer(ANSWER).splitlines()[-1]
    for name in ("qwen3-reranker-0.6b", "Qwen/Qwen3-Reranker-4B", "my-folder"):
        other = replace(ANSWER, ranking=replace(ANSWER.ranking, model=name))
        assert "note:" not in footer(other)


def test_the_footer_counts_what_was_cut_and_says_what_to_do() -> None:
    cut = replace(SCORES[0], truncated=True)

    def of(*scores: Score) -> str:
        return footer(replace(ANSWER, ranking=replace(ANSWER.ranking, results=scores)))

    assert "cut" not in of(SCORES[0]) and "not read" not in of(SCORES[0], SCORES[2])
    assert "1 document shown here was not read to the end; --windows reads all" in of(cut, SCORES[0])
    windowed = replace(cut, window=Window(0, 2, 0, 9))
    assert "2 documents shown here were not read to the end; more --max-windows read more" in of(cut, windowed)


def test_the_footer_tells_who_ranked_a_whole_file_of_lines() -> None:
    hint = "--format lines ranks its lines"
    assert hint in footer(of_one(Document("one\ntwo\n", Source("a.txt"))))
    assert hint not in footer(of_one(Document("one", Source("a.txt"))))
    several = [Document("one\ntwo", Source("a.txt")), DOCUMENTS[1], DOCUMENTS[2]]
    assert hint not in footer(replace(ANSWER, documents=several))
    assert hint not in footer(of_one(Document("one\ntwo", Source("a.jsonl", line=1))))
    assert hint not in footer(of_one(Document("one\ntwo", Source("a.csv", row=1))))


def test_one_is_not_a_plural() -> None:
    usage = replace(USAGE, documents=1, total_tokens=1)
    answer = replace(ANSWER, ranking=replace(ANSWER.ranking, usage=usage))
    assert render.footer(answer).startswith("nano: 1 document, 1 token, ")


def test_a_calibrated_probability_stands_beside_the_others_and_moves_nothing() -> None:
    calibrated = replace(ANSWER, calibrate=lambda logit: 0.125 if logit > 0 else 0.875)
    results = json.loads(to_json(calibrated))["results"]
    assert [result.pop("calibrated") for result in results] == [0.125, 0.875, 0.875]
    assert results == json.loads(to_json(ANSWER))["results"]
    rows = [line.split("\t") for line in to_lines(calibrated).splitlines()]
    assert [row[6] for row in rows] == ["0.125", "0.875", "0.875"]
    assert [row[:6] for row in rows] == [line.split("\t") for line in to_lines(ANSWER).splitlines()]
    table = plain_table(calibrated, 120)
    assert "calibrated" in table[0] and "0.1250" in table[1]
    assert "calibrated" not in plain_table(ANSWER, 120)[0] and "calibrated" not in to_json(ANSWER)


def test_a_fused_score_is_shown_only_where_there_is_one() -> None:
    fused = replace(ANSWER, ranking=replace(ANSWER.ranking, results=tuple(replace(one, fused=1.25) for one in ANSWER.ranking)))
    assert [result.pop("fused") for result in json.loads(to_json(fused))["results"]] == [1.25] * 3
    assert [line.split("\t")[6] for line in to_lines(fused).splitlines()] == ["1.250000"] * 3
    table = plain_table(fused, 120)
    assert "fused" in table[0] and "+1.25" in table[1]
    assert "fused" not in plain_table(ANSWER, 120)[0] and "fused" not in to_json(ANSWER)
