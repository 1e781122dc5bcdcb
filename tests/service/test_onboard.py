"""`gigarank admin onboard` and `catalogue`: steps in their order, each done once, a failure that is kept, and a live model."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from gigarank.cli import app, failures
from gigarank.cli.onboard import OnboardOptions, carry_out, plan_of
from gigarank.errors import InvalidInput
from gigarank.service.catalogue.steps import steps_of

FOUND: dict[str, Any] = {
    "doctor": {"model": "nano", "passed": True},
    "bench": {"bench": "engine", "machine": {"cpu": "x"}},
    "eval": {"rows": [{"task": "set", "ndcg_at_10": 0.5}]},
}


class Commands:
    """Answers as the program does; `fails` are exit codes and what is said, by command."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.fails: dict[str, tuple[int, str]] = {}

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        assert command[0] == sys.executable and command[-1] == "--json"
        words = tuple(command[3:-1])
        self.asked.append(words)
        code, said = self.fails.get(words[0], (0, ""))
        out = f"a table\n{json.dumps(FOUND[words[0]])}\n" if not code else ""
        return subprocess.CompletedProcess(command, code, out, said)


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
def admin(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Any]:
    """Runs `gigarank admin` with --json and gives its object, or with `code` its error line."""

    def type_in(*words: str, code: int = 0) -> Any:
        assert failures.run(app, ["admin", *words, "--state-dir", str(tmp_path), "--json"]) == code
        out, err = capfdbinary.readouterr()
        return err.decode() if code == 2 else json.loads(out)

    return type_in


def options(tmp_path: Path, **more: Any) -> OnboardOptions:
    return OnboardOptions(**{"model": "nano", "data": [tmp_path / "set"], "state_dir": str(tmp_path), "json": True, **more})


def test_all_steps_make_a_model_live_with_what_they_found(
    admin: Callable[..., Any], commands: Commands, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    carry_out(options(tmp_path, limit=7, docs=3, results=tmp_path / "out"), commands)
    shown = json.loads(capfdbinary.readouterr().out)
    assert (shown["model"], shown["state"], shown["reason"]) == ("nano", "live", None)
    assert [(one["step"], one["result"]) for one in shown["figures"]] == [
        ("doctor", FOUND["doctor"]),
        ("bench", FOUND["bench"]),
        ("evaluation", FOUND["eval"]),
    ]
    assert shown["figures"][1]["command"] == ["gigarank", *commands.asked[1]] and shown["figures"][1]["at"] >= shown["created"]
    assert commands.asked == [
        ("doctor", "nano"),
        ("bench", "engine", "--shape", "nano", "--workload", "short", "--docs", "3", "--repeats", "1"),
        ("eval", "run", "--model", "nano", "--data", f"{tmp_path}/set", "--limit", "7", "--output", f"{tmp_path}/out"),
    ]
    (listed,) = admin("catalogue", "list")["models"]
    assert (listed["model"], listed["state"], len(listed["figures"])) == ("nano", "live", 3)
    with pytest.raises(InvalidInput, match="nano is live"):
        carry_out(options(tmp_path), commands)


@pytest.mark.parametrize(
    ("step", "state", "done"), [("doctor", "benchmarking", 0), ("bench", "benchmarking", 1), ("eval", "onboarding", 2)]
)
def test_a_step_that_fails_keeps_its_reason_and_the_next_try_goes_on_there(
    admin: Callable[..., Any], commands: Commands, tmp_path: Path, step: str, state: str, done: int
) -> None:
    commands.fails[step] = (3, "warning: x\ngigarank: error: no such thing\n")
    with pytest.raises(typer.Exit):
        carry_out(options(tmp_path), commands)
    (shown,) = _listed(admin)
    named = "evaluation" if step == "eval" else step
    assert (shown["state"], shown["reason"]) == (state, f"{named}: exit code 3: gigarank: error: no such thing")
    assert len(shown["figures"]) == done and len(commands.asked) == done + 1
    commands.fails.clear()
    commands.asked.clear()
    carry_out(options(tmp_path), commands)
    assert [words[0] for words in commands.asked] == ["doctor", "bench", "eval"][done:]


def _listed(admin: Callable[..., Any]) -> Any:
    return admin("catalogue", "list")["models"]


def test_what_says_no_json_has_failed(commands: Commands, tmp_path: Path, admin: Callable[..., Any]) -> None:
    def silent(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, "all is well\n", "")

    with pytest.raises(typer.Exit):
        carry_out(options(tmp_path), silent)
    assert _listed(admin)[0]["reason"] == "doctor: its last line is no JSON object"


def test_what_is_missing_is_told_before_anything_is_done(commands: Commands, tmp_path: Path) -> None:
    for more, said in (
        ({"data": None}, "data: folders"),
        ({"suite": "MTEB-R"}, "and not both"),
        ({"model": "a/b"}, "shape: a/b is no known model"),
        ({"model": "x y"}, "model: OWNER/NAME"),
    ):
        with pytest.raises(InvalidInput, match=said):
            carry_out(options(tmp_path, **more), commands)
    assert commands.asked == []
    doctor, bench, evaluation = steps_of(plan_of(options(tmp_path, model="a/b", shape="4b", load="/models/b"), "a/b"))
    assert doctor.command == ("doctor", "/models/b") and bench.command[3] == "4b" and "/models/b" in evaluation.command
    suite = steps_of(plan_of(options(tmp_path, data=None, suite="MTEB-R"), "nano"))[2].command
    assert suite[:6] == ("eval", "run", "--model", "nano", "--suite", "MTEB-R")
    for step in steps_of(plan_of(options(tmp_path, model="8b", dtype="int8"), "qwen3-reranker-8b")):
        assert step.command[-2:] == ("--dtype", "int8")
    with pytest.raises(InvalidInput, match="dtype: must be one of fp32, bf16, int8, not 'fp8'"):
        steps_of(plan_of(options(tmp_path, dtype="fp8"), "nano"))


def test_the_operator_proposes_moves_and_retires(admin: Callable[..., Any]) -> None:
    assert admin("catalogue", "propose", "Qwen/Qwen3-Reranker-8B")["model"] == "qwen3-reranker-8b"
    assert "may become benchmarking, retired" in admin("catalogue", "move", "8b", "live", code=2)
    assert "state: one of proposed" in admin("catalogue", "move", "8b", "asleep", code=2)
    assert "only what is live" in admin("catalogue", "retire", "8b", "--at", "2100-01-01", code=2)
    for state in ("benchmarking", "onboarding", "live"):
        assert admin("catalogue", "move", "8b", state)["state"] == state
    assert "--at: is over" in admin("catalogue", "retire", "8b", "--at", "2020-01-01", code=2)
    shown = admin("catalogue", "retire", "8b", "--at", "2100-01-31", "--instead", "nano")
    assert (shown["state"], shown["retires"], shown["instead"]) == ("live", "2100-01-31", "nano")
    ended = admin("catalogue", "move", "8b", "retired")
    assert (ended["state"], ended["instead"]) == ("retired", "nano") and ended["retires"] < "2100"


@pytest.mark.slow
@pytest.mark.nano
def test_nano_comes_live_by_the_program_s_own_commands(
    admin: Callable[..., Any], tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    folder = tmp_path / "set"
    (folder / "qrels").mkdir(parents=True)
    texts = {"d1": "Plants make sugar out of light.", "d2": "Stones are heavy."}
    rows = [json.dumps({"_id": name, "title": "", "text": text}) for name, text in texts.items()]
    (folder / "corpus.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": "what do plants eat"}) + "\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    words = ("onboard", "nano", "--data", str(folder), "--docs", "2", "--results", str(tmp_path / "out"))
    shown = admin(*words)
    assert shown["state"] == "live" and [one["step"] for one in shown["figures"]] == ["doctor", "bench", "evaluation"]
    assert shown["figures"][0]["result"]["passed"] and shown["figures"][1]["result"]["machine"]["cpu"]
