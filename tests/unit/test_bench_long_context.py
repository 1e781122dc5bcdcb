"""What a long pair's arithmetic is counted as, and that a measurement holds together, on a model of one or two layers."""

import dataclasses
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

import tiny
from gigarank.bench.long_context import attention_operations, attention_rate, measure
from gigarank.bench.sizes import write
from gigarank.model.config import ModelConfig

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "long_context.py"), run_name="long_context")
CONFIG = tiny.CONFIGS["qwen3"]


def counted(config: ModelConfig, tokens: int) -> int:
    """By going through all pairs of a query and a key that it sees: two products of head_dim multiplications and additions."""
    pairs = 0
    for layer in range(config.num_hidden_layers):
        queries = range(tokens) if layer < config.num_hidden_layers - 1 else [tokens - 1]
        pairs += sum(query + 1 for query in queries)
    return pairs * config.num_attention_heads * 2 * 2 * config.head_dim


@pytest.mark.parametrize("tokens", [64, 257])
def test_operations_are_those_of_all_pairs_that_see_each_other(tokens: int) -> None:
    # the diagonal, half of which the count leaves out, is one part in `tokens`
    assert attention_operations(CONFIG, tokens) == pytest.approx(counted(CONFIG, tokens), rel=1.5 / tokens)


def test_one_layer_has_one_query() -> None:
    config = dataclasses.replace(CONFIG, num_hidden_layers=1)
    assert attention_operations(config, 100) == counted(config, 100)


def test_a_rate_is_operations_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 9.0, 10.0, 12.0])  # the first run warms up
    monkeypatch.setattr("gigarank.bench.long_context.time.perf_counter", lambda: next(ticks))
    layer = dataclasses.replace(CONFIG, num_hidden_layers=2)
    assert attention_rate(CONFIG, 128) == pytest.approx((attention_operations(layer, 128) - 4.0 * 128 * 128) / 2.0)


def test_a_measurement_is_of_the_pair_that_was_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "model", "nano", 2)
    found = measure(tmp_path / "model", "nano", tokens=300, rate_tokens=64)
    assert (found["layers"], found["tokens"]) == (2, 300)
    assert found["ratio"] == pytest.approx(found["whole_s"] / (found["products_s"] + found["attention_s"]), rel=0.5)
    assert found["peak_bytes"] > found["weights_bytes"] // 2 > 0


def test_the_table_has_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert SCRIPT["main"](["--shape", "nano", "--layers", "1", "--tokens", "200", "--rate-tokens", "64"]) == 0
    head, _, row, line = capsys.readouterr().out.splitlines()
    assert head.count("|") == row.count("|") == 9
    assert json.loads(line)["tokens"] == 200
    assert "| 200 |" in row
