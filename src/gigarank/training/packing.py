"""Examples in tokens: a query's documents behind one prefix, as the engine reads them.

Knows the engine's tokenizer and truncation rule; no model. A packed example is one sequence: the prefix (template, instruction,
query), then each document with the suffix behind it, at the positions that it has when it is read alone. A document sees the
prefix and itself. Invariant: its hidden states are those of the whole prompt read alone, and its tokens the engine's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from gigarank.engine.request import encode
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer
from gigarank.prompt import EmbeddingFormat
from gigarank.training.examples import Example
from gigarank.training.recipe import Stage
from gigarank.training.room import reads_of
from gigarank.training.rows import Row
from gigarank.types import Pair

PREFIX, PAD = 0, -1
_NO_SCORE = float("nan")


@dataclass(frozen=True, slots=True)
class Packed:
    """`ids`, `positions` and `blocks` (t,): the block is PREFIX or the document's number from 1. `ends`: where each document's
    prompt ends, (n,), or an embedder's query and then each document, (n + 1,). `labels`, `taught` (n,), NaN where no teacher's
    score is known."""

    ids: Tensor
    positions: Tensor
    blocks: Tensor
    ends: Tensor
    labels: Tensor
    taught: Tensor


class Encodes(Protocol):
    """From texts to an example's tokens."""

    def __call__(
        self, query: str, instruction: str | None, documents: Sequence[str]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]: ...


class RerankerPrompts:
    """Encodes as the engine does: the same parts, cut by the same rule."""

    def __init__(self, tokenizer: PromptTokenizer, stage: Stage) -> None:
        self._tokenizer = tokenizer
        self._reads = reads_of(stage)

    def __call__(self, query: str, instruction: str | None, documents: Sequence[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        encoded = encode([Pair(query, document, instruction) for document in documents], self._tokenizer, self._reads)
        if encoded.failures:
            raise next(iter(encoded.failures.values()))
        prefix = [number for piece, ids in zip(encoded.pieces, encoded.ids, strict=True) if not piece.wanted for number in ids]
        ids, positions, blocks = list(prefix), list(range(len(prefix))), [PREFIX] * len(prefix)
        ends: dict[int, int] = {}  # by the document; equal ones stand there once
        for number, (index, reading) in enumerate(sorted(encoded.readings.items()), 1):
            piece = encoded.ids[index]
            ids += piece
            positions += range(len(prefix), len(prefix) + len(piece))
            blocks += [number] * len(piece)
            ends |= dict.fromkeys((reading.pair, *encoded.copies.get(reading.pair, ())), len(ids) - 1)
        found = torch.tensor([ends[place] for place in range(len(documents))])
        return torch.tensor(ids), torch.tensor(positions), torch.tensor(blocks), found


class EmbedderTexts:
    """The query and each document as a text of its own, closed by the token that carries the vector; the query is the first."""

    def __init__(self, text: TextTokenizer, prompt: EmbeddingFormat, stage: Stage, longest: int) -> None:
        self._text, self._prompt, self._end = text, prompt, text.single(prompt.end)
        self._query = min(longest, stage.max_query_tokens or longest) - 1
        self._document = min(longest, stage.max_document_tokens or longest) - 1

    def __call__(self, query: str, instruction: str | None, documents: Sequence[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        (asked,) = self._text.plain([self._prompt.query(instruction, query)], "query")
        found = [asked[: self._query], *(ids[: self._document] for ids in self._text.plain(documents, "documents"))]
        pieces = [[*ids, self._end] for ids in found]
        ids = [number for piece in pieces for number in piece]
        positions = [place for piece in pieces for place in range(len(piece))]
        blocks = [number for number, piece in enumerate(pieces, 1) for _ in piece]
        ends = torch.tensor([len(piece) for piece in pieces]).cumsum(0) - 1
        return torch.tensor(ids), torch.tensor(positions), torch.tensor(blocks), ends


class PackedExamples(Dataset[Packed]):
    """The examples of a stage, encoded when they are asked for."""

    def __init__(self, examples: Sequence[Example], rows: Sequence[Row], encodes: Encodes) -> None:
        self.examples, self.rows, self._encodes = examples, rows, encodes

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Packed:
        example = self.examples[index]
        row = self.rows[example.row]
        documents = [row.documents[place] for place in example.documents]
        documents += [self.rows[other].documents[place] for other, place in example.others]
        known = row.scores or (None,) * len(row.documents)
        labels = [row.labels[place] for place in example.documents] + [0.0] * len(example.others)
        taught = [known[place] for place in example.documents] + [None] * len(example.others)
        return Packed(
            *self._encodes(row.query, row.instruction, documents),
            torch.tensor(labels),
            torch.tensor([_NO_SCORE if score is None else score for score in taught]),
        )


def collate(examples: Sequence[Packed]) -> dict[str, Tensor]:
    """A forward's tensors: `input_ids`, `position_ids` and `blocks` (b, t), padded on the right; `rows`, `columns` (n,) say
    where each document's prompt ends; `labels`, `taught`, `owners` (n,)."""
    longest = max(len(one.ids) for one in examples)
    return {
        "input_ids": _padded([one.ids for one in examples], longest, 0),
        "position_ids": _padded([one.positions for one in examples], longest, 0),
        "blocks": _padded([one.blocks for one in examples], longest, PAD),
        "rows": torch.cat([torch.full_like(one.ends, number) for number, one in enumerate(examples)]),
        "columns": torch.cat([one.ends for one in examples]),
        "owners": torch.cat([torch.full_like(one.labels, number, dtype=torch.long) for number, one in enumerate(examples)]),
        "labels": torch.cat([one.labels for one in examples]),
        "taught": torch.cat([one.taught for one in examples]),
    }


def _padded(tensors: Sequence[Tensor], length: int, value: int) -> Tensor:
    return torch.stack([torch.nn.functional.pad(one, (0, length - len(one)), value=value) for one in tensors])


def block_mask(blocks: Tensor) -> Tensor:
    """(b, 1, t, t), True where a token (row) may see another (column): itself and what stands before it in its own block or in
    the prefix. Padding sees itself only, so that no row is empty."""
    before = torch.ones(blocks.shape[1], blocks.shape[1], dtype=torch.bool, device=blocks.device).tril()
    own, other = blocks[:, :, None], blocks[:, None, :]
    seen = before & ((other == PREFIX) | (other == own)) & (own != PAD) & (other != PAD)
    return (seen | torch.eye(blocks.shape[1], dtype=torch.bool, device=blocks.device))[:, None]
