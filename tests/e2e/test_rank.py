"""`gigarank rank` in its own process: what is read, what is shown where, and what is refused before a model is loaded."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Program = Callable[..., CompletedProcess[str]]

LINES = "a stone\nplants make food\n\nplants grow\n"


def fields(done: CompletedProcess[str], column: int) -> list[str]:
    return [line.split("\t")[column] for line in done.stdout.splitlines()]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """One folder with a file of each form."""
    (tmp_path / "one.txt").write_text("plants\nmake food from light\n")
    (tmp_path / "rows.jsonl").write_text('{"id": 1, "body": "plants make sugar"}\n"stones"\n')
    (tmp_path / "table.csv").write_text("id,body\n1,nothing here\n2,food is made by plants\n")
    return tmp_path


def test_files_of_every_form_are_ranked_together_best_first(overlap: Program, corpus: Path) -> None:
    files = [str(corpus / name) for name in ("one.txt", "rows.jsonl", "table.csv")]
    done = overlap("rank", "plants make food", *files, "--field", "body")
    assert done.returncode == 0
    assert fields(done, 4) == [files[0], f"{files[1]}:1", f"{files[2]} row 2", f"{files[1]}:2", f"{files[2]} row 1"]
    assert fields(done, 0) == ["1", "2", "3", "4", "5"]
    assert fields(done, 2) == ["2.000000", "0.666667", "0.666667", "-2.000000", "-2.000000"]


@pytest.mark.parametrize("files", [(), ("-",)])
def test_standard_input_is_read_by_lines(overlap: Program, files: tuple[str, ...]) -> None:
    done = overlap("rank", "plants food", *files, stdin=LINES)
    assert done.returncode == 0
    assert list(zip(fields(done, 4), fields(done, 5), strict=True)) == [
        ("stdin:2", "plants make food"),
        ("stdin:4", "plants grow"),
        ("stdin:1", "a stone"),
    ]


def test_standard_input_can_have_a_form(overlap: Program) -> None:
    done = overlap("rank", "plants", "--format", "jsonl", "--field", "t", stdin='{"t": "x"}\n{"t": "plants"}\n')
    assert fields(done, 4) == ["stdin:2", "stdin:1"]


def test_standard_input_stands_among_the_files_where_it_is_named(overlap: Program, corpus: Path) -> None:
    done = overlap("rank", "plants", str(corpus / "one.txt"), "-", "--json", stdin="stdin plants\n")
    assert [result["source"]["file"] for result in json.loads(done.stdout)["results"]] == [str(corpus / "one.txt"), "-"]


def test_json_is_the_only_thing_on_standard_output(overlap: Program) -> None:
    done = overlap("rank", "plants food", "--json", "--instruction", "Find food", "--top-n", "2", stdin=LINES)
    content = json.loads(done.stdout)
    assert [result["document"] for result in content["results"]] == ["plants make food", "plants grow"]
    assert [result["index"] for result in content["results"]] == [1, 2]
    assert (content["query"], content["instruction"]) == ("plants food", "Find food")
    assert content["usage"]["documents"] == 3
    assert "nano: 3 documents" in done.stderr


def test_json_says_which_instruction_was_used_if_none_was_given(overlap: Program) -> None:
    content = json.loads(overlap("rank", "plants", "--json", stdin=LINES).stdout)
    assert content["instruction"] == "Given a web search query, retrieve relevant passages that answer the query"


def test_scripts_come_through_as_they_are(overlap: Program) -> None:
    text = "植物 نص עברית हिन्दी 👩‍👧 é e\u0301"
    done = overlap("rank", "植物", "--json", stdin=text + "\n", env={"PYTHONIOENCODING": "ascii"})
    assert text in done.stdout
    assert json.loads(done.stdout)["results"][0]["logit"] == 2.0


def test_the_footer_names_model_numerics_and_caveat_and_quiet_drops_it(overlap: Program) -> None:
    footer = overlap("rank", "plants", stdin=LINES).stderr
    assert footer.startswith("nano: 3 documents, 8 tokens, loaded in 0.0 s, ranked in 0.0 s\nfp32 on cpu: ")
    assert "note: nano is a small, mostly English model" in footer
    assert "note:" not in overlap("rank", "plants", "--model", "0.6b", stdin=LINES).stderr
    assert overlap("rank", "plants", "-q", stdin=LINES).stderr == ""


def test_what_is_cut_is_marked_and_windows_read_on(overlap: Program) -> None:
    text = "one two three four five six seven plants food\n"
    cut = overlap("rank", "plants food", "--max-tokens", "3", stdin=text)
    assert fields(cut, 3) == ["truncated"] and fields(cut, 2) == ["-2.000000"]
    assert "1 document shown here was not read to the end; --windows reads all" in cut.stderr
    windows = overlap("rank", "plants food", "--max-tokens", "3", "--windows", stdin=text)
    assert fields(windows, 3) == ["window 3/3"] and fields(windows, 2) == ["2.000000"]
    some = overlap("rank", "plants food", "--max-tokens", "3", "--windows", "--max-windows", "2", stdin=text)
    assert fields(some, 3) == ["window 1/2, truncated"]
    assert "more --max-windows read more" in some.stderr


def test_bad_usage_is_one_line_and_exit_code_2(gigarank: Program) -> None:
    """One of each kind; tests/unit/test_cli_usage.py has them all."""
    for arguments in (["rank"], ["rank", ""], ["rank", "q"], ["rank", "q", "/nowhere"], ["rank", "q", "--format", "xml"]):
        done = gigarank(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("gigarank: error: ") and done.stderr.count("\n") == 1


def test_bad_input_is_one_line_that_says_where(gigarank: Program, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "fine"}\n{"title": "x", "url": "y"}\n')
    (tmp_path / "latin.txt").write_bytes(b"first\nZ\xfcrich\n")
    row = gigarank("rank", "q", str(tmp_path / "rows.jsonl"))
    assert row.returncode == 2
    assert row.stderr.endswith("rows.jsonl:2: the row has no field 'text'; it has title, url\n")
    latin = gigarank("rank", "q", str(tmp_path / "latin.txt"))
    assert latin.returncode == 2
    assert latin.stderr.endswith("latin.txt:2: not UTF-8: byte 0xfc at offset 7\n")


def test_a_message_cannot_steer_the_terminal(gigarank: Program) -> None:
    done = gigarank("rank", "q", "no\x1b[31m\nsuch")
    assert done.stderr == "gigarank: error: documents: no\ufffd[31m such: no such file\n"


def test_debug_shows_the_traceback_and_the_same_line_and_code(gigarank: Program) -> None:
    for arguments in (["rank", "q", "/nowhere", "--debug"], ["--debug", "rank", "q", "/nowhere"]):
        done = gigarank(*arguments)
        assert done.returncode == 2
        assert "Traceback (most recent call last)" in done.stderr and "BadFile" in done.stderr
        assert done.stderr.splitlines()[-1] == "gigarank: error: documents: /nowhere: no such file"


def test_a_broken_checkpoint_is_exit_code_3(gigarank: Program, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    done = gigarank("rank", "q", "--model", str(tmp_path), stdin="a\n")
    assert done.returncode == 3
    assert done.stderr.startswith("gigarank: error: ") and done.stderr.count("\n") == 1


def test_a_model_that_is_not_here_and_cannot_be_fetched_is_exit_code_3(gigarank: Program, tmp_path: Path) -> None:
    away = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = gigarank("rank", "q", "--model", "Qwen/Qwen3-Reranker-4B", stdin="a\n", env=away)
    assert done.returncode == 3
    assert done.stderr.startswith("gigarank: error: ") and done.stderr.count("\n") == 1
    assert "Qwen/Qwen3-Reranker-4B" in done.stderr


FOUND = '{"text": "plants make food", "bm25": 1}\n{"text": "a stone", "bm25": 9.5}\n'
COLUMNS = "text,bm25\nplants make food,1\na stone,9.5\n"


@pytest.mark.parametrize(("form", "stdin"), [("jsonl", FOUND), ("csv", COLUMNS)])
def test_the_first_stages_scores_are_read_beside_the_texts(overlap: Program, form: str, stdin: str) -> None:
    given = ("rank", "plants food", "--format", form, "--first-stage", "bm25")
    light = overlap(*given, "--first-stage-weight", "0.5", stdin=stdin)
    heavy = overlap(*given, "--first-stage-weight", "2", stdin=stdin)
    assert (fields(light, 5), fields(light, 6)) == (["plants make food", "a stone"], ["0.500000", "-0.500000"])
    assert (fields(heavy, 5), fields(heavy, 6)) == (["a stone", "plants make food"], ["1.000000", "-1.000000"])


@pytest.mark.parametrize(
    ("options", "stdin", "message"),
    [
        (("--first-stage", "bm25"), "a\n", "stdin: has no field 'bm25' with the first stage's score"),
        (("--first-stage", "bm25", "--format", "jsonl"), '{"text": "a"}\n', "stdin:1: the field 'bm25' is null; a number is"),
        (("--first-stage", "bm25", "--format", "jsonl"), '{"text": "a", "bm25": "x"}\n', "the field 'bm25' is a string"),
        (("--first-stage", "bm25", "--format", "csv"), "text\na\n", "the header names 'bm25' 0 times"),
        (("--first-stage", "bm25", "--format", "csv"), "text,bm25\na,x\n", "stdin:2: the field 'bm25' is 'x'; a number is"),
        (("--first-stage", "bm25", "--format", "csv"), "text,bm25\na,nan\n", "first_stage_scores[0]: must be a finite number"),
        (("--first-stage-weight", "2"), "a\n", "--first-stage-weight needs --first-stage"),
    ],
)
def test_a_first_stage_that_cannot_be_read_is_refused(
    overlap: Program, options: tuple[str, ...], stdin: str, message: str
) -> None:
    done = overlap("rank", "q", *options, stdin=stdin)
    assert done.returncode == 2
    assert message in done.stderr
