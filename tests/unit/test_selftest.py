"""The self-test on real, tiny checkpoints: sound ones pass, and each way of being broken fails the check it should."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from gigarank import catalogue
from gigarank.bench.checkpoint import write_checkpoint
from gigarank.catalogue import RERANKER_0_6B, Shape
from gigarank.engine.loading import Loaded
from gigarank.engine.numerics import choose_numerics
from gigarank.engine.plan import Limits
from gigarank.engine.reranker import Reranker
from gigarank.engine.runner import Runner
from gigarank.engine.selftest import QWEN3_0_6B, Check, Golden, SelfTest, run
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer
from gigarank.engine.trial import require_sound
from gigarank.errors import CheckpointError
from gigarank.model.config import ModelConfig
from gigarank.model.decoder import Decoder
from gigarank.model.linear import PlainLinear
from gigarank.model.quantized import QuantizedMatrix, quantize
from gigarank.model.weights import Placement, TensorFiles, load_weights
from gigarank.prompt import QWEN3_V1

SHAPE = Shape("qwen3", 64, 2, 4, 2, 16, 128, 12_000, True, 1e6, 1e-6, 4_096)
YES, NO = 9693, 2152
EMBEDDING = "model.embed_tokens.weight"
Change = Callable[[dict[str, torch.Tensor]], None]


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selftest") / "sound"
    write_checkpoint(folder, SHAPE, QWEN3_V1)
    return folder


def altered(sound: Path, target: Path, change: Change) -> Path:
    """A copy of the checkpoint with other weights."""
    shutil.copytree(sound, target)
    tensors = load_file(target / "model.safetensors")
    change(tensors)
    save_file(tensors, target / "model.safetensors")
    return target


def check(result: SelfTest, name: str) -> Check:
    return next(one for one in result.checks if one.name == name)


def failed(result: SelfTest) -> set[str]:
    return {one.name for one in result.checks if not one.passed}


def golden_of(reranker: Reranker, **changes: object) -> Golden:
    """A golden table made from a checkpoint's own answers, as the official one was from the official weights."""
    logits = tuple(score.logit for score in reranker.score([(QWEN3_0_6B.query, text) for text in QWEN3_0_6B.documents]))
    model = replace(RERANKER_0_6B, name="sound", repository="Example/Sound", shape=SHAPE)
    ids = tuple(Tokenizer.from_str(_tokenizer_text(reranker)).encode(QWEN3_V1.suffix, add_special_tokens=False).ids)
    table = Golden(model, QWEN3_0_6B.query, QWEN3_0_6B.documents, logits, 42, ids, (YES, NO))
    return replace(table, **changes)  # type: ignore[arg-type]


def _tokenizer_text(reranker: Reranker) -> str:
    text: str = reranker.tokenizer.text._template.to_str()
    return text


def test_a_sound_checkpoint_passes_and_says_what_does_not_apply(sound: Path) -> None:
    result = run(Reranker.load(sound))
    assert result.passed
    assert [one.name for one in result.checks if one.applies] == ["answer words", "head", "scores", "batch independence"]
    assert [one.name for one in result.checks if not one.applies] == ["prompt ids", "golden scores"]
    assert str(YES) in check(result, "answer words").detail


@pytest.mark.parametrize("dtype", ["bf16", "fp64"])
def test_other_precisions_pass_too(sound: Path, dtype: str) -> None:
    assert run(Reranker.load(sound, dtype=dtype)).passed


def test_equal_answer_rows_fail_head_and_scores(sound: Path, tmp_path: Path) -> None:
    def equal(tensors: dict[str, torch.Tensor]) -> None:
        tensors[EMBEDDING][YES] = tensors[EMBEDDING][NO]

    result = run(Reranker.load(altered(sound, tmp_path / "equal", equal)))
    assert failed(result) == {"head", "scores"}
    assert "every score would be 0" in check(result, "head").detail
    assert "the same score" in check(result, "scores").detail
    assert not result.passed


@pytest.mark.parametrize("name", ["model.layers.1.mlp.down_proj.weight", "model.norm.weight"])
def test_nan_in_a_weight_fails_every_check_that_needs_scores(sound: Path, tmp_path: Path, name: str) -> None:
    def poison(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name].view(-1)[5] = float("nan")

    result = run(Reranker.load(altered(sound, tmp_path / "nan", poison)))
    assert failed(result) == {"scores", "batch independence", "golden scores"}
    assert "nan" in check(result, "scores").detail


def test_infinity_in_an_answer_row_fails_the_head(sound: Path, tmp_path: Path) -> None:
    def poison(tensors: dict[str, torch.Tensor]) -> None:
        tensors[EMBEDDING][YES, 3] = float("inf")

    result = run(Reranker.load(altered(sound, tmp_path / "inf", poison)))
    assert "NaN or infinity" in check(result, "head").detail
    assert "head" in failed(result)


def test_a_model_that_ignores_its_text_fails_the_scores(sound: Path, tmp_path: Path) -> None:
    def deaf(tensors: dict[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            if name.endswith(("v_proj.weight", "o_proj.weight")):
                tensor.zero_()

    result = run(Reranker.load(altered(sound, tmp_path / "deaf", deaf)))
    assert failed(result) == {"scores"}


def test_a_tokenizer_without_the_answer_word_does_not_load(sound: Path, tmp_path: Path) -> None:
    folder = altered(sound, tmp_path / "wordless", lambda tensors: None)
    raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    raw["model"]["merges"] = [merge for merge in raw["model"]["merges"] if "".join(merge) != "yes"]
    (folder / "tokenizer.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(CheckpointError, match="'yes' is 2 tokens"):
        Reranker.load(folder)


def test_a_tokenizer_that_maps_unknown_words_to_one_token_fails_the_answer_words(sound: Path, tmp_path: Path) -> None:
    folder = altered(sound, tmp_path / "unknown", lambda tensors: None)
    raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    raw["model"] = {"type": "WordLevel", "vocab": {"[UNK]": 0, "Venus": 1, "Mars": 2}, "unk_token": "[UNK]"}
    raw["added_tokens"] = []
    (folder / "tokenizer.json").write_text(json.dumps(raw), encoding="utf-8")
    result = run(Reranker.load(folder))
    assert {"answer words", "head"} <= failed(result)
    assert "does not know them apart" in check(result, "answer words").detail


def test_golden_ids_and_scores_of_the_right_model_pass(sound: Path) -> None:
    reranker = Reranker.load(sound)
    result = run(reranker, golden_of(reranker))
    assert result.passed
    assert all(one.applies for one in result.checks)
    assert "at most 0 from Example/Sound" in check(result, "golden scores").detail


@pytest.mark.parametrize("changes", [{"prefix_tokens": 41}, {"suffix_ids": (1, 2)}, {"answer_ids": (NO, YES)}])
def test_wrong_prompt_ids_fail(sound: Path, changes: dict[str, object]) -> None:
    reranker = Reranker.load(sound)
    result = run(reranker, golden_of(reranker, **changes))
    assert failed(result) == {"prompt ids"}
    assert "the model card's are" in check(result, "prompt ids").detail


def test_swapped_answer_rows_fail_the_golden_scores(sound: Path, tmp_path: Path) -> None:
    def swap(tensors: dict[str, torch.Tensor]) -> None:
        rows = tensors[EMBEDDING]
        rows[[YES, NO]] = rows[[NO, YES]]

    golden = golden_of(Reranker.load(sound))
    folder = altered(sound, tmp_path / "sound", swap)  # the same name, other weights
    result = run(Reranker.load(folder), golden)
    assert failed(result) == {"golden scores"}
    assert "other weights under this name" in check(result, "golden scores").detail


def test_swapped_answer_rows_under_another_name_are_other_weights(sound: Path, tmp_path: Path) -> None:
    def negate(tensors: dict[str, torch.Tensor]) -> None:
        rows = tensors[EMBEDDING]
        rows[[YES, NO]] = rows[[NO, YES]]

    golden = golden_of(Reranker.load(sound))
    result = run(Reranker.load(altered(sound, tmp_path / "mine", negate)), golden)
    assert result.passed
    assert not check(result, "golden scores").applies


def test_a_model_in_8_bits_is_sound_and_other_precisions_have_nothing_to_check(sound: Path) -> None:
    result = run(Reranker.load(sound, dtype="int8"), golden_of(Reranker.load(sound)))
    assert result.passed
    assert "int8 the four scores span" in check(result, "quantisation").detail
    assert all(one.name != "quantisation" for one in run(Reranker.load(sound)).checks)


def broken_scales(weight: torch.Tensor) -> QuantizedMatrix:
    """Scales a thousandth of what they should be: nothing comes through a layer, and scores hardly differ."""
    found = quantize(weight)
    return QuantizedMatrix(found.values, found.scales / 1_000)


def forgotten_weights(weight: torch.Tensor) -> QuantizedMatrix:
    return QuantizedMatrix(torch.zeros_like(quantize(weight).values), quantize(weight).scales)


@pytest.mark.parametrize("broken", [broken_scales, forgotten_weights])
def test_a_broken_quantisation_is_refused_by_the_self_test_and_by_the_server(
    sound: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[torch.Tensor], QuantizedMatrix]
) -> None:
    monkeypatch.setattr("gigarank.engine.numerics.quantize", broken)
    reranker = Reranker.load(sound, dtype="int8")
    assert "quantisation" in failed(run(reranker))
    with pytest.raises(CheckpointError, match=r"the self-test failed: .*quantisation: in int8 the four scores span"):
        require_sound(reranker)


class Leaking(PlainLinear):
    """A product in which every row feels the others: what a careless batch norm, or a padded kernel, does."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return super().__call__(x) + 1e-3 * x.mean()


@pytest.mark.parametrize(
    ("deterministic", "tolerance", "passes"), [(True, 9.0, False), (False, 1e-4, False), (False, 9.0, True)]
)
def test_scores_that_depend_on_the_batch_fail(sound: Path, deterministic: bool, tolerance: float, passes: bool) -> None:
    config = ModelConfig.from_shape(SHAPE)
    place = Placement(torch.float32, torch.device("cpu"), Leaking)
    decoder = Decoder(config, load_weights(TensorFiles(sound), config, place), 4_096)
    numerics = replace(choose_numerics("cpu", "fp32"), deterministic=deterministic, tolerance=tolerance)
    loaded = Loaded("leaking", config, numerics, Runner(decoder, Limits(4_096, 2_048)), 4_096)
    result = run(Reranker(loaded, PromptTokenizer(TextTokenizer.from_folder(sound), QWEN3_V1, 4_096)))
    assert check(result, "batch independence").passed is passes
    assert failed(result) == (set() if passes else {"batch independence"})


@pytest.mark.parametrize(("drift", "passes"), [(0.0, True), (0.00005, True), (0.01, False), (0.4, False), (0.6, True)])
def test_official_weights_are_known_by_their_scores_whatever_their_name(
    sound: Path, tmp_path: Path, drift: float, passes: bool
) -> None:
    """Near the golden values they are the official weights, and then held to the tolerance; far from them they are others."""
    golden = golden_of(Reranker.load(sound))
    drifted = replace(golden, logits=(*golden.logits[:3], golden.logits[3] + drift))
    folder = altered(sound, tmp_path / "0123abcd", lambda tensors: None)
    result = check(run(Reranker.load(folder), drifted), "golden scores")
    assert (result.passed, result.applies) == (passes, drift < 0.5)


def test_another_precision_is_held_to_its_own_tolerance(sound: Path) -> None:
    golden = golden_of(Reranker.load(sound))
    shown = check(run(Reranker.load(sound, dtype="bf16"), golden), "golden scores")
    assert shown.passed and shown.applies
    assert "allowed 0.5 in bf16" in shown.detail
    assert "allowed 0.0001 in fp64" in check(run(Reranker.load(sound, dtype="fp64"), golden), "golden scores").detail


def test_another_shape_or_prompt_is_not_compared(sound: Path, tmp_path: Path) -> None:
    golden = golden_of(Reranker.load(sound))
    folder = altered(sound, tmp_path / "sound", lambda tensors: None)
    (folder / "gigarank.json").write_text('{"prompt": "qwen3-vllm-v1"}', encoding="utf-8")
    result = run(Reranker.load(folder), golden)
    assert not check(result, "golden scores").applies
    assert not check(result, "prompt ids").applies
    other = replace(golden, model=replace(golden.model, shape=replace(SHAPE, num_hidden_layers=3)))
    assert not check(run(Reranker.load(sound), other), "golden scores").applies


def test_the_golden_table_is_the_official_one() -> None:
    assert QWEN3_0_6B.model is catalogue.find("Qwen/Qwen3-Reranker-0.6B")
    assert [round(logit, 4) for logit in QWEN3_0_6B.logits] == [-3.1093, 7.1204, -0.3788, 3.5416]
    assert QWEN3_0_6B.documents[1].startswith("Mars, known for its reddish appearance")
    assert len(QWEN3_0_6B.suffix_ids) == 9
    assert QWEN3_0_6B.tolerance == 1e-4
