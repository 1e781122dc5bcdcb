"""Query likelihood: how probable a query is behind a passage, by the language model that a reranker starts from.

    <|im_start|>user\nPassage: {passage}\n\nWrite a question that this passage answers.<|im_end|>\n
    <|im_start|>assistant\n{query}

The score is the mean log-probability of the query's tokens. All queries of a passage share its prompt, as a reranker's
documents share theirs. Knows transformers' model and the engine's tokenizer. Invariant: each score is that of the whole text
read alone (tests/parity/test_train_likelihood.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from gigarank.engine.identity import fingerprint_of
from gigarank.engine.loading import read_config
from gigarank.engine.reranker import choose_prompt
from gigarank.engine.store import Checkpoint
from gigarank.engine.tokenizer import TextTokenizer
from gigarank.errors import InvalidInput
from gigarank.prompt import PromptFormat
from gigarank.training import attention
from gigarank.training.packing import PAD, PREFIX, block_mask
from gigarank.training.rows import Row
from gigarank.types import EngineOptions

try:
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar
except ImportError as error:
    raise InvalidInput(
        "training needs the packages of gigarank[train]: pip install 'gigarank[train]'", param="train"
    ) from error

OPENING = "<|im_start|>user\n"
ASK = "\n\nWrite a question that this passage answers."
_QUERIES = 16  # of one passage in a sequence


@dataclass(frozen=True, slots=True)
class LikelihoodOptions:
    """Passages and queries are cut to their first tokens; a forward takes `batch_tokens`, padding included."""

    dtype: str = "fp32"
    device: str = "cpu"
    max_document_tokens: int = 256
    max_query_tokens: int = 64
    batch_tokens: int = 4096


@dataclass(frozen=True, slots=True)
class _Sequence:
    """A passage's prompt and the queries behind it, with the places of their pairs."""

    prompt: list[int]
    queries: list[list[int]]
    places: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + sum(map(len, self.queries))


class QueryLikelihood:
    """A teacher. `causal`: transformers' model, whose head is used for the queries' tokens only."""

    def __init__(self, causal: Any, text: TextTokenizer, prompt: PromptFormat, options: LikelihoodOptions, known: str) -> None:
        self._causal, self._text, self._options = causal, text, options
        self._head = text.template(OPENING) + text.plain(["Passage:"], "prompt")[0]
        self._tail = text.plain([ASK], "prompt")[0] + text.template(prompt.suffix)
        lengths = f"{options.max_document_tokens} {options.max_query_tokens}"
        self.identity = f"query-likelihood {known} {options.dtype} {lengths} {OPENING}{ASK}{prompt.suffix}"

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LikelihoodOptions) -> Self:
        """Raises InvalidInput for a model with an adapter, CheckpointError for one that the engine does not know."""
        if checkpoint.adapter is not None:
            raise InvalidInput(
                f"model: {checkpoint.name} has an adapter; merge it first (gigarank train merge)",
                param="model",
                received=checkpoint.name,
            )
        read_config(checkpoint.folder)
        disable_progress_bar()
        causal = AutoModelForCausalLM.from_pretrained(
            checkpoint.folder,
            dtype=torch.bfloat16 if options.dtype == "bf16" else torch.float32,
            attn_implementation=attention.NAME if options.device == "cpu" else "sdpa",
        )
        text = TextTokenizer.from_folder(checkpoint.folder)
        prompt = choose_prompt(checkpoint, EngineOptions())
        return cls(causal.to(options.device).eval(), text, prompt, options, fingerprint_of(checkpoint))

    def teach(self, rows: Sequence[Row]) -> list[list[float]]:
        """The scores of each row's documents."""
        pairs = [(row.query, document) for row in rows for document in row.documents]
        scores = iter(self.likelihoods(pairs))
        return [[next(scores) for _ in row.documents] for row in rows]

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """One number a pair of query and passage, 0 at most. Raises InvalidInput for an empty query."""
        found = [0.0] * len(pairs)
        for batch in self._batches(self._sequences(pairs)):
            with torch.inference_mode():
                scores = self._scored(batch).tolist()
            for place, score in zip((place for one in batch for place in one.places), scores, strict=True):
                found[place] = score
        return found

    def _sequences(self, pairs: Sequence[tuple[str, str]]) -> list[_Sequence]:
        """Passage by passage, those of like length beside each other."""
        by_passage: dict[str, list[int]] = {}
        for place, (_, passage) in enumerate(pairs):
            by_passage.setdefault(passage, []).append(place)
        queries = self._text.plain([query.strip() for query, _ in pairs], "query")
        if empty := [place for place, ids in enumerate(queries) if not ids]:
            raise InvalidInput("query: has no tokens", param="query", limit=1, received=pairs[empty[0]][0])
        passages = self._text.plain([f" {passage.strip()}" for passage in by_passage], "documents")
        found = [
            _Sequence(
                [*self._head, *passage[: self._options.max_document_tokens], *self._tail],
                [queries[place][: self._options.max_query_tokens] for place in places],
                places,
            )
            for passage, all_places in zip(passages, by_passage.values(), strict=True)
            for places in (all_places[start : start + _QUERIES] for start in range(0, len(all_places), _QUERIES))
        ]
        return sorted(found, key=len)

    def _batches(self, sequences: Sequence[_Sequence]) -> Iterator[list[_Sequence]]:
        batch: list[_Sequence] = []
        for one in sequences:  # each at least as long as those before it
            if batch and len(one) * (len(batch) + 1) > self._options.batch_tokens:
                yield batch
                batch = []
            batch.append(one)
        if batch:
            yield batch

    def _scored(self, batch: Sequence[_Sequence]) -> Tensor:
        """(pairs of the batch,), in its order."""
        ids, positions, blocks = (tensor.to(self._options.device) for tensor in _tensors(batch))
        packed = self._causal.config._attn_implementation == attention.NAME
        seen = {"segments": attention.segments_of(blocks)} if packed else {"attention_mask": block_mask(blocks)}
        hidden = self._causal.model(input_ids=ids, position_ids=positions, use_cache=False, **seen).last_hidden_state
        rows, columns, targets, owners = (torch.tensor(one, device=ids.device) for one in _asked(batch))
        logits = self._causal.lm_head(hidden[rows, columns]).float()
        each = -F.cross_entropy(logits, targets, reduction="none")
        counts = torch.bincount(owners)
        return torch.zeros(len(counts), device=each.device).index_add(0, owners, each) / counts


def _tensors(batch: Sequence[_Sequence]) -> list[Tensor]:
    """`ids`, `positions` and `blocks` (b, t), padded on the right."""
    rows: tuple[list[list[int]], ...] = ([], [], [])
    longest = len(batch[-1])
    for one in batch:
        start, padding = len(one.prompt), longest - len(one)
        ids, positions, blocks = list(one.prompt), list(range(start)), [PREFIX] * start
        for number, query in enumerate(one.queries, 1):
            ids += query
            positions += range(start, start + len(query))
            blocks += [number] * len(query)
        for row, values, value in zip(rows, (ids, positions, blocks), (0, 0, PAD), strict=True):
            row.append(values + [value] * padding)
    return [torch.tensor(row) for row in rows]


def _asked(batch: Sequence[_Sequence]) -> tuple[list[int], list[int], list[int], list[int]]:
    """Where each query's tokens are foretold (row, column), the tokens, and whose they are. The prompt's last token foretells
    the first of every query."""
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for number, one in enumerate(batch):
        start = len(one.prompt)
        for query in one.queries:
            rows += [number] * len(query)
            columns += [len(one.prompt) - 1, *range(start, start + len(query) - 1)]
            targets += query
            owners += [owners[-1] + 1 if owners else 0] * len(query)
            start += len(query)
    return rows, columns, targets, owners
