"""Prompt formats as values: parts add up, defaults fill in, unknown ids are refused with the known ones."""

import pytest

from gigarank.errors import InvalidInput
from gigarank.prompt import (
    FORMATS,
    NANO_V1,
    QWEN3_EMBEDDING_V1,
    QWEN3_V1,
    QWEN3_VLLM_V1,
    WEB_SEARCH,
    PromptFormat,
    prompt_format,
)


@pytest.mark.parametrize("prompt", FORMATS.values(), ids=FORMATS)
def test_a_prompt_is_its_prefix_its_parts_and_its_suffix(prompt: PromptFormat) -> None:
    whole = prompt.render("Find cats", "cat?", "A cat.")
    assert whole == prompt.prefix + prompt.root("Find cats") + " cat?" + f"{prompt.separator}<Document>: A cat." + prompt.suffix


def test_the_model_cards_body() -> None:
    assert QWEN3_V1.body("I", "Q", "D") == "<Instruct>: I\n<Query>: Q\n<Document>: D"
    assert QWEN3_VLLM_V1.body("I", "Q", "D") == "<Instruct>: I\n\n<Query>: Q\n\n<Document>: D"


def test_no_instruction_means_the_default_and_an_empty_one_stays_empty() -> None:
    assert QWEN3_V1.root(None) == f"<Instruct>: {WEB_SEARCH}\n<Query>:"
    assert QWEN3_V1.root("") == "<Instruct>: \n<Query>:"
    assert not WEB_SEARCH.endswith(".")


def test_a_document_follows_its_label_after_one_blank() -> None:
    assert QWEN3_V1.query("q").endswith("<Document>:")
    assert QWEN3_V1.document("") == " "


def test_nano_has_no_think_block_and_answers_in_capitals() -> None:
    assert NANO_V1.suffix == "<|im_end|>\n<|im_start|>assistant\n"
    assert (NANO_V1.yes, NANO_V1.no) == ("Yes", "No")


def test_ids_are_the_keys_and_unknown_ones_are_refused_with_the_known() -> None:
    assert all(prompt_format(key).id == key for key in FORMATS)
    with pytest.raises(
        InvalidInput, match=r"prompt: unknown format 'qwen4'; known: qwen3-v1, qwen3-vllm-v1, nano-v1"
    ) as caught:
        prompt_format("qwen4")
    assert (caught.value.param, caught.value.received) == ("prompt", "qwen4")


def test_an_embedding_query_has_no_blank_after_its_label() -> None:
    assert QWEN3_EMBEDDING_V1.query("T", "q") == "Instruct: T\nQuery:q"
    assert QWEN3_EMBEDDING_V1.query(None, "q") == f"Instruct: {WEB_SEARCH}\nQuery:q"
