"""The folder that every contestant loads: complete, in the official layout, and the prompt in it the canonical one."""

import json
from pathlib import Path

import jinja2
import pytest
import torch
from safetensors.torch import load_file

from gigarank.bench.checkpoint import chat_template, shape_of, write_checkpoint
from gigarank.catalogue import RERANKER_0_6B, Shape
from gigarank.engine.reranker import Reranker
from gigarank.errors import InvalidInput
from gigarank.prompt import NANO_V1, QWEN3_V1, QWEN3_VLLM_V1, PromptFormat

SHAPE = Shape("llama", 64, 2, 4, 2, 16, 128, 12_000, True, 1e6, 1e-6, 4_096)


def rendered(prompt: PromptFormat, messages: list[dict[str, str]]) -> str:
    """As transformers renders chat templates."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=False)
    return environment.from_string(chat_template(prompt)).render(messages=messages)


@pytest.mark.parametrize("prompt", [QWEN3_V1, QWEN3_VLLM_V1, NANO_V1], ids=lambda prompt: prompt.id)
@pytest.mark.parametrize("instruction", [None, "Find the answer"])
def test_the_chat_template_renders_the_canonical_prompt(prompt: PromptFormat, instruction: str | None) -> None:
    pair = [{"role": "query", "content": "what\nis it"}, {"role": "document", "content": " It's <b>\n"}]
    system = [] if instruction is None else [{"role": "system", "content": instruction}]
    assert rendered(prompt, system + pair) == prompt.render(instruction, "what\nis it", " It's <b>\n")


def test_the_template_of_the_official_prompt_ends_in_three_newlines() -> None:
    assert chat_template(QWEN3_V1).endswith("</think>\n\n\n")


def test_the_folder_has_the_official_layout(tmp_path: Path) -> None:
    tokenizer = write_checkpoint(tmp_path, SHAPE, NANO_V1)
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert found == [
        "1_LogitScore/config.json",
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
    answers = json.loads((tmp_path / "1_LogitScore" / "config.json").read_text(encoding="utf-8"))
    assert answers == {"true_token_id": tokenizer.token_to_id("Yes"), "false_token_id": tokenizer.token_to_id("No")}
    assert Reranker.load(tmp_path).prompt is NANO_V1


def test_weights_are_bf16_and_follow_the_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_checkpoint(tmp_path / name, SHAPE, QWEN3_V1, seed)
    first, same, other = (load_file(tmp_path / name / "model.safetensors") for name in "abc")
    name = "model.layers.0.mlp.up_proj.weight"
    assert first[name].dtype == torch.bfloat16
    assert torch.equal(first[name], same[name])
    assert not torch.equal(first[name], other[name])


def test_shapes_are_the_catalogues_and_can_be_shortened() -> None:
    assert shape_of("0.6b") == (RERANKER_0_6B.shape, QWEN3_V1)
    shape, prompt = shape_of("nano", layers=2)
    assert (shape.num_hidden_layers, shape.hidden_size, prompt) == (2, 576, NANO_V1)
    assert shape_of("8b")[0].tie_word_embeddings is False


@pytest.mark.parametrize("layers", [0, 29, -1])
def test_more_layers_than_the_model_has_are_refused(layers: int) -> None:
    with pytest.raises(InvalidInput, match="1 to 28") as caught:
        shape_of("0.6b", layers)
    assert (caught.value.param, caught.value.received) == ("layers", layers)


def test_an_unknown_shape_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"0\.6b, 4b, 8b, nano"):
        shape_of("70b")
