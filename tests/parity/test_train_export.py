"""A merged or exported model is a folder that stands alone: same scores here, in peft's merge and in sentence-transformers."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import adapters
import tiny
from gigarank.bench.peers import SentenceTransformersPeer
from gigarank.engine.embedder import Embedder
from gigarank.engine.loading import load_checkpoint
from gigarank.engine.reranker import Reranker
from gigarank.engine.store import Checkpoint, locate, with_adapter
from gigarank.engine.tokenizer import PromptTokenizer
from gigarank.errors import CheckpointError, InvalidInput
from gigarank.model.tensor_file import write_tensors
from gigarank.prompt import QWEN3_V1
from gigarank.training.export import ExportOptions, export, source_of
from gigarank.training.merge import mixed, slerp, slerp_all
from gigarank.types import EngineOptions

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks it

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = ["Mars, known for its reddish appearance.", "Venus is hot.", "A recipe for bread."]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapters.write_folder(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, base: Path) -> tuple[Checkpoint, list[float]]:
    """A checkpoint with an adapter, and what peft's own merge scores."""
    model = adapters.peft_model(use_dora=True)
    folder = adapters.write_adapter(model, tmp_path_factory.mktemp("adapter"), str(base))
    whole = model.merge_and_unload()
    logits = [tiny.card_logit(whole, tiny.card_ids(QWEN3_V1, None, QUERY, document)) for document in DOCUMENTS]
    return with_adapter(locate(base), folder), logits


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, adapted: tuple[Checkpoint, list[float]]) -> Path:
    target = tmp_path_factory.mktemp("exports") / "mine"
    return export(adapted[0], source_of(adapted[0]), target, ExportOptions(), "# a card\n")


def scores(folder: Path, adapter: Path | None = None) -> list[float]:
    """As Reranker.load, with the tokenizer that is read already."""
    loaded = load_checkpoint(with_adapter(locate(folder), adapter), EngineOptions(), "cpu", "fp32")
    reranker = Reranker(loaded, PromptTokenizer(tiny.qwen_text(), QWEN3_V1, loaded.max_pair_tokens))
    return [score.logit for score in reranker.score([(QUERY, document) for document in DOCUMENTS])]


def test_a_merged_model_scores_as_base_and_adapter_do(exported: Path, adapted: tuple[Checkpoint, list[float]]) -> None:
    checkpoint, wanted = adapted
    merged_at_load = scores(checkpoint.folder, checkpoint.adapter)
    assert scores(exported) == merged_at_load
    np.testing.assert_allclose(merged_at_load, wanted, rtol=0, atol=1e-4)


def test_sentence_transformers_scores_the_same_as_the_folder_loaded_by_its_name(exported: Path) -> None:
    theirs = SentenceTransformersPeer(exported, "fp32").scores(QUERY, DOCUMENTS)
    ours = [score.logit for score in Reranker.load(exported).score([(QUERY, document) for document in DOCUMENTS])]
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=5e-5)


def test_an_adapter_for_some_of_the_layers_makes_a_smaller_model(tmp_path: Path, base: Path) -> None:
    raw = json.loads((base / "config.json").read_text()) | {"layer_types": ["full_attention"] * 3}
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base" / "config.json").write_text(json.dumps(raw))
    model = adapters.peft_model(layer_replication=[[0, 1], [2, 3]])
    checkpoint = with_adapter(locate(tmp_path / "base"), adapters.write_adapter(model, tmp_path / "adapter"))
    target = export(checkpoint, source_of(checkpoint), tmp_path / "smaller", ExportOptions(), "")
    written = json.loads((target / "config.json").read_text())
    assert (written["num_hidden_layers"], written["layer_types"]) == (2, ["full_attention"] * 2)
    assert scores(target) == scores(checkpoint.folder, checkpoint.adapter)
    theirs = SentenceTransformersPeer(target, "fp32").scores(QUERY, DOCUMENTS)
    np.testing.assert_allclose(theirs, scores(target), rtol=0, atol=5e-5)


def test_the_folder_is_in_the_official_layout(exported: Path) -> None:
    found = sorted(path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file())
    assert found == [
        "1_LogitScore/config.json",
        "README.md",
        "chat_template.jinja",
        "config.json",
        "config_sentence_transformers.json",
        "gigarank.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert (exported / "chat_template.jinja").read_text().endswith("</think>\n\n\n")
    assert json.loads((exported / "1_LogitScore" / "config.json").read_text()) == {
        "true_token_id": 9693,
        "false_token_id": 2152,
    }
    config = json.loads((exported / "config.json").read_text())
    assert (config["architectures"], config["dtype"]) == (["Qwen3ForCausalLM"], "float32")
    assert (exported / "README.md").read_text() == "# a card\n"
    assert (exported / "model.safetensors").stat().st_mode == (exported / "config.json").stat().st_mode


def test_transformers_loads_it_with_every_weight(exported: Path) -> None:
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - seconds long

    model, info = AutoModelForCausalLM.from_pretrained(exported, output_loading_info=True)
    assert not any(info.values())
    assert model.dtype == torch.float32


def test_half_precision_is_written_as_asked(tmp_path: Path, base: Path) -> None:
    folder = export(locate(base), source_of(locate(base)), tmp_path / "half", ExportOptions("bf16"))
    tensors, wanted = load_file(folder / "model.safetensors"), tiny.tensors_of("qwen3").tensors
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert all(torch.equal(tensors[name], wanted[name].bfloat16()) for name in wanted)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"


def test_an_embedder_is_exported_with_its_own_names_and_layout(tmp_path: Path) -> None:
    source = adapters.write_folder(tmp_path / "embedder", bare=True)
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text("{}")
    (source / "modules.json").write_text("[]")
    folder = export(locate(source), source_of(locate(source)), tmp_path / "out", ExportOptions(kind="embedder"))
    assert (folder / "1_Pooling" / "config.json").is_file()
    assert not (folder / "1_LogitScore").exists()
    np.testing.assert_array_equal(Embedder.load(folder).embed(documents=["a"]), Embedder.load(source).embed(documents=["a"]))


def test_an_embedder_trained_from_another_model_gets_the_layout_and_the_same_vectors_elsewhere(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds long

    source = adapters.write_folder(tmp_path / "base")
    folder = export(locate(source), source_of(locate(source)), tmp_path / "out", ExportOptions(kind="embedder"))
    ours, theirs = Embedder.load(folder, device="cpu", dtype="fp32"), SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(theirs.encode(DOCUMENTS), ours.embed(documents=DOCUMENTS), rtol=0, atol=1e-5)
    np.testing.assert_allclose(theirs.encode([QUERY], prompt_name="query"), ours.embed(queries=[QUERY]), rtol=0, atol=1e-5)
    assert not np.allclose(ours.embed(queries=[QUERY]), ours.embed(documents=[QUERY]), atol=1e-2), "the prompt counts"
    with pytest.raises(InvalidInput, match="embedder"):
        Reranker.load(folder)


def test_nothing_is_overwritten_and_a_failure_leaves_nothing(tmp_path: Path, base: Path) -> None:
    checkpoint, target = locate(base), tmp_path / "out"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInput, match="nothing is overwritten"):
        export(checkpoint, source_of(checkpoint), target, ExportOptions())
    (target / "thesis.txt").unlink()

    class Broken:
        def shapes(self) -> dict[str, tuple[int, ...]]:
            return dict(source_of(checkpoint).shapes())

        def get(self, name: str) -> torch.Tensor:
            if name == "model.norm.weight":
                raise OSError(28, "No space left on device")
            return source_of(checkpoint).get(name)

    with pytest.raises(OSError, match="No space left"):
        export(checkpoint, Broken(), target, ExportOptions("fp32"))
    assert list(tmp_path.iterdir()) == [target]
    export(checkpoint, source_of(checkpoint), target, ExportOptions())  # an empty folder is free


def test_a_checkpoint_that_lacks_a_tensor_is_not_exported(tmp_path: Path) -> None:
    folder = adapters.write_folder(tmp_path / "base")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing 1: model\.norm\.weight"):
        source_of(locate(folder))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_file_is_what_safetensors_would_read(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {"b.weight": torch.randn(3, 5).to(dtype), "a": torch.randn(7).to(dtype), "empty": torch.zeros(0, 2, dtype=dtype)}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    write_tensors(tmp_path / "x.safetensors", shapes, dtype, lambda name: tensors[name])
    found = load_file(tmp_path / "x.safetensors")
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def varied(folder: Path, seed: int) -> Path:
    """A checkpoint of the same model, as further training leaves it."""
    adapters.write_folder(folder)
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: t + 0.1 * torch.randn(t.shape, generator=generator) for name, t in tiny.tensors_of("qwen3").tensors.items()
    }
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Checkpoint]:
    place = tmp_path_factory.mktemp("three")
    return [locate(varied(place / f"step-{number}", number)) for number in range(3)]


def test_a_linear_mixture_is_the_weighted_mean(three: list[Checkpoint]) -> None:
    source = mixed(three, [1.0, 1.0, 2.0], "linear")
    name = "model.layers.1.mlp.up_proj.weight"
    a, b, c = (load_file(one.folder / "model.safetensors")[name] for one in three)
    torch.testing.assert_close(source.get(name), (a + b + 2 * c) / 4, rtol=0, atol=1e-6)
    assert source.shapes().keys() == tiny.tensors_of("qwen3").shapes().keys()


def test_slerp_keeps_length_and_angle() -> None:
    a, b = torch.tensor([3.0, 0.0], dtype=torch.float64), torch.tensor([0.0, 3.0], dtype=torch.float64)
    for t in (0.0, 0.25, 0.5, 1.0):
        found = slerp(a, b, t)
        assert float(found.norm()) == pytest.approx(3.0)
        assert float(torch.atan2(found[1], found[0])) == pytest.approx(t * torch.pi / 2)


@pytest.mark.parametrize("b", [[3.0, 0.0], [6.0, 0.0], [0.0, 0.0], [-3.0, 0.0]])
def test_slerp_goes_straight_where_there_is_no_arc(b: list[float]) -> None:
    a, other = torch.tensor([3.0, 0.0], dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    torch.testing.assert_close(slerp(a, other, 0.25), 0.75 * a + 0.25 * other)


def test_slerp_of_three_takes_each_by_its_share() -> None:
    angles = [0.0, 0.3, 0.9]
    parts = [torch.tensor([np.cos(angle), np.sin(angle)], dtype=torch.float64) for angle in angles]
    found = slerp_all(parts, [0.5, 0.25, 0.25])
    assert float(torch.atan2(found[1], found[0])) == pytest.approx(0.25 * 0.3 + 0.25 * 0.9)
    torch.testing.assert_close(slerp_all([parts[1]] * 3, [0.2, 0.3, 0.5]), parts[1])


def test_a_mixture_loads_and_lies_between(tmp_path: Path, three: list[Checkpoint]) -> None:
    folder = export(three[0], mixed(three[:2], [1.0, 1e-9], "slerp"), tmp_path / "nearly", ExportOptions())
    np.testing.assert_allclose(scores(folder), scores(three[0].folder), rtol=0, atol=1e-3)
    middle = export(three[0], mixed(three[:2], None, "slerp"), tmp_path / "middle", ExportOptions())
    assert np.abs(np.subtract(scores(middle), scores(three[0].folder))).max() > 0.01


def test_adapters_are_mixed_as_what_they_make_of_their_base(tmp_path: Path, base: Path) -> None:
    folders = [adapters.write_adapter(adapters.peft_model(seed=seed), tmp_path / f"{seed}", str(base)) for seed in (0, 1)]
    checkpoints = [locate(folder) for folder in folders]
    one, other = (source_of(checkpoint) for checkpoint in checkpoints)
    found = mixed(checkpoints, [1.0, 3.0], "linear")
    name = "model.layers.1.self_attn.q_proj.weight"
    torch.testing.assert_close(found.get(name), (one.get(name) + 3 * other.get(name)) / 4, rtol=0, atol=1e-6)
    assert (found.get(name) - load_file(base / "model.safetensors")[name]).abs().max() > 1e-3, "not the base as it was"


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, 1.0, 1.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_shares_that_make_no_sense_are_refused(three: list[Checkpoint], weights: list[float]) -> None:
    with pytest.raises(InvalidInput, match="weights: 2 numbers above 0 are needed"):
        mixed(three[:2], weights, "linear")
    with pytest.raises(InvalidInput, match="at least two"):
        mixed(three[:1], None, "linear")


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_checkpoints_of_different_models_are_not_mixed(tmp_path: Path, base: Path) -> None:
    other = adapters.write_folder(tmp_path / "other", "llama")
    with pytest.raises(CheckpointError, match=r"other: another model than .*: architectures"):
        mixed([locate(base), locate(other)], None, "linear")
    twin = adapters.write_folder(tmp_path / "twin")
    change_json(twin / "config.json", torch_dtype="float32", transformers_version="9")
    mixed([locate(base), locate(twin)], None, "linear")  # how it was saved makes no other model
    change_json(twin / "config.json", rope_theta=5.0)
    with pytest.raises(CheckpointError, match=r"another model than .*: rope_theta 1000000\.0 and 5\.0"):
        mixed([locate(base), locate(twin)], None, "linear")
    change_json(twin / "config.json", rope_theta=1e6)
    (twin / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="another tokenizer"):
        mixed([locate(base), locate(twin)], None, "linear")
    (twin / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    save_file({"x": torch.zeros(1)}, twin / "model.safetensors")
    with pytest.raises(CheckpointError, match="tensors differ in name or shape"):
        mixed([locate(base), locate(twin)], None, "linear")
