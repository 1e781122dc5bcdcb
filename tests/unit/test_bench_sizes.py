"""The official shapes with random weights: written piece by piece, loaded within the bound, and what exceeds it is said."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from gigarank.bench.checkpoint import shape_of
from gigarank.bench.sizes import BlockTensors, Case, measure, write
from gigarank.engine.reranker import Reranker
from gigarank.model.config import ModelConfig
from gigarank.model.weights import TensorFiles, expected_shapes

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "sizes.py"), run_name="sizes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sizes") / "nano"
    write(made, "nano", 2)
    return made


def test_every_tensor_is_different_and_of_its_shape(folder: Path) -> None:
    config = ModelConfig.from_shape(shape_of("nano", 2)[0])
    source = BlockTensors(config)
    assert source.shapes() == expected_shapes(config)
    layer = "model.layers.{}.mlp.down_proj.weight"
    one, other = source.get(layer.format(0)), source.get(layer.format(1))
    assert tuple(one.shape) == source.shapes()[layer.format(0)]
    assert not torch.equal(one, other)
    stored = TensorFiles(folder)
    assert torch.equal(stored.get(layer.format(1)), other.to(torch.bfloat16))


@pytest.mark.parametrize("dtype", ["int8", "fp32"])
def test_a_load_says_its_times_and_memory(folder: Path, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIGARANK_CACHE", str(tmp_path))
    found = measure(folder, Case("nano", dtype, documents=2, keep=dtype == "int8"))
    assert (found["documents"], found["distinct_scores"], found["layers"]) == (2, 2, 2)
    numbers = {"int8": 1, "fp32": 4}
    shapes = expected_shapes(Reranker.load(folder).config).items()
    matrices = sum(torch.Size(shape).numel() for name, shape in shapes if ".layers." in name and len(shape) == 2)
    table = torch.Size(dict(shapes)["model.embed_tokens.weight"]).numel()
    assert found["weights_bytes"] == matrices * numbers[dtype] + table * 2
    assert found["bound_bytes"] == int(1.15 * found["weights_bytes"]) + 2**30
    assert found["within"] is (found["peak_bytes"] <= found["bound_bytes"])
    assert any((tmp_path / "quantized").glob("*/*.safetensors")) is (dtype == "int8")


def test_the_table_tells_a_load_from_the_cache_and_one_that_took_too_much() -> None:
    one = {"shape": "4b", "layers": 36, "dtype": "int8", "documents": 20, "load_s": 9.0, "rank_s": 3.0}
    one |= {"weights_bytes": 2**32, "peak_bytes": 2**33, "bound_bytes": 2**32, "within": False}
    lines = SCRIPT["table"]([one, one | {"within": True}]).splitlines()
    assert lines[2] == "| 4b | 36 | int8 | 20 | 9.0 s | 3.0 s | 4.00 GiB | 8.00 GiB | 4.00 GiB (exceeded) |"
    assert lines[3].startswith("| 4b | 36 | int8, from the cache | 20 |") and "exceeded" not in lines[3]


@pytest.mark.slow
def test_the_script_measures_each_load_in_its_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GIGARANK_CACHE", str(tmp_path))  # the script sets it for good: later tests would fetch nano anew
    given = ["--shape", "nano", "--layers", "1", "--documents", "1", "--place", str(tmp_path), "--dtype", "int8"]
    code = SCRIPT["main"](given)
    results = json.loads(capsys.readouterr().out.splitlines()[-1])["results"]
    assert [result["layers"] for result in results] == [1, 1]
    assert code == (0 if all(result["within"] for result in results) else 1)
    assert list(tmp_path.iterdir()) == []
