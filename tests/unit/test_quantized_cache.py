"""Quantised matrices on disk: taken where they are sound and this checkpoint's, made anew where they are not."""

import logging
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gigarank.bench.checkpoint import write_checkpoint
from gigarank.catalogue import Shape
from gigarank.engine import quantized_cache
from gigarank.engine.quantized_cache import QuantizedCache
from gigarank.engine.reranker import Reranker
from gigarank.engine.store import locate
from gigarank.model.quantized import QuantizedMatrix, quantize
from gigarank.prompt import QWEN3_V1
from gigarank.types import EngineOptions

SHAPE = Shape("qwen3", 64, 2, 4, 2, 16, 128, 12_000, True, 1e6, 1e-6, 4_096)
PAIRS = [("planet", "mars"), ("planet", "venus is hot")]
WEIGHT = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GIGARANK_CACHE", str(tmp_path / "cache"))
    write_checkpoint(tmp_path / "model", SHAPE, QWEN3_V1)
    return tmp_path / "model"


def cache_of(folder: Path, place: Path) -> QuantizedCache:
    return QuantizedCache(place, locate(folder))


def count_quantised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    made: list[int] = []

    def counted(weight: torch.Tensor) -> QuantizedMatrix:
        made.append(1)
        return quantize(weight)

    monkeypatch.setattr(quantized_cache, "quantize", counted)
    return made


def test_a_second_loading_quantises_nothing_and_scores_the_same_bits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = count_quantised(monkeypatch)
    options = EngineOptions(keep_quantized=True)
    plain = [score.logit for score in Reranker.load(folder, dtype="int8").score(PAIRS)]
    assert made == []
    first = [score.logit for score in Reranker.load(folder, dtype="int8", options=options).score(PAIRS)]
    assert len(made) == 7 * SHAPE.num_hidden_layers
    second = [score.logit for score in Reranker.load(folder, dtype="int8", options=options).score(PAIRS)]
    assert len(made) == 7 * SHAPE.num_hidden_layers
    assert first == second == plain
    Reranker.load(folder, dtype="fp32", options=options)
    assert len(list((folder.parent / "cache" / "quantized").iterdir())) == 1


def test_other_weights_of_the_same_name_and_size_take_nothing_from_the_cache(folder: Path, tmp_path: Path) -> None:
    before = cache_of(folder, tmp_path / "c").fingerprint
    assert cache_of(folder, tmp_path / "c").fingerprint == before
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["model.layers.1.mlp.down_proj.weight"][0, 0] += 1.0
    save_file(tensors, file, metadata={"format": "pt"})
    assert cache_of(folder, tmp_path / "c").fingerprint != before
    known = file.stat()
    os.utime(file, ns=(known.st_atime_ns, known.st_mtime_ns + 1))
    again = cache_of(folder, tmp_path / "c").fingerprint
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    assert len({before, again, cache_of(folder, tmp_path / "c").fingerprint}) == 3


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [damage, cut, empty])
def test_a_damaged_file_is_made_anew_and_said(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: object
) -> None:
    cache = cache_of(folder, tmp_path / "c")
    right = cache.matrix("x", lambda: WEIGHT)
    path = cache.folder / "x.safetensors"
    spoil(path)  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        found = cache.matrix("x", lambda: WEIGHT)
    assert torch.equal(found.values, right.values) and torch.equal(found.scales, right.scales)
    assert "damaged, or of other weights; made anew" in caplog.text
    assert torch.equal(cache.matrix("x", lambda: pytest.fail("was kept")).values, right.values)


def test_a_file_of_another_matrix_or_checkpoint_is_not_taken(folder: Path, tmp_path: Path) -> None:
    cache = cache_of(folder, tmp_path / "c")
    cache.matrix("x", lambda: WEIGHT)
    shutil.copy(cache.folder / "x.safetensors", cache.folder / "y.safetensors")
    assert torch.equal(cache.matrix("y", lambda: 2 * WEIGHT).scales, quantize(2 * WEIGHT).scales)
    other = cache_of(folder, tmp_path / "c")
    other.fingerprint = "0" * 64
    assert torch.equal(other.matrix("x", lambda: 3 * WEIGHT).scales, quantize(3 * WEIGHT).scales)


def test_a_disk_that_takes_nothing_costs_only_the_cache(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "c").write_text("a file where the folder should be")
    cache = cache_of(folder, tmp_path / "c")
    for name in ("x", "y"):
        assert torch.equal(cache.matrix(name, lambda: WEIGHT).values, quantize(WEIGHT).values)
    assert caplog.text.count("quantised weights cannot be kept") == 1
