"""Qwen3's tokenizer, built without network from the vocabulary that the package `dashscope` carries.

`dashscope/resources/qwen.tiktoken` holds the 151,643 byte sequences of the official vocabulary in rank order; merges and
special tokens follow from it. Knows no model. Invariant: the ids equal those of the official tokenizer.json; a reduced
vocabulary keeps the first ranks, and with them every merge that leads to them.
"""

import base64
import importlib.util
from functools import cache
from itertools import pairwise
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from gigarank.errors import ModelUnavailable

FULL_VOCABULARY = 151_669

# In the order of their ids, from 151,643 on. The first fourteen are special: decoding for display leaves them out.
_SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
_ADDED = (
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>",
    "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>",
)  # fmt: skip
_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def vocabulary_file() -> Path:
    """Where `dashscope` keeps the vocabulary; raises ModelUnavailable where the package is not installed."""
    found = importlib.util.find_spec("dashscope")  # finds it without importing it
    if found is None or found.origin is None:
        raise ModelUnavailable("tokenizer: Qwen3's vocabulary comes with the package dashscope: pip install dashscope")
    return Path(found.origin).parent / "resources" / "qwen.tiktoken"


@cache
def _ranks() -> tuple[bytes, ...]:
    lines = vocabulary_file().read_bytes().splitlines()
    return tuple(base64.b64decode(line.split()[0]) for line in lines)


def _letters() -> dict[int, str]:
    """Byte-level BPE's letter for each byte: itself where printable, else the next free one from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}


def _halves(token: bytes, rank_of: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens that merge into this one: what is left when merges of lower rank have been applied to its bytes."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        ranks = [rank_of.get(left + right, len(rank_of)) for left, right in pairwise(parts)]
        at = min(range(len(ranks)), key=ranks.__getitem__)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


@cache
def _merges() -> tuple[tuple[str, str], ...]:
    """One merge for every token of more than one byte, in rank order."""
    letters = _letters()
    rank_of = {token: rank for rank, token in enumerate(_ranks())}

    def spelled(part: bytes) -> str:
        return "".join(letters[byte] for byte in part)

    halves = (_halves(token, rank_of) for token in _ranks() if len(token) > 1)
    return tuple((spelled(left), spelled(right)) for left, right in halves)


def qwen_tokenizer(vocabulary: int = FULL_VOCABULARY) -> Tokenizer:
    """Qwen3's tokenizer with `vocabulary` ids, the 26 added tokens included and last.

    A smaller vocabulary than the full one is for small test models; it has at least the 256 bytes.
    """
    kept = min(max(vocabulary, 256 + len(_SPECIAL) + len(_ADDED)), FULL_VOCABULARY) - len(_SPECIAL) - len(_ADDED)
    letters = _letters()
    ids = {"".join(letters[byte] for byte in token): rank for rank, token in enumerate(_ranks()[:kept])}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=list(_merges()[: kept - 256])))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in _SPECIAL])
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in _ADDED])
    return tokenizer
