"""Loading is strict both ways: every missing, extra or misshaped tensor is an error that names it."""

import dataclasses
import gc
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import tiny
from gigarank.engine.numerics import choose_numerics, placement
from gigarank.errors import CheckpointError
from gigarank.model.config import ModelConfig
from gigarank.model.linear import PlainLinear
from gigarank.model.tensor_file import MappedFile
from gigarank.model.weights import TensorDict, TensorFiles, Weights, check_names, expected_shapes, load_weights, random_tensors

CONFIG = dataclasses.replace(tiny.CONFIGS["qwen3"], vocab_size=50)
UNTIED = dataclasses.replace(CONFIG, tie_word_embeddings=False)


def saved(folder: Path, tensors: dict[str, Tensor], name: str = "model.safetensors") -> Path:
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / name)
    return folder


def load(folder: Path, config: ModelConfig = CONFIG, dtype: str = "fp32") -> Weights:
    plain = dataclasses.replace(choose_numerics("cpu", dtype), linear="plain")
    return load_weights(TensorFiles(folder), config, placement(plain))


def tensors(config: ModelConfig = CONFIG) -> dict[str, Tensor]:
    return dict(random_tensors(config).tensors)


def test_a_file_is_read_back_as_it_was(tmp_path: Path) -> None:
    written = tensors()
    weights = load(saved(tmp_path, written))
    assert torch.equal(weights.embedding, written["model.embed_tokens.weight"])
    assert torch.equal(weights.layers[2].down.weight, written["model.layers.2.mlp.down_proj.weight"])  # type: ignore[attr-defined]
    assert weights.head is weights.embedding


def test_shards_give_the_same_as_one_file(tmp_path: Path) -> None:
    written = tensors(UNTIED)
    names = sorted(written)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in halves.items():
        saved(tmp_path, {name: written[name] for name in part}, file)
    index = {"weight_map": {name: file for file, part in halves.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    weights = load(tmp_path, UNTIED)
    assert torch.equal(weights.head, written["lm_head.weight"])
    assert not torch.equal(weights.head, weights.embedding)


def test_names_without_the_prefix_are_an_embedding_models(tmp_path: Path) -> None:
    written = tensors()
    bare = {name.removeprefix("model."): tensor for name, tensor in written.items()}
    assert torch.equal(load(saved(tmp_path, bare)).final_norm, written["model.norm.weight"])


@pytest.mark.parametrize("name", ["model.norm.weight", "model.layers.1.self_attn.k_norm.weight", "model.embed_tokens.weight"])
def test_a_missing_tensor_is_named(tmp_path: Path, name: str) -> None:
    written = tensors()
    del written[name]
    with pytest.raises(CheckpointError, match=rf"missing 1: {name}"):
        load(saved(tmp_path, written))


def test_a_missing_head_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"missing 1: lm_head\.weight"):
        load(saved(tmp_path, tensors()), UNTIED)


@pytest.mark.parametrize("name", ["score.weight", "model.layers.3.mlp.up_proj.weight", "model.layers.0.self_attn.q_proj.bias"])
def test_an_extra_tensor_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"not part of a qwen3 decoder of this config, 1: .*{name}"):
        load(saved(tmp_path, tensors() | {name: torch.zeros(1)}))


def test_a_misshaped_tensor_is_named_with_both_shapes(tmp_path: Path) -> None:
    written = tensors() | {"model.layers.0.self_attn.o_proj.weight": torch.zeros(64, 64)}
    with pytest.raises(
        CheckpointError, match=r"misshaped 1: model\.layers\.0\.self_attn\.o_proj\.weight is \(64, 64\), expected \(64, 128\)"
    ):
        load(saved(tmp_path, written))


def test_a_long_list_is_cut_and_counted() -> None:
    with pytest.raises(CheckpointError, match=r"missing 11: .* and 6 more"):
        check_names({k: v for k, v in expected_shapes(CONFIG).items() if "layers.1." not in k}, CONFIG)


def test_a_tied_head_that_is_saved_all_the_same_must_be_the_embedding(tmp_path: Path) -> None:
    written = tensors()
    copied = written | {"lm_head.weight": written["model.embed_tokens.weight"].clone()}
    assert load(saved(tmp_path, copied)).head is not None
    other = written | {"lm_head.weight": written["model.embed_tokens.weight"] + 1}
    with pytest.raises(CheckpointError, match=r"lm_head\.weight differs from the embedding, but config\.json ties them"):
        load(saved(tmp_path, other))


def test_integers_are_refused(tmp_path: Path) -> None:
    written = tensors() | {"model.norm.weight": torch.ones(64, dtype=torch.int8)}
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight: dtype torch\.int8 is not supported"):
        load(saved(tmp_path, written))


def test_files_that_are_not_there_or_not_readable_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors file"):
        TensorFiles(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not this")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read as safetensors"):
        TensorFiles(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"x": "gone.safetensors"}}')
    with pytest.raises(CheckpointError, match=r"shards missing: gone\.safetensors"):
        TensorFiles(tmp_path)
    for useless in ("{}", "[]", "null", '{"weight_map": {"x": ["list"]}}', "{"):
        (tmp_path / "model.safetensors.index.json").write_text(useless)
        with pytest.raises(CheckpointError, match="no usable weight_map"):
            TensorFiles(tmp_path)


def test_a_tensor_in_two_files_is_an_error(tmp_path: Path) -> None:
    for file in ("a.safetensors", "b.safetensors"):
        saved(tmp_path, {"model.norm.weight": torch.ones(64)}, file)
    with pytest.raises(CheckpointError, match=r"tensor model\.norm\.weight stands in two files"):
        TensorFiles(tmp_path)


def test_weights_in_the_compute_dtype_stay_mapped_to_the_file(tmp_path: Path) -> None:
    big = dataclasses.replace(CONFIG, vocab_size=60_000, intermediate_size=40_000, num_hidden_layers=2)
    saved(tmp_path, dict(random_tensors(big, dtype=torch.bfloat16).tensors))
    weights = load(tmp_path, big, "bf16")
    linear = weights.layers[0].up
    assert isinstance(linear, PlainLinear)
    mapped = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines() if str(tmp_path) in line]
    for tensor in (weights.embedding, linear.weight):
        assert any(int(start, 16) <= tensor.data_ptr() < int(stop, 16) for start, stop in mapped)


@pytest.mark.parametrize(
    ("stored", "computed", "wide"), [("bf16", "bf16", "fp32"), ("fp32", "fp64", "fp64"), ("fp16", "fp16", "fp32")]
)
def test_the_head_is_one_vector_in_fp32_or_wider(stored: str, computed: str, wide: str) -> None:
    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "fp64": torch.float64}
    source = random_tensors(CONFIG, dtype=dtypes[stored])
    plain = dataclasses.replace(choose_numerics("cpu", computed), linear="plain")
    answer = load_weights(source, CONFIG, placement(plain)).answer_vector(7, 3)
    table = source.tensors["model.embed_tokens.weight"].to(dtypes[wide])
    assert answer.dtype == dtypes[wide]
    assert torch.equal(answer, table[7] - table[3])


def test_random_weights_are_the_same_for_a_seed_and_different_for_another() -> None:
    one, same, other = (random_tensors(CONFIG, seed).tensors["model.norm.weight"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert {name: tuple(t.shape) for name, t in random_tensors(CONFIG).tensors.items()} == expected_shapes(CONFIG)
    assert isinstance(random_tensors(CONFIG), TensorDict)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux")
def test_pages_of_weights_that_were_converted_do_not_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen matrices of 4 MB: whoever reads and converts them one by one holds a few of them at a time."""
    tensors = {f"w{number}": torch.ones(1_024, 2_048, dtype=torch.bfloat16) for number in range(16)}
    save_file(tensors, tmp_path / "model.safetensors")
    monkeypatch.setattr("gigarank.model.tensor_file._MAPPED_BYTES", 10_000_000)
    source = TensorFiles(tmp_path)
    kept = source.get("w0")
    most = 0
    for name in tensors:
        source.get(name).float().sum()
        most = max(most, _resident(tmp_path / "model.safetensors"))
    assert float(kept.sum()) == kept.numel()
    assert 4_000_000 < most < 32_000_000


def _resident(path: Path) -> int:
    """Bytes of the file's pages in this process."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the system's list of mappings")
def test_a_vector_that_is_kept_does_not_keep_the_file_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"norm": torch.arange(4.0), "matrix": torch.ones(512, 512)}, path)

    def mapped() -> bool:
        gc.collect()
        return str(path) in Path("/proc/self/maps").read_text(encoding="utf-8")

    file = MappedFile(path)
    vector, matrix = file.get("norm"), file.get("matrix")
    del file
    assert mapped()
    del matrix
    assert not mapped()
    assert vector.tolist() == [0, 1, 2, 3]
