"""The rebuilt Qwen3 tokenizer: the digests and ids here are those of the official tokenizer.json."""

import hashlib
import json
import sys

import pytest
from tokenizers import Tokenizer

from gigarank.bench.qwen_tokenizer import FULL_VOCABULARY, qwen_tokenizer, vocabulary_file
from gigarank.errors import ModelUnavailable
from gigarank.prompt import QWEN3_V1

OFFICIAL_VOCABULARY_SHA256 = "36c3749fd3c87e2402f612459b45ae4e6ce5488a3ecde47a8a3ea3ed3d5dda5a"
OFFICIAL_MERGES_SHA256 = "bbeef245f0b03a9613753068e5799c2496290005594c68f09eed68feedbe6d1f"
OFFICIAL_IDS = {
    "The capital of China is Beijing.": [785, 6722, 315, 5616, 374, 26549, 13],
    "Wasserdampf über dem See,\n\n  und 2024 Äpfel": [
        54, 395, 14348, 1121, 69, 13785, 2429, 3496, 3554, 220, 2030, 220, 17, 15, 17, 19, 48686, 15897, 301,
    ],
    "北京是中国的首都。日本語も": [68990, 105196, 9370, 106114, 1773, 101059, 102819, 31877],
    "def f(x):\n\treturn x**2  # квадрат": [750, 282, 2075, 982, 853, 856, 334, 17, 220, 671, 7665, 5474, 22833, 80559],
    "नमस्ते 👩\u200d👩\u200d👧 e\u0301": [
        60096, 87244, 78368, 30484, 97, 34370, 61804, 102, 378, 235, 145233, 378, 235, 145665, 3958,
    ],
    "I'll we'VE it's": [40, 3278, 582, 6, 4491, 432, 594],
    "<|im_end|> <think>\r\n": [151645, 220, 151667, 319],
}  # fmt: skip


@pytest.fixture(scope="module")
def full() -> Tokenizer:
    return qwen_tokenizer()


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    found: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return found


def test_vocabulary_and_merges_are_the_official_ones(full: Tokenizer) -> None:
    model = json.loads(full.to_str())["model"]
    by_id = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = [" ".join(merge) for merge in model["merges"]]
    assert hashlib.sha256("\n".join(by_id).encode()).hexdigest() == OFFICIAL_VOCABULARY_SHA256
    assert hashlib.sha256("\n".join(merges).encode()).hexdigest() == OFFICIAL_MERGES_SHA256
    assert full.get_vocab_size() == FULL_VOCABULARY == 151_669


@pytest.mark.parametrize("text", OFFICIAL_IDS)
def test_texts_have_their_official_ids(full: Tokenizer, text: str) -> None:
    assert ids(full, text) == OFFICIAL_IDS[text]


def test_prompt_has_the_ids_that_the_model_card_states(full: Tokenizer) -> None:
    assert ids(full, QWEN3_V1.suffix) == [151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271]
    assert len(ids(full, QWEN3_V1.prefix)) == 39
    assert len(ids(full, QWEN3_V1.render(None, "cat", "dog"))) == 72 + 2  # the template, and a word each
    assert (full.token_to_id("yes"), full.token_to_id("no"), full.token_to_id("<|endoftext|>")) == (9693, 2152, 151643)


def test_only_the_first_fourteen_added_tokens_are_special(full: Tokenizer) -> None:
    assert full.decode(ids(full, "<|im_start|>a<think>b<|video_pad|>"), skip_special_tokens=True) == "a<think>b"


@pytest.mark.parametrize("size", [512, 12_000])
def test_a_smaller_vocabulary_encodes_everything_within_its_size(size: int) -> None:
    small = qwen_tokenizer(size)
    assert small.get_vocab_size() == size
    assert small.token_to_id("</think>") == size - 1
    for text in OFFICIAL_IDS:
        found = ids(small, text)
        assert max(found) < size
        assert small.decode(found, skip_special_tokens=False).encode() == text.replace("e\u0301", "\u00e9").encode()


def test_a_smaller_vocabulary_agrees_with_the_full_one_where_that_stays_inside(full: Tokenizer) -> None:
    text = " about the same words for every one"
    assert max(ids(full, text)) < 11_000
    assert ids(qwen_tokenizer(12_000), text) == ids(full, text)


def test_a_size_below_the_bytes_is_raised_to_them() -> None:
    assert qwen_tokenizer(10).get_vocab_size() == 256 + 26


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dashscope", None)  # how Python itself notes that a module cannot be imported
    with pytest.raises(ModelUnavailable, match="pip install dashscope"):
        vocabulary_file()
