"""The contestants: one way each from a query and its documents to raw logits, on the same folder of weights.

`TransformersCard` is the model card's own way; `SentenceTransformersPeer` is the library's public `CrossEncoder.predict`;
`Ours` is this package. Each reads text and tokenises it itself. Knows no clock. Invariant: scores are logit(yes) - logit(no)
in fp32, in the order of the documents.
"""

import logging
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch

from gigarank import __version__
from gigarank.bench.gemm import BatchRows
from gigarank.engine.batch import wanted
from gigarank.engine.loading import load_checkpoint
from gigarank.engine.numerics import compute_dtype
from gigarank.engine.plan import make_plan
from gigarank.engine.request import Reads, encode
from gigarank.engine.reranker import Reranker
from gigarank.engine.store import locate
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer
from gigarank.errors import InvalidInput, ModelUnavailable
from gigarank.prompt import PromptFormat
from gigarank.types import Dtype, EngineOptions, Pair

PEERS = ("transformers", "sentence-transformers")
CARD_BATCH = 8


class Contestant(Protocol):
    """`name` is its key in the results; `how` says in one line what is run."""

    @property
    def name(self) -> str: ...
    @property
    def how(self) -> str: ...
    def scores(self, query: str, documents: Sequence[str]) -> list[float]: ...


class Ours:
    """The engine of this package."""

    name = "gigarank"

    def __init__(self, folder: Path, dtype: Dtype, prompt: PromptFormat) -> None:
        self.loaded = load_checkpoint(locate(folder), EngineOptions(), "cpu", dtype)
        text = TextTokenizer.from_folder(folder)
        self.tokenizer = PromptTokenizer(text, prompt, self.loaded.max_pair_tokens)
        self.reranker = Reranker(self.loaded, self.tokenizer)
        numerics = self.loaded.numerics
        self.how = f"gigarank {__version__}, Reranker.rank, {numerics.linear} products, attention by {numerics.attention}"

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        ranking = self.reranker.rank(query, documents)
        return [score.logit for score in sorted(ranking, key=lambda score: score.index)]

    def batches(self, query: str, documents: Sequence[str]) -> list[BatchRows]:
        """The batches that the engine's plan makes of this request."""
        pieces = encode([Pair(query, document) for document in documents], self.tokenizer, Reads()).pieces
        planned = make_plan(pieces, self.loaded.runner.limits)
        return [BatchRows(sum(pieces[index].length for index in batch.pieces), len(wanted(batch, pieces))) for batch in planned]


class TransformersCard:
    """Qwen3-Reranker's model card: left padding, batches of 8 in the order given, the last position's two answer logits.

    The card's example cuts pairs at 8,192 tokens; here the model's own limit holds, so that nobody reads less than another."""

    name = "transformers"

    def __init__(self, folder: Path, dtype: Dtype, prompt: PromptFormat) -> None:
        transformers = _imported("transformers")
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=compute_dtype(dtype), attn_implementation="sdpa"
        ).eval()
        self.prompt = prompt
        self.before = self.tokenizer.encode(prompt.prefix, add_special_tokens=False)
        self.after = self.tokenizer.encode(prompt.suffix, add_special_tokens=False)
        self.yes, self.no = (self.tokenizer.convert_tokens_to_ids(word) for word in (prompt.yes, prompt.no))
        self.how = (
            f"transformers {transformers.__version__}, the model card's code: AutoModelForCausalLM, sdpa attention, "
            f"left padding, batch {CARD_BATCH}, logits_to_keep=1"
        )

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        texts = [self.prompt.body(None, query, document) for document in documents]
        batches = [texts[start : start + CARD_BATCH] for start in range(0, len(texts), CARD_BATCH)]
        return [score for batch in batches for score in self._batch(self._inputs(batch))]

    def _inputs(self, texts: list[str]) -> Any:
        room = self.tokenizer.model_max_length - len(self.before) - len(self.after)
        encoded = self.tokenizer(texts, padding=False, truncation="longest_first", return_attention_mask=False, max_length=room)
        encoded["input_ids"] = [self.before + ids + self.after for ids in encoded["input_ids"]]
        return self.tokenizer.pad(encoded, padding=True, return_tensors="pt")

    @torch.no_grad()
    def _batch(self, inputs: Any) -> list[float]:
        last = self.model(**inputs, logits_to_keep=1).logits[:, -1, :].float()  # (pairs, vocab_size)
        return [float(score) for score in last[:, self.yes] - last[:, self.no]]


class SentenceTransformersPeer:
    """sentence-transformers as its users call it: batches of 32 sorted by length, the library's own defaults."""

    name = "sentence-transformers"

    def __init__(self, folder: Path, dtype: Dtype) -> None:
        library = _imported("sentence_transformers")
        options = {"dtype": compute_dtype(dtype)}
        self.model = library.CrossEncoder(
            str(folder), device="cpu", model_kwargs=options, local_files_only=True, activation_fn=torch.nn.Identity()
        )
        self.how = f"sentence-transformers {library.__version__}, CrossEncoder.predict with its defaults, batch 32"

    def scores(self, query: str, documents: Sequence[str]) -> list[float]:
        predicted = self.model.predict([(query, document) for document in documents], show_progress_bar=False)
        return [float(score) for score in predicted]


def check_names(names: Sequence[str]) -> None:
    """Raises InvalidInput for a peer that the bench does not know, ModelUnavailable for one that is not installed."""
    for name in names:
        if name not in PEERS:
            known = ", ".join(PEERS)
            raise InvalidInput(f"against: {name!r} is not among {known}", param="against", limit=known, received=name)
        if find_spec(name.replace("-", "_")) is None:
            raise ModelUnavailable(f"against: {name} is not installed: pip install 'gigarank[bench]'", param="against")


def load_peer(name: str, folder: Path, dtype: Dtype, prompt: PromptFormat) -> Contestant:
    """The named peer on the folder's weights; beside our int8 it computes in fp32, since it has no int8 of its own."""
    if name == "transformers":
        return TransformersCard(folder, dtype, prompt)
    return SentenceTransformersPeer(folder, dtype)


def _imported(library: str) -> Any:
    """The library, imported here and not at the top: it costs seconds, and a bench without it must run."""
    for chatty in ("transformers", "sentence_transformers", "httpx"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    import_module("transformers.utils.logging").disable_progress_bar()
    return import_module(library)
