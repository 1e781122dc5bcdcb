"""The prompts' bytes and ids: whoever changes one changes every score, and must change the file beside this with it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer
from gigarank.prompt import FORMATS, NANO_V1, QWEN3_EMBEDDING_V1, QWEN3_V1, QWEN3_VLLM_V1, PromptFormat

Golden = Callable[[str, str], None]
QUERY, DOCUMENT = "Which planet is known as the Red Planet?", "Mars — 火星 — is red.\n"


def as_json(tokenizer: PromptTokenizer) -> str:
    (root,), (query,), (document,) = tokenizer.roots([None]), tokenizer.queries([QUERY]), tokenizer.documents([DOCUMENT])
    ids = {"prefix": tokenizer.prefix_ids, "root": root, "query": query, "document": document}
    ids |= {"suffix": tokenizer.suffix_ids, "yes": [tokenizer.yes_id], "no": [tokenizer.no_id]}
    return json.dumps(ids, indent=1) + "\n"


@pytest.mark.parametrize("prompt", FORMATS.values(), ids=FORMATS)
def test_bytes(golden: Golden, prompt: PromptFormat) -> None:
    golden(f"{prompt.id}.txt", prompt.render(None, QUERY, DOCUMENT))


@pytest.mark.parametrize("prompt", [QWEN3_V1, QWEN3_VLLM_V1], ids=lambda prompt: prompt.id)
def test_ids_in_the_real_vocabulary(golden: Golden, prompt: PromptFormat) -> None:
    golden(f"{prompt.id}.ids.json", as_json(PromptTokenizer(tiny.qwen_text(), prompt, 8_192)))


@pytest.mark.nano
def test_ids_in_the_vocabulary_of_nano(golden: Golden, nano_folder: Path) -> None:
    golden("nano-v1.ids.json", as_json(PromptTokenizer(TextTokenizer.from_folder(nano_folder), NANO_V1, 8_192)))


def test_embedding_bytes(golden: Golden) -> None:
    golden("qwen3-embedding-v1.txt", QWEN3_EMBEDDING_V1.query(None, QUERY) + QWEN3_EMBEDDING_V1.end)


def test_the_canonical_ids_are_the_published_ones() -> None:
    """Against the model card's own figures, not against our file: ids, template cost."""
    tokenizer = PromptTokenizer(tiny.qwen_text(), QWEN3_V1, 8_192)
    assert tokenizer.suffix_ids == [151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271]
    assert (tokenizer.yes_id, tokenizer.no_id) == (9693, 2152)
    (root,), (query,) = tokenizer.roots([None]), tokenizer.queries(["word"])
    assert len(tokenizer.prefix_ids) == 39
    assert len(root) + len(query) - 1 + len(tokenizer.suffix_ids) == 39 + 21 + 3 + 9  # less the query's own token


def test_the_formats_are_frozen_and_the_canonical_one_is_the_default() -> None:
    with pytest.raises(AttributeError):
        QWEN3_V1.suffix = ""  # type: ignore[misc]
    assert next(iter(FORMATS)) == QWEN3_V1.id == "qwen3-v1"
    assert tiny.reranker().prompt is QWEN3_V1
