"""A model card says what it was given, whole, and that the rest is not known."""

import re

import pytest

from gigarank.errors import InvalidInput
from gigarank.prompt import NANO_V1, QWEN3_V1, PromptFormat
from gigarank.training.card import CardFacts, DataSource, Figure, card, parse_source, vllm_overrides

FACTS = CardFacts("mine", "nano", "Apache-2.0", "reranker")


def test_a_card_of_nothing_says_that_nothing_is_known() -> None:
    text = card(FACTS)
    assert "A reranker made from nano by stages that were not recorded." in text
    assert "commit not recorded" in text
    assert text.count("Not recorded.") == 2
    assert "Not measured." in text


def test_the_metadata_is_the_hubs() -> None:
    head = card(FACTS).split("---")[1]
    assert 'license: "apache-2.0"' in head
    assert 'base_model: "nano"' in head
    assert "pipeline_tag: text-ranking" in head
    assert "pipeline_tag: feature-extraction" in card(CardFacts("mine", "x", "MIT", "embedder"))


def test_all_facts_stand_in_the_card() -> None:
    facts = CardFacts(
        name="mine",
        base="nano",
        licence="MIT",
        kind="reranker",
        data=[DataSource("tickets", "CC0", 1_200), DataSource("a | b", "MIT")],
        stages=["contrastive", "instruction tuning"],
        recipe="[lora]\nrank = 8",
        commit="abc123",
        version="0.1.0",
        figures=[Figure("SciFact", "ndcg_cut_10", 0.71234, 0.65, 0.6, 300), Figure("own", "map", 0.5, 0.4)],
    )
    text = card(facts)
    assert "by contrastive, then instruction tuning. Licence: MIT. Made with gigarank 0.1.0, commit abc123." in text
    assert "| tickets | 1,200 | CC0 |\n| a \\| b | - | MIT |" in text
    assert "```toml\n[lora]\nrank = 8\n```" in text
    assert "| SciFact | 300 | ndcg_cut_10 | 0.6500 | 0.6000 | 0.7123 |" in text
    assert "| own | - | map | 0.4000 | not measured | 0.5000 |" in text


@pytest.mark.parametrize(
    ("model_type", "prompt", "wanted"),
    [
        (
            "qwen3",
            QWEN3_V1,
            '{"architectures": ["Qwen3ForSequenceClassification"], "classifier_from_token": ["no", "yes"], '
            '"is_original_qwen3_reranker": true}',
        ),
        (
            "llama",
            NANO_V1,
            '{"architectures": ["LlamaForSequenceClassification"], "classifier_from_token": ["No", "Yes"], '
            '"method": "from_2_way_softmax"}',
        ),
    ],
)
def test_vllms_overrides_name_class_and_answers(model_type: str, prompt: PromptFormat, wanted: str) -> None:
    facts = CardFacts("mine", "nano", "MIT", "reranker", vllm=vllm_overrides(model_type, prompt))
    assert f"--hf-overrides '{wanted}'" in card(facts)
    assert "vLLM" not in card(FACTS)


def test_blocks_are_closed_and_named() -> None:
    for kind in ("reranker", "embedder"):
        fences = re.findall(r"^```(\w*)$", card(CardFacts("m", "b", "MIT", kind, recipe="a = 1", vllm={"x": 1})), re.M)
        assert fences[::2] == [name for name in fences if name]
        assert len(fences) % 2 == 0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("tickets=MIT", DataSource("tickets", "MIT")),
        ("my tickets = CC BY 4.0:12", DataSource("my tickets", "CC BY 4.0", 12)),
        ("a=https://x.y/z:licence", DataSource("a", "https://x.y/z:licence")),
    ],
)
def test_sources_as_a_command_line_gives_them(text: str, wanted: DataSource) -> None:
    assert parse_source(text) == wanted


@pytest.mark.parametrize("text", ["", "tickets", "=MIT", "tickets=", "tickets=:12"])
def test_a_source_without_name_or_licence_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="must be NAME=LICENCE"):
        parse_source(text)
