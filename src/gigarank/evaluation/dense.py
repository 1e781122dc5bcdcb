"""Search by vectors: the first stage of the published protocol, exact, by usearch.

The documents' vectors are kept in a file, written as they are computed, so that a run that was ended continues where it was.
Knows an embedder only by what it promises. Invariant: the search is exact (every vector is compared), and equal scores keep the
documents' order.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from gigarank.errors import InvalidInput
from gigarank.evaluation.provenance import numerics_of
from gigarank.types import Numerics, Progress

try:
    from usearch.index import search
except ImportError as error:
    message = "searching by vectors needs the package usearch: pip install 'gigarank[eval]'"
    raise InvalidInput(message, param="first_stage") from error

Vectors = npt.NDArray[np.float32]

CHUNK = 256
"""Documents between two writes to the disk."""


class Embeds(Protocol):
    """What makes vectors: gigarank's Embedder, or anything that answers as it does."""

    name: str
    numerics: Numerics
    max_tokens: int

    @property
    def fingerprint(self) -> str: ...

    def embed(
        self,
        queries: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        *,
        task: str | None = None,
        dimensions: int | None = None,
        progress: Progress | None = None,
    ) -> Vectors: ...


def document_vectors(embedder: Embeds, documents: Sequence[str], folder: Path, progress: Progress | None = None) -> Vectors:
    """Vectors (n, dimensions) of the documents, those in `folder` read and the rest computed and added to it.

    Processes that want the same vectors wait for the one that computes them.
    """
    if not documents:
        return np.empty((0, 0), dtype=np.float32)
    path = folder / f"{_vectors_key(embedder, documents)}.f32"
    folder.mkdir(parents=True, exist_ok=True)
    size = embedder.embed(documents=[documents[0]]).shape[1]
    with FileLock(path.with_suffix(".lock")), path.open("ab") as file:
        done = path.stat().st_size // (4 * size)
        file.truncate(done * 4 * size)  # a row that was cut off
        while done < len(documents):
            chunk = documents[done : done + CHUNK]
            file.write(embedder.embed(documents=chunk).astype("<f4").tobytes())
            file.flush()
            os.fsync(file.fileno())
            done += len(chunk)
            if progress is not None:
                progress(done, len(documents))
    return np.fromfile(path, dtype="<f4").reshape(-1, size)


def dense_key(embedder: Embeds) -> str:
    """Everything about an embedder that its vectors depend on. Raises InvalidInput for one without files."""
    if not embedder.fingerprint:
        raise InvalidInput(f"first_stage: {embedder.name} has no files to know it by", param="first_stage")
    numerics = json.dumps(numerics_of(embedder.numerics, embedder.max_tokens), sort_keys=True)
    return f"{embedder.fingerprint} {numerics}"


def _vectors_key(embedder: Embeds, documents: Sequence[str]) -> str:
    digest = hashlib.sha256(dense_key(embedder).encode())
    for document in documents:
        text = document.encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(8, "little") + text)
    return digest.hexdigest()


def nearest(documents: Vectors, queries: Vectors, top_k: int) -> list[list[tuple[int, float]]]:
    """For each query the `top_k` documents with the greatest inner product, best first."""
    if not len(documents) or not len(queries):
        return [[] for _ in queries]
    found: Any = search(documents, queries, min(top_k, len(documents)), "ip", exact=True)
    keys = np.asarray(found.keys).reshape(len(queries), -1)
    scores = 1.0 - np.asarray(found.distances).reshape(len(queries), -1)
    ranked = [sorted(zip(*row, strict=True), key=lambda one: (-one[1], one[0])) for row in zip(keys, scores, strict=True)]
    return [[(int(key), float(score)) for key, score in row] for row in ranked]
