"""mteb's view of our models: a Reranker as its CrossEncoderProtocol, an Embedder as its EncoderProtocol.

mteb hands over pairs, and queries whose `text` already ends in their instruction; here the query and the instruction are taken
apart again, so that the instruction stands in the prompt once. Knows mteb's batches; no task and no metric. Invariant: one
score a pair, in the order in which mteb gave them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gigarank.errors import InvalidInput
from gigarank.evaluation.dense import Embeds, document_vectors
from gigarank.evaluation.kept import KeptScores
from gigarank.types import Pair, Progress, Score

try:
    from mteb.models.model_meta import ModelMeta
    from mteb.types import PromptType
except ImportError as error:
    raise InvalidInput("suites need the package mteb: pip install 'gigarank[eval]'", param="suite") from error

Instructions = Callable[[Any], str | None]
"""From mteb's task metadata to the instruction of queries that have none of their own."""

MTEB_DEFAULT = "Given the user query, retrieval the relevant passages"
"""What mteb's own Qwen3-Reranker wrapper asks where a query has no instruction, word by word."""

GROUP_CHARACTERS = 60_000
"""Text that is scored by one call: several of the engine's batches."""


class Reranks(Protocol):
    """gigarank's Reranker, as far as it is needed here."""

    name: str

    def score(self, pairs: Sequence[Pair], *, progress: Progress | None = None) -> list[Score]: ...


def mteb_instruction(metadata: Any) -> str | None:
    """The query's prompt of mteb's own task metadata, where it has one."""
    prompt = metadata.prompt
    found = prompt.get("query") if isinstance(prompt, Mapping) else prompt
    return found if isinstance(found, str) else None


class MtebReranker:
    """A CrossEncoderProtocol. Scores are logits.

    `mteb_convention` repeats what mteb's own wrapper does: the query keeps the instruction at its end, which is so asked twice,
    and MTEB_DEFAULT stands in for a missing one; `instructions` is then not used. `kept` holds what was scored before.
    """

    def __init__(
        self,
        reranker: Reranks,
        *,
        instructions: Instructions = mteb_instruction,
        mteb_convention: bool = False,
        kept: KeptScores | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._reranker = reranker
        self._instructions = instructions
        self._mteb_convention = mteb_convention
        self._kept = kept
        self._progress = progress
        self.mteb_model_meta: Any = model_meta(reranker, "cross-encoder")

    def predict(self, inputs1: Any, inputs2: Any, *, task_metadata: Any, **_: Any) -> npt.NDArray[np.float64]:
        """One logit a pair of `inputs1` (queries) and `inputs2` (documents). Raises as `Reranker.score`."""
        default = MTEB_DEFAULT if self._mteb_convention else self._instructions(task_metadata)
        queries = [self._query(row, default) for row in rows(inputs1)]
        documents = [str(row["text"]) for row in rows(inputs2)]
        pairs = [Pair(query, document, told) for (query, told), document in zip(queries, documents, strict=True)]
        order = sorted(range(len(pairs)), key=_places(queries).__getitem__)
        logits = np.empty(len(pairs))
        done = 0
        for group in _groups(order, pairs):
            logits[group] = self._logits([pairs[place] for place in group])
            done += len(group)
            if self._progress is not None:
                self._progress(done, len(pairs))
        return logits

    def _logits(self, pairs: Sequence[Pair]) -> list[float]:
        return self._scored(pairs) if self._kept is None else self._kept.logits(pairs, self._scored)

    def _scored(self, pairs: Sequence[Pair]) -> list[float]:
        return [score.logit for score in self._reranker.score(pairs)]

    def _query(self, row: Mapping[str, Any], default: str | None) -> tuple[str, str | None]:
        return (str(row["text"]), row.get("instruction") or default) if self._mteb_convention else asked(row, default)


class MtebEncoder:
    """An EncoderProtocol, for the first stage. `vectors`: a folder that keeps the documents', of an embedder with files."""

    def __init__(self, embedder: Embeds, *, instructions: Instructions = mteb_instruction, vectors: Path | None = None) -> None:
        self._embedder = embedder
        self._vectors = vectors
        self._instructions = instructions
        self.mteb_model_meta: Any = model_meta(embedder, "dense")

    def encode(self, inputs: Any, *, task_metadata: Any, prompt_type: Any = None, **_: Any) -> npt.NDArray[np.float32]:
        """One vector a row; queries are read behind their instruction, documents as they are."""
        if prompt_type != PromptType.query:
            return self._documents([str(row["text"]) for row in rows(inputs)])
        queries = [asked(row, self._instructions(task_metadata)) for row in rows(inputs)]
        found: dict[int, npt.NDArray[np.float32]] = {}
        for told in dict.fromkeys(told for _, told in queries):
            places = [place for place, query in enumerate(queries) if query[1] == told]
            vectors = self._embedder.embed(queries=[queries[place][0] for place in places], task=told)
            found |= dict(zip(places, vectors, strict=True))
        return np.stack([found[place] for place in range(len(queries))])

    def _documents(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if self._vectors is None:
            return self._embedder.embed(documents=texts)
        return document_vectors(self._embedder, texts, self._vectors)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> npt.NDArray[np.float32]:
        """Inner products (n, m); the vectors have length 1."""
        found: npt.NDArray[np.float32] = np.asarray(embeddings1) @ np.asarray(embeddings2).T
        return found

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = (np.asarray(embeddings1) * np.asarray(embeddings2)).sum(axis=1)
        return found


def asked(row: Mapping[str, Any], default: str | None) -> tuple[str, str | None]:
    """The query without its instruction, and the instruction."""
    return str(row.get("query", row["text"])), row.get("instruction") or default


def rows(batches: Iterable[Mapping[str, Sequence[Any]]]) -> Iterator[dict[str, Any]]:
    """The rows of batches of columns; a column that is not as long as the text is left out."""
    for batch in batches:
        size = len(batch["text"])
        columns = {name: values for name, values in batch.items() if len(values) == size}
        for place in range(size):
            yield {name: values[place] for name, values in columns.items()}


def model_meta(model: Reranks | Embeds, kind: str) -> Any:
    """What mteb writes down of a model; its name has a slash, as mteb's names have."""
    name = model.name if model.name.count("/") == 1 else f"gigarank/{model.name.strip('/').replace('/', '-')}"
    revision = getattr(model, "fingerprint", "") or "random"
    return ModelMeta.create_empty({"name": name, "revision": revision[:40], "model_type": [kind], "framework": ["PyTorch"]})


def _places(queries: Sequence[tuple[str, str | None]]) -> list[tuple[int, int]]:
    """A sort key a pair: first the place of its instruction's first query, then of its query's: prefixes stand together."""
    first: dict[Any, int] = {}
    return [
        (first.setdefault(told, place), first.setdefault((query, told), place)) for place, (query, told) in enumerate(queries)
    ]


def _groups(order: Sequence[int], pairs: Sequence[Pair]) -> Iterator[list[int]]:
    """Neighbours in `order`, GROUP_CHARACTERS of text together; a query's pairs are never parted."""
    group: list[int] = []
    size = 0
    for place in order:
        parted = bool(group) and (pairs[group[-1]].query, pairs[group[-1]].instruction) != (
            pairs[place].query,
            pairs[place].instruction,
        )
        if parted and size >= GROUP_CHARACTERS:
            yield group
            group, size = [], 0
        group.append(place)
        size += len(pairs[place].query) + len(pairs[place].document)
    if group:
        yield group
