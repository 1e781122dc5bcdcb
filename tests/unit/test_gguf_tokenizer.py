"""The tokenizer out of a tiny GGUF file: splits, merges, special tokens, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gigarank.engine.gguf_tokenizer import read_tokenizer
from gigarank.errors import CheckpointError, UnsupportedArchitecture

Build = Callable[..., Path]


def test_ids_are_places_in_the_file_and_merges_apply(tiny_gguf: Build) -> None:
    tokenizer = read_tokenizer(tiny_gguf())
    assert tokenizer.encode("abc cab").tokens == ["abc", "Ġc", "ab"]
    assert tokenizer.encode("abc cab").ids == [15, 14, 13]
    assert tokenizer.get_vocab_size() == 16


def test_every_digit_stands_alone(tiny_gguf: Build) -> None:
    """Even where the vocabulary could join them."""
    words = [*"abcdefgh", "Ġ", "1", "2", "ab", "12", "Ġ1", "22", "21"]
    changed = {"tokens": words, "token_type": [1] * 16, "merges": ["1 2", "Ġ 1", "2 2", "2 1", "a b"]}
    tokens = read_tokenizer(tiny_gguf(tokenizer=changed)).encode("ab 12b 221").tokens
    assert tokens == ["ab", "Ġ", "1", "2", "b", "Ġ", "2", "2", "1"]


def test_control_tokens_are_special(tiny_gguf: Build) -> None:
    tokenizer = read_tokenizer(tiny_gguf())
    assert tokenizer.encode("<|im_start|>ab<|im_end|>").ids == [0, 13, 1]
    assert tokenizer.decode([0, 13, 14, 1]) == "ab c"
    assert {token.content: token.special for token in tokenizer.get_added_tokens_decoder().values()} == {
        "<|im_start|>": True,
        "<|im_end|>": True,
    }


def test_a_control_token_keeps_its_id_wherever_it_stands(tiny_gguf: Build) -> None:
    tokens = [*"abcdefgh", "Ġ", "1", "<|x|>", "2", "ab", "Ġc", "abc", "<|y|>"]
    types = [3 if token.startswith("<|") else 1 for token in tokens]
    tokenizer = read_tokenizer(tiny_gguf(tokenizer={"tokens": tokens, "token_type": types}))
    assert tokenizer.encode("a<|x|>b<|y|>").ids == [0, 10, 1, 15]


@pytest.mark.parametrize(
    ("tokenizer", "error", "said"),
    [
        ({"model": "llama"}, UnsupportedArchitecture, "'llama'"),
        ({"pre": "qwen2"}, UnsupportedArchitecture, "'qwen2'"),
        ({"pre": None}, UnsupportedArchitecture, "None"),
        ({"token_type": [1] * 15}, CheckpointError, "16 tokens, but 15 token types"),
        ({"token_type": [1] * 15 + [6]}, UnsupportedArchitecture, "[6]"),
        ({"tokens": ["a"] * 16}, CheckpointError, "15 tokens stand twice"),
        ({"merges": ["a b", "a h"]}, CheckpointError, "'a h'"),
        ({"merges": ["ab"]}, CheckpointError, "'ab'"),
        ({"merges": None}, CheckpointError, "tokenizer.ggml.merges"),
        ({"tokens": "abc"}, CheckpointError, "tokenizer.ggml.tokens"),
    ],
)
def test_a_tokenizer_that_would_give_wrong_ids_is_refused(
    tiny_gguf: Build, tokenizer: dict[str, object], error: type[CheckpointError], said: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_tokenizer(tiny_gguf(tokenizer=tokenizer))
    assert type(caught.value) is error
    assert said in caught.value.message
