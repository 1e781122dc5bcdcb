"""Builds a tokenizer from a GGUF file's own vocabulary and merges.

Knows the byte-level BPE of SmolLM only (`tokenizer.ggml.pre` = smollm: every digit alone, then GPT-2's splits); any other
is refused, because a wrong split gives wrong ids without a sign. Invariant: a token's id is its place in the file.
"""

import os
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from gigarank.errors import CheckpointError, UnsupportedArchitecture
from gigarank.model.gguf import read_metadata

_PREFIX = "tokenizer.ggml."
_NORMAL, _CONTROL = 1, 3  # llama.cpp's token types; a byte-level vocabulary has no others


def read_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The file's tokenizer; control tokens become special ones. Raises CheckpointError, UnsupportedArchitecture."""
    path = Path(path)
    metadata = read_metadata(path, _PREFIX)
    kind = (metadata.get(_PREFIX + "model"), metadata.get(_PREFIX + "pre"))
    if kind != ("gpt2", "smollm"):
        raise UnsupportedArchitecture(
            f"{path}: tokenizer {kind[0]!r} with the splits {kind[1]!r} cannot be read; known: 'gpt2' with 'smollm'",
            limit=["gpt2", "smollm"],
            received=list(kind),
        )
    tokens, types = _vocabulary(path, metadata)
    tokenizer = Tokenizer(BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=_merges(path, metadata, tokens)))
    digits = pre_tokenizers.Digits(individual_digits=True)
    splits = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, splits])
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in control])
    return tokenizer


def _list(path: Path, metadata: dict[str, object], key: str, kind: type[str] | type[int]) -> list[object]:
    value = metadata.get(_PREFIX + key)
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        raise CheckpointError(f"{path}: {_PREFIX}{key} must be a list of {kind.__name__}", param=_PREFIX + key)
    return value


def _vocabulary(path: Path, metadata: dict[str, object]) -> tuple[list[str], list[int]]:
    tokens = [str(token) for token in _list(path, metadata, "tokens", str)]
    types = [int(str(kind)) for kind in _list(path, metadata, "token_type", int)]
    if len(tokens) != len(types):
        raise CheckpointError(
            f"{path}: {len(tokens)} tokens, but {len(types)} token types", limit=len(tokens), received=len(types)
        )
    if len(set(tokens)) != len(tokens):
        raise CheckpointError(f"{path}: {len(tokens) - len(set(tokens))} tokens stand twice in the vocabulary")
    if strange := sorted(set(types) - {_NORMAL, _CONTROL}):
        raise UnsupportedArchitecture(f"{path}: token types {strange} are not known", limit=[1, 3], received=strange)
    return tokens, types


def _merges(path: Path, metadata: dict[str, object], tokens: list[str]) -> list[tuple[str, str]]:
    known = set(tokens)
    merges = []
    for line in _list(path, metadata, "merges", str):
        left, _, right = str(line).partition(" ")
        if not {left, right, left + right} <= known:
            raise CheckpointError(f"{path}: the merge {line!r} names a token that is not in the vocabulary", received=line)
        merges.append((left, right))
    return merges
