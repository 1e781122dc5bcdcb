"""The profile: its parts add up to the whole, each without what it calls, and nothing stays changed behind it."""

import json
import runpy
import time
from pathlib import Path
from typing import Any

import pytest

import tiny
from gigarank.bench import profile
from gigarank.bench.profile import REST, parts_of
from gigarank.model import decoder
from gigarank.model.packed import Context

SCRIPT: dict[str, Any] = runpy.run_path(
    str(Path(__file__).parents[2] / "scripts" / "profile_parts.py"), run_name="profile_parts"
)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int8"])
def test_the_parts_of_a_ranking_add_up_and_the_scores_are_the_same(dtype: str) -> None:
    model = tiny.reranker("qwen3", dtype)
    documents = ["mars", "venus " * 20, "a red planet"]
    before = model.rank("planet", documents)
    ranked = []
    started = time.perf_counter()
    parts = parts_of(lambda: ranked.append(model.rank("planet", documents)))
    whole = time.perf_counter() - started
    assert ranked == [before]
    assert {"products", "attention", "norms", "rotary positions", "text to tokens", "head", REST} <= set(parts)
    assert ("quantising" in parts) is (dtype == "int8")
    assert all(seconds >= 0 for seconds in parts.values())
    assert sum(parts.values()) == pytest.approx(whole, rel=0.2)


def test_nothing_stays_changed_even_after_an_error() -> None:
    kept = (vars(decoder)["segment_attention"], Context.layer)

    def fails() -> None:
        assert vars(decoder)["segment_attention"] is not kept[0]
        raise ValueError

    with pytest.raises(ValueError):
        parts_of(fails)
    assert (vars(decoder)["segment_attention"], Context.layer) == kept


def test_a_part_does_not_count_what_it_calls() -> None:
    clock = profile._Clock()
    inner = profile._timed(clock, "inner", lambda: time.sleep(0.05))
    profile._timed(clock, "outer", inner)()
    assert clock.seconds["inner"] >= 0.05 > clock.seconds["outer"]


def test_the_table_says_what_attention_and_small_operations_take() -> None:
    found = {"fp32": {"products": 9.0, "attention": 0.5, REST: 0.5}, "int8": {"products": 1.0, "quantising": 1.0, "norms": 2.0}}
    assert SCRIPT["shares"](found) == {"fp32": 0.1, "int8": 0.5}
    lines = SCRIPT["table"](found).splitlines()
    assert lines[2] == "| products | 9.000 s (90.0%) | 1.000 s (25.0%) |"
    assert lines[-1] == "| attention and small operations | 10.0% | 50.0% |"


@pytest.mark.slow
def test_the_script_ends_in_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    SCRIPT["main"](["--shape", "nano", "--layers", "2", "--docs", "2", "--dtype", "int8"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(result["seconds"]) == list(result["small"]) == ["int8"]
