"""The embedder: the first stage of the published protocol, on the reranker's engine.

Qwen3-Embedding: the vector is the last token's final hidden state, cut to the first `dimensions` (its training makes
prefixes of the vector usable), then normalised to length 1. Knows its query template; no files, no HTTP. Invariant: every
text gets one vector, in the order given.
"""

import os
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gigarank.engine.identity import fingerprint_of
from gigarank.engine.loading import Loaded, checked_options, load_checkpoint
from gigarank.engine.plan import Piece
from gigarank.engine.store import Checkpoint, locate, with_adapter
from gigarank.engine.tokenizer import TextTokenizer, require_list, require_text, require_unicode, require_whole
from gigarank.errors import InvalidInput, NonFiniteScore
from gigarank.model.config import ModelConfig
from gigarank.prompt import QWEN3_EMBEDDING_V1, EmbeddingFormat
from gigarank.types import EngineOptions, Numerics, Progress

Vectors = npt.NDArray[np.float32]


class Embedder:
    """A loaded embedding model. Thread-safe: batches of all threads run one after the other."""

    def __init__(self, loaded: Loaded, text: TextTokenizer) -> None:
        self.runner = loaded.runner
        self._text = text
        self._end_ids = [text.single(QWEN3_EMBEDDING_V1.end)]
        self.name: str = loaded.name
        self.prompt: EmbeddingFormat = QWEN3_EMBEDDING_V1
        self.numerics: Numerics = loaded.numerics
        self.config: ModelConfig = loaded.config
        self.checkpoint: Checkpoint | None = loaded.checkpoint
        self.max_tokens: int = loaded.max_pair_tokens

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] = "Qwen/Qwen3-Embedding-0.6B",
        *,
        device: str = "auto",
        dtype: str = "auto",
        revision: str | None = None,
        adapter: str | os.PathLike[str] | None = None,
        options: EngineOptions | None = None,
    ) -> "Embedder":
        """Loads a hub id or a checkpoint folder; arguments and errors as `Reranker.load`."""
        chosen = checked_options(options)
        checkpoint = with_adapter(locate(model, revision=revision), adapter)
        _refuse_reranker(checkpoint)
        text = TextTokenizer.from_folder(checkpoint.folder)
        loaded = load_checkpoint(checkpoint, chosen, device, dtype)
        return cls(loaded, text)

    @cached_property
    def fingerprint(self) -> str:
        """As `Reranker.fingerprint`."""
        return fingerprint_of(self.checkpoint)

    def embed(
        self,
        queries: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        *,
        task: str | None = None,
        dimensions: int | None = None,
        progress: Progress | None = None,
    ) -> Vectors:
        """Vectors (n, dimensions) of either queries or documents, each of length 1.

        Queries are read behind their `task` (None: web search), documents as they are; a text that is too long is cut at
        its end. `dimensions` None is the model's own. Raises InvalidInput, NonFiniteScore.
        """
        if (queries is None) == (documents is None):
            raise InvalidInput("queries, documents: exactly one of the two must be given", param="queries")
        size = self.check_dimensions(dimensions)
        if queries is not None:
            ids = self.encode(queries, "queries", self.prompt.default_task if task is None else task)
        else:
            ids = self.encode(documents or (), "documents")
        vectors = np.empty((len(ids), size), dtype=np.float32)
        done = 0
        for pieces, hidden in self.runner.run([Piece(len(piece)) for piece in ids], ids):
            vectors[pieces] = self.vectors(hidden, size)
            done += len(pieces)
            if progress is not None:
                progress(done, len(ids))
        check_finite(vectors)
        return vectors

    def encode(self, texts: Sequence[str], param: str, task: str | None = None) -> list[list[int]]:
        """Ids of texts, closed and cut to the limit: queries behind their `task`, documents (None) as they are.

        Raises InvalidInput that names `param`.
        """
        require_list(texts, param)
        for index, text in enumerate(texts):
            require_text(text, f"{param}[{index}]")
            require_unicode(text, f"{param}[{index}]")
        if task is not None:
            require_text(task, "task")
            require_unicode(task, "task")
        asked = texts if task is None else [self.prompt.query(task, text) for text in texts]
        room = self.max_tokens - len(self._end_ids)
        return [ids[:room] + self._end_ids for ids in self._text.plain(asked, param)]

    def vectors(self, hidden: Tensor, dimensions: int) -> Vectors:
        """Hidden states (n, hidden_size) as vectors (n, dimensions) of length 1."""
        rows = hidden[:, :dimensions].float().cpu().numpy()
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        normalised: Vectors = (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
        return normalised

    def check_dimensions(self, dimensions: int | None) -> int:
        """The size of a vector; None is the model's own. Raises InvalidInput."""
        size = self.config.hidden_size if dimensions is None else dimensions
        require_whole(size, "dimensions")
        if not 1 <= size <= self.config.hidden_size:
            raise InvalidInput(
                f"dimensions: must be from 1 to {self.config.hidden_size}, not {size}",
                param="dimensions",
                limit=self.config.hidden_size,
                received=size,
            )
        return size


def _refuse_reranker(checkpoint: Checkpoint) -> None:
    if checkpoint.model is not None and checkpoint.model.kind != "embedder":
        raise InvalidInput(
            f"model: {checkpoint.name} is a {checkpoint.model.kind}, not an embedder; load it with Reranker.load",
            param="model",
            received=checkpoint.name,
        )


def check_finite(vectors: Vectors) -> None:
    """Raises NonFiniteScore that names the first text without a vector."""
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if broken.size:
        raise NonFiniteScore(
            f"text {broken[0]}: the model's vector is not finite; its weights or this precision are broken",
            param=f"[{broken[0]}]",
        )
