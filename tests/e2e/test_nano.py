"""nano itself, through the installed program: the shipped example, what is cut, what is interrupted."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, CompletedProcess

import pytest

from gigarank import Reranker

pytestmark = [pytest.mark.nano, pytest.mark.usefixtures("nano_folder")]

Program = Callable[..., CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "multilingual.jsonl"
CASES = ROOT / "recipes" / "nano" / "cases_plain.jsonl"
QUERIES = ["How do plants turn sunlight into energy?", "How do plants make their own food?"]


@pytest.mark.parametrize("query", QUERIES)
def test_the_example_puts_photosynthesis_first_in_all_five_languages(gigarank: Program, query: str) -> None:
    done = gigarank("rank", query, str(EXAMPLE), "--json")
    results = json.loads(done.stdout)["results"]
    rows = [json.loads(line) for line in EXAMPLE.read_text(encoding="utf-8").split("\n") if line]
    assert len(results) == len(rows) == 11
    assert {rows[result["index"]]["language"] for result in results[:5]} == {"en", "de", "fr", "es", "zh"}
    for result in results[:5]:
        assert any(word in result["document"].lower() for word in ("photosynth", "fotosíntesis", "光合作用"))
    assert results[4]["logit"] - results[5]["logit"] > 0.05  # no coin's toss
    assert "python" in {row["language"] for row in rows}


def test_nine_of_ten_plain_questions_have_the_right_document_first() -> None:
    reranker = Reranker.load("nano")
    cases = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    right = [case["query"] for case in cases if reranker.rank(case["query"], case["documents"])[0].index == case["best"]]
    assert (len(cases), len(right)) == (10, 9), right


def test_the_json_of_a_real_model(gigarank: Program) -> None:
    done = gigarank("rank", "plants", "--json", "--top-n", "1", stdin="Plants are green.\nStones are grey.\n")
    content = json.loads(done.stdout)
    assert done.returncode == 0 and done.stdout.count("\n") == 1
    assert (content["model"], content["query"], len(content["results"])) == ("nano", "plants", 1)
    assert set(content["results"][0]) == {
        "index",
        "relevance_score",
        "logit",
        "tokens",
        "truncated",
        "document",
        "source",
    }
    assert set(content["usage"]) == {"documents", "prefix_tokens", "document_tokens", "total_tokens"}
    assert (content["numerics"]["dtype"], content["numerics"]["device"]) == ("fp32", "cpu")


def test_the_instruction_reaches_the_model(gigarank: Program) -> None:
    def logit(*more: str) -> float:
        done = gigarank("rank", "plants", "--json", *more, stdin="Plants are green.\n")
        return float(json.loads(done.stdout)["results"][0]["logit"])

    assert logit() == logit("--instruction", "Given a web search query, retrieve relevant passages that answer the query")
    assert logit() != logit("--instruction", "Find texts about geology")


def test_a_document_that_does_not_fit_is_cut_or_read_in_windows(gigarank: Program) -> None:
    text = "Stones are grey. " * 40 + "Plants are green.\n"
    cut = gigarank("rank", "plants", "--max-tokens", "128", stdin=text)
    assert cut.stdout.split("\t")[3] == "truncated"
    assert "not read to the end" in cut.stderr
    windows = gigarank("rank", "plants", "--max-tokens", "128", "--windows", "--overlap-tokens", "8", stdin=text)
    assert windows.stdout.split("\t")[3].startswith("window ")


def test_a_query_that_leaves_no_room_is_bad_input(gigarank: Program) -> None:
    done = gigarank("rank", "plants " * 200, "--max-tokens", "128", stdin="a\n")
    assert done.returncode == 2
    assert done.stderr.startswith("gigarank: error: ") and done.stderr.count("\n") == 1
    assert "128" in done.stderr


def test_the_limit_of_the_model_is_named(gigarank: Program) -> None:
    done = gigarank("rank", "plants", "--max-tokens", "100000", stdin="a\n")
    assert done.returncode == 2
    assert "8192" in done.stderr.replace(",", "") and done.stderr.count("\n") == 1


def test_models_lists_nano_as_present_and_get_is_idempotent(gigarank: Program, nano_folder: Path) -> None:
    listed = {model["name"]: model for model in json.loads(gigarank("models", "--json").stdout)["models"]}
    assert listed["nano"]["folder"] == str(nano_folder)
    before = {path: path.stat().st_mtime_ns for path in nano_folder.iterdir()}
    done = gigarank("models", "get", "nano")
    assert (done.returncode, done.stdout) == (0, f"{nano_folder}\n")
    assert {path: path.stat().st_mtime_ns for path in nano_folder.iterdir()} == before


def test_ctrl_c_while_a_model_computes(gigarank_command: list[str]) -> None:
    """The signal comes after all input is read, while the model loads or computes."""
    command = [*gigarank_command, "rank", "plants"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env={**os.environ, "PYTHONWARNINGS": ""}) as process:
        assert process.stdin and process.stdout and process.stderr
        for number in range(400):  # different ones: equal pairs are computed once
            process.stdin.write(b"%d plants are green and make food from light. " % number * 20 + b"\n")
        process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(12)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stdout.read() == b""
        assert process.stderr.read() == b"gigarank: error: interrupted\n"
