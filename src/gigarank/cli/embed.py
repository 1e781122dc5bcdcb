"""`gigarank embed`: read texts, write a vector for each, as JSONL or as a NumPy file.

Knows a model only as something that embeds. Invariant: vectors come in the order of the texts, and a file is written
whole or not at all.
"""

import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from gigarank.cli.command import Debug
from gigarank.cli.documents import Document
from gigarank.cli.loading import LoadOptions, check_kind, load_embedder
from gigarank.cli.output import emit, note, write_file
from gigarank.cli.progress import CountBar
from gigarank.cli.reading import Files, ReadOptions, check_text, read_texts
from gigarank.cli.render import numerics_line
from gigarank.errors import InvalidInput
from gigarank.types import Numerics, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SUFFIXES = (".npy", ".jsonl")


class Embeds(Protocol):
    """What embeds: gigarank.Embedder, or anything that answers as it does."""

    name: str
    numerics: Numerics

    def embed(
        self,
        queries: Sequence[str] | None = None,
        documents: Sequence[str] | None = None,
        *,
        task: str | None = None,
        dimensions: int | None = None,
        progress: Progress | None = None,
    ) -> "NDArray[np.float32]": ...


@dataclass(frozen=True, kw_only=True)
class EmbedOptions(LoadOptions, ReadOptions):
    """The command line of `gigarank embed`."""

    files: Files = None
    query: Annotated[bool, typer.Option("--query/--document", help="Whether the texts are queries or documents.")] = False
    task: Annotated[str | None, typer.Option(help="The queries' task; the model's own if not given.", show_default=False)] = (
        None
    )
    dimensions: Annotated[
        int | None, typer.Option(min=1, help="Length of a vector; the model's own if not given.", show_default=False)
    ] = None
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .npy or .jsonl file instead of lines.", show_default=False)
    ] = None
    model: Annotated[str, typer.Option(help="A name of `gigarank models`, a hub id or a folder.", rich_help_panel="Model")] = (
        "qwen3-embedding-0.6b"
    )
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No footer on standard error.")] = False
    debug: Debug = False


def embed(options: EmbedOptions, load: Callable[[LoadOptions], Embeds] = load_embedder) -> None:
    """Turn texts into vectors: a JSON object a line with index, source and embedding, or one .npy file."""
    check_text("task", options.task)
    if options.task is not None and not options.query:
        raise InvalidInput("task: only queries have one; add --query", param="task", received=options.task)
    check_output(options.output)
    check_kind(options.model, "embedder")
    texts = read_texts(options.files, options)
    embed_texts(load(options), texts, options)


def check_output(path: Path | None) -> None:
    """Refuse a file that could not be written before the work is done for it."""
    if path is None:
        return
    is_stream = path.exists() and not path.is_file()  # a device or a pipe has no suffix, and nothing to lose
    if path.suffix.lower() not in _SUFFIXES and not is_stream:
        known = " or ".join(_SUFFIXES)
        raise InvalidInput(f"output: {path} must end in {known}", param="output", limit=known, received=str(path))
    if path.is_dir() or not path.absolute().parent.is_dir():
        reason = "is a folder" if path.is_dir() else "the folder for it does not exist"
        raise InvalidInput(f"output: {path}: {reason}", param="output", received=str(path))


def embed_texts(model: Embeds, texts: Sequence[Document], options: EmbedOptions) -> None:
    """Embed and write: the vectors to standard output or the file, the footer to standard error."""
    began = time.monotonic()
    strings = [text.text for text in texts]
    with CountBar("embedding") as bar:
        vectors = model.embed(
            queries=strings if options.query else None,
            documents=None if options.query else strings,
            task=options.task,
            dimensions=options.dimensions,
            progress=bar,
        )
    seconds = time.monotonic() - began
    if options.output is None:
        emit(_lines(vectors, texts))
    else:
        as_array = options.output.suffix.lower() == ".npy"
        write_file(options.output, _npy(vectors) if as_array else _lines(vectors, texts).encode())
    if not options.quiet:
        note(_footer(model, vectors.shape, seconds))


def _footer(model: Embeds, shape: tuple[int, ...], seconds: float) -> str:
    count, dimensions = shape
    return f"{model.name}: {count:,} vectors of {dimensions:,} dimensions in {seconds:.1f} s\n{numerics_line(model.numerics)}"


def _lines(vectors: "NDArray[np.float32]", texts: Sequence[Document]) -> str:
    rows = (
        {"index": index, "source": text.source.to_json(), "embedding": vector.tolist()}
        for index, (vector, text) in enumerate(zip(vectors, texts, strict=True))
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _npy(vectors: "NDArray[np.float32]") -> bytes:
    import numpy as np

    content = io.BytesIO()
    np.save(content, vectors, allow_pickle=False)
    return content.getvalue()
