"""An adapter merged at load scores as peft's own merge_and_unload does; one that would not is refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import adapters
import tiny
from gigarank.engine.adapters import base_of
from gigarank.engine.embedder import Embedder
from gigarank.engine.identity import fingerprint
from gigarank.engine.loading import load_checkpoint
from gigarank.engine.reranker import Reranker
from gigarank.engine.store import locate, with_adapter
from gigarank.engine.tokenizer import PromptTokenizer
from gigarank.errors import CheckpointError, GigarankError, InvalidInput, UnsupportedArchitecture
from gigarank.prompt import QWEN3_V1
from gigarank.types import EngineOptions

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks it

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = ["Mars, known for its reddish appearance.", "Venus is hot.", ""]

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rank-stabilised": {"use_rslora": True, "r": 9},
    "dora": {"use_dora": True},
    "some-layers": {"layers_to_transform": [0, 2]},
    "one-layer-dora": {"layers_to_transform": 1, "use_dora": True, "use_rslora": True},
    "patterns": {"rank_pattern": {"q_proj": 2, "layers.1.mlp.gate_proj": 7}, "alpha_pattern": {"v_proj": 31}},
    "regex": {"target_modules": r".*\.(1|2)\.self_attn\.(k|o)_proj"},
    "all-but": {"target_modules": "all-linear", "exclude_modules": ["up_proj"]},
    "fewer-layers": {"layer_replication": [[0, 1], [2, 3]]},
    "other-order": {"layer_replication": [[1, 3], [0, 1]], "layers_to_transform": [0, 2], "use_dora": True},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapters.write_folder(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """An adapter that names its base's folder."""
    return adapters.write_adapter(adapters.peft_model(), tmp_path_factory.mktemp("adapter"), str(base))


@pytest.fixture
def copy(tmp_path: Path, plain: Path) -> Path:
    """One to be broken."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_bytes((plain / name).read_bytes())
    return folder


def load(folder: Path, adapter: Path | None) -> Reranker:
    """As Reranker.load, with the tokenizer that is read already."""
    loaded = load_checkpoint(with_adapter(locate(folder), adapter), EngineOptions(), "cpu", "fp32")
    return Reranker(loaded, PromptTokenizer(tiny.qwen_text(), QWEN3_V1, loaded.max_pair_tokens))


def ours(folder: Path, adapter: Path | None) -> list[float]:
    reranker = load(folder, adapter)
    return [score.logit for score in reranker.score([(QUERY, document) for document in DOCUMENTS])]


def theirs(model: Any) -> list[float]:
    return [tiny.card_logit(model, tiny.card_ids(QWEN3_V1, None, QUERY, document)) for document in DOCUMENTS]


def rewrite(folder: Path, change: Any) -> None:
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_equal_pefts_merge(tmp_path: Path, base: Path, kind: str) -> None:
    model = adapters.peft_model(**KINDS[kind])
    adapter = adapters.write_adapter(model, tmp_path / "adapter")
    wanted = theirs(model.merge_and_unload())
    np.testing.assert_allclose(ours(base, adapter), wanted, rtol=0, atol=1e-4)
    assert np.abs(np.subtract(wanted, ours(base, None))).min() > 0.01  # the adapter does something


@pytest.mark.parametrize("name", ["llama", "qwen3-untied", "qwen2"])
def test_every_architecture_takes_adapters(tmp_path: Path, name: str) -> None:
    folder = adapters.write_folder(tmp_path / "base", name)
    model = adapters.peft_model(name, use_dora=True)
    adapter = adapters.write_adapter(model, tmp_path / "adapter")
    np.testing.assert_allclose(ours(folder, adapter), theirs(model.merge_and_unload()), rtol=0, atol=1e-4)


def test_a_layer_may_be_taken_twice(tmp_path: Path) -> None:
    """Against peft's unmerged model: its own merge adds both adapters to the one weight that the two layers share."""
    folder = adapters.write_folder(tmp_path / "base", "llama")
    model = adapters.peft_model("llama", layer_replication=[[0, 2], [1, 3]])
    adapter = adapters.write_adapter(model, tmp_path / "adapter")
    np.testing.assert_allclose(ours(folder, adapter), theirs(model), rtol=0, atol=1e-4)


def test_the_sum_is_made_in_fp32_whatever_the_checkpoint_is_stored_in(tmp_path: Path, plain: Path) -> None:
    """A bf16 weight plus a small change must not be rounded to bf16 again before it is used in fp32."""
    folder = adapters.write_folder(tmp_path / "base")
    tensors = {name: tensor.bfloat16() for name, tensor in tiny.tensors_of("qwen3").tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    wide = adapters.write_folder(tmp_path / "wide")
    save_file({name: tensor.float() for name, tensor in tensors.items()}, wide / "model.safetensors")
    assert ours(folder, plain) == ours(wide, plain)


def test_an_embedder_takes_an_adapter_too(tmp_path: Path, plain: Path) -> None:
    folder = adapters.write_folder(tmp_path / "embedder", bare=True)
    model = adapters.peft_model().merge_and_unload()
    ids = [*tiny.qwen_text().plain(["a text"], "x")[0], 151643]
    with torch.no_grad():
        state = model.model(torch.tensor([ids])).last_hidden_state[0, -1].numpy()
    found = Embedder.load(folder, adapter=plain).embed(documents=["a text"])[0]
    np.testing.assert_allclose(found, state / np.linalg.norm(state), rtol=0, atol=1e-5)


def test_an_adapters_folder_is_a_model_with_the_base_that_it_names(base: Path, plain: Path) -> None:
    loaded = Reranker.load(plain)
    assert loaded.name == plain.name
    assert [s.logit for s in loaded.score([(QUERY, DOCUMENTS[0])])] == ours(base, plain)[:1]
    assert locate(plain).folder == base


def test_a_given_adapter_is_part_of_the_name(base: Path, plain: Path) -> None:
    assert load(base, plain).name == f"{base.name}+{plain.name}"
    assert Reranker.load(base, adapter=str(plain)).name == f"{base.name}+{plain.name}"


def test_the_fingerprint_follows_weights_adapter_and_config_but_not_the_place(tmp_path: Path, base: Path, copy: Path) -> None:
    bare, with_adapter = fingerprint(base), fingerprint(base, copy)
    assert len(bare) == len(with_adapter) == 64
    assert bare != with_adapter
    elsewhere = adapters.write_folder(tmp_path / "elsewhere")
    assert fingerprint(elsewhere) == bare
    assert fingerprint(elsewhere, copy) == with_adapter
    adapters.change_config(copy, lora_alpha=9)
    assert fingerprint(base, copy) not in (bare, with_adapter)
    save_file({k: v + 1 for k, v in load_file(base / "model.safetensors").items()}, elsewhere / "model.safetensors")
    assert fingerprint(elsewhere) != bare
    assert load(base, copy).fingerprint == fingerprint(base, copy)
    assert tiny.reranker().fingerprint == ""


def test_the_note_names_the_base_before_pefts_config_does(copy: Path) -> None:
    (copy / "gigarank.json").write_text(json.dumps({"base": "0.6b"}))
    assert base_of(copy) == "qwen3-reranker-0.6b"
    (copy / "gigarank.json").write_text("{}")
    adapters.change_config(copy, base_model_name_or_path="HuggingFaceTB/SmolLM2-135M-Instruct")
    assert base_of(copy) == "nano"


BROKEN: dict[str, tuple[Any, str]] = {
    "unknown": (
        lambda t: t | {"base_model.model.model.layers.0.mlp.router.lora_A.weight": torch.zeros(4, 64)},
        "router.lora_A",
    ),
    "no lora": (lambda t: t | {"base_model.model.model.norm.weight": torch.zeros(64)}, r"not part of this model.*norm\.weight"),
    "untargeted": (
        lambda t: t | {"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight": torch.zeros(4, 64)},
        r"not in target_modules, 1: model\.layers\.0\.mlp\.up_proj\.lora_A",
    ),
    "missing": (
        lambda t: {k: v for k, v in t.items() if "layers.1.self_attn.q_proj.lora_B" not in k},
        r"missing 1: model\.layers\.1\.self_attn\.q_proj\.b",
    ),
    "misshaped": (
        lambda t: {k: v[:, :-1].contiguous() if k.endswith("0.mlp.down_proj.lora_A.weight") else v for k, v in t.items()},
        r"misshaped 1: model\.layers\.0\.mlp\.down_proj\.a is \(4, 95\), expected \(4, 96\)",
    ),
    "magnitude": (
        lambda t: t | {"base_model.model.model.layers.0.mlp.down_proj.lora_magnitude_vector": torch.ones(64)},
        "down_proj.magnitude is .*expected none",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_tensors_that_do_not_fit_are_named(base: Path, copy: Path, how: str) -> None:
    change, said = BROKEN[how]
    rewrite(copy, change)
    with pytest.raises(CheckpointError, match=said) as raised:
        load(base, copy)
    assert str(copy) in str(raised.value)


def test_another_base_is_named(tmp_path: Path, plain: Path, base: Path) -> None:
    other = adapters.write_folder(tmp_path / "other", "qwen3-untied")
    with pytest.raises(CheckpointError, match=rf"misshaped.*made for {base}"):
        load(other, plain)


@pytest.mark.nano
def test_nano_refuses_an_adapter_of_a_known_other_base(nano_folder: Path, copy: Path) -> None:
    adapters.change_config(copy, base_model_name_or_path="Qwen/Qwen3-Reranker-0.6B")
    with pytest.raises(CheckpointError, match=r"made for qwen3-reranker-0\.6b, not for nano"):
        Reranker.load("nano", adapter=copy)


CONFIGS: dict[str, tuple[dict[str, Any], type[GigarankError], str]] = {
    "type": ({"peft_type": "LOHA"}, UnsupportedArchitecture, "peft_type 'LOHA'"),
    "bias": ({"bias": "all"}, UnsupportedArchitecture, "bias 'all'"),
    "init": ({"init_lora_weights": "pissa"}, UnsupportedArchitecture, "init_lora_weights 'pissa'"),
    "whole modules": ({"modules_to_save": ["lm_head"]}, UnsupportedArchitecture, "modules_to_save"),
    "something new": ({"use_magic": True}, UnsupportedArchitecture, "use_magic True"),
    "rank": ({"r": 0}, CheckpointError, "r must be a whole number above 0, not 0"),
    "alpha": ({"lora_alpha": None}, CheckpointError, "lora_alpha must be a number, not None"),
    "targets": ({"target_modules": None}, CheckpointError, "target_modules must be names"),
    "no targets": ({"target_modules": ["wq"]}, CheckpointError, r"not part of this model"),
    "layers": ({"layers_to_transform": ["a"]}, CheckpointError, "layers_to_transform must be layers"),
    "fewer layers": ({"layers_to_transform": [0]}, CheckpointError, r"not in target_modules, 20: model\.layers\.1"),
    "no such layer": ({"layer_replication": [[0, 1], [2, 4]]}, CheckpointError, "asks for layer 3, and the base has 3"),
    "no ranges": ({"layer_replication": [[2, 1]]}, CheckpointError, r"layer_replication must be ranges .*not \[\[2, 1\]\]"),
    "no layers": ({"layer_replication": []}, CheckpointError, r"layer_replication must be ranges"),
    "endless layers": ({"layer_replication": [[0, 10**9]]}, CheckpointError, r"10,000 layers at most"),
    "of fewer": ({"layer_replication": [[0, 1], [2, 3]]}, CheckpointError, r"not in target_modules, 10: model\.layers\.2"),
    "dora": ({"use_dora": True}, CheckpointError, r"missing 15: .*\.magnitude"),
    "other rank": ({"r": 5}, CheckpointError, r"a is \(4, 64\), expected \(5, 64\)"),
}


@pytest.mark.parametrize("how", CONFIGS)
def test_configs_that_mean_something_else_are_refused(base: Path, copy: Path, how: str) -> None:
    settings, kind, said = CONFIGS[how]
    adapters.change_config(copy, **settings)
    with pytest.raises(kind, match=said):
        load(base, copy)


def test_an_adapter_for_nothing_is_refused(base: Path, copy: Path) -> None:
    adapters.change_config(copy, target_modules=[])
    rewrite(copy, lambda tensors: {})
    with pytest.raises(CheckpointError, match="no module of this model"):
        load(base, copy)


def test_folders_that_hold_no_adapter_say_what_is_missing(tmp_path: Path, base: Path, copy: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no adapter_config\.json"):
        load(base, tmp_path)
    (copy / "adapter_model.safetensors").rename(copy / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"no adapter_model\.safetensors; save it as safetensors"):
        load(base, copy)
    (copy / "adapter_model.safetensors").write_bytes(b"not a tensor file")
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load(base, copy)
    (copy / "adapter_config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="must hold an object, not a list"):
        load(copy, None)


def test_a_base_that_is_not_here_or_not_named_is_said(copy: Path, base: Path, plain: Path) -> None:
    adapters.change_config(copy, base_model_name_or_path="/somewhere/else")
    with pytest.raises(CheckpointError, match="base /somewhere/else is not here; name the base"):
        load(copy, None)
    adapters.change_config(copy, base_model_name_or_path=None)
    with pytest.raises(CheckpointError, match="base_model_name_or_path names no base"):
        load(copy, None)
    assert len(ours(base, copy)) == 3  # with its base named by the caller it loads all the same
    adapters.change_config(copy, base_model_name_or_path=str(plain))
    with pytest.raises(CheckpointError, match="is an adapter itself"):
        load(copy, None)
    with pytest.raises(InvalidInput, match="is an adapter itself"):
        load(plain, copy)
