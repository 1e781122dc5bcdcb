"""`gigarank train prepare teach`: rows in, the same rows with a teacher's scores out.

Knows which name is which teacher. Invariant: names and weights are refused before anything is loaded.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gigarank.cli.command import Debug, Json
from gigarank.cli.loading import LoadOptions, fetch, load_embedder, load_reranker
from gigarank.cli.progress import CountBar, waiting
from gigarank.cli.train_output import require_new, require_packages, tell, write_rows
from gigarank.cli.train_prepare import Inputs, Output, corpus_texts, imported
from gigarank.errors import InvalidInput

if TYPE_CHECKING:
    from gigarank.training.rows import Row
    from gigarank.training.teaching import Teaches

LIKELIHOOD, BM25, LABELS = "query-likelihood", "bm25", "labels"


@dataclass(frozen=True, kw_only=True)
class TeachCommand:
    """The command line of `gigarank train prepare teach`."""

    files: Inputs
    output: Output
    teacher: Annotated[
        list[str],
        typer.Option(
            help="A reranker or an embedding model (name, hub id, folder), query-likelihood, bm25, labels; several: blended.",
            show_default=False,
        ),
    ]
    weight: Annotated[
        list[float] | None, typer.Option(help="Of each teacher, in their order; equal if not given.", show_default=False)
    ] = None
    scale: Annotated[float, typer.Option(help="What the blended scores are multiplied by.")] = 1.0
    raw: Annotated[bool, typer.Option("--raw", help="One teacher's scores as they are, not standardised by query.")] = False
    model: Annotated[str, typer.Option(help="Whose likelihood: a model's name, a hub id or a folder.")] = "nano-base"
    dtype: Annotated[Literal["fp32", "bf16"], typer.Option(help="Of query-likelihood's model and of rerankers.")] = "fp32"
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where these compute.")] = "cpu"
    max_document_tokens: Annotated[int, typer.Option(min=1, help="Of a passage that query-likelihood reads.")] = 256
    corpus: Annotated[
        list[Path] | None,
        typer.Option(help="JSONL files or BEIR folders whose texts BM25 counts too.", show_default=False),
    ] = None
    journal: Annotated[
        Path | None,
        typer.Option(help="Where scores are kept from run to run; OUTPUT.journal if not given.", show_default=False),
    ] = None
    json: Json = False
    debug: Debug = False


def teach(options: TeachCommand) -> None:
    """Add a teacher's scores to rows, for the losses kl, margin_mse and mse.

    Each query's scores get mean 0 and deviation 1; several teachers are blended by --weight. A run that was stopped goes on.
    """
    require_new(options.output)
    weights = tuple(options.weight or [1.0] * len(options.teacher))
    if len(weights) != len(options.teacher):
        raise InvalidInput(
            f"weight: one a teacher is needed, {len(options.teacher)} in all, not {len(weights)}",
            param="weight",
            limit=len(options.teacher),
            received=len(weights),
        )
    require_packages("train", "bm25s", "transformers")
    from gigarank.training import teaching

    blend = teaching.Blend(weights, options.scale, options.raw)
    rows = list(imported(options.files))
    teachers = [_teacher(name, options, rows) for name in options.teacher]
    journal = options.journal or options.output.with_name(options.output.name + ".journal")
    report = teaching.TeachReport()
    with CountBar("teaching") as bar:
        teaching.teach(rows, teachers, journal, report, bar)
    write_rows(options.output, teaching.taught(rows, teachers, journal, blend))
    tell(dataclasses.asdict(report), options.json)


def _teacher(name: str, options: TeachCommand, rows: "Sequence[Row]") -> "Teaches":
    from gigarank.training import teaching

    known: dict[str, Callable[[], Teaches]] = {
        LABELS: teaching.Labels,
        BM25: lambda: teaching.Bm25(rows, [text for path in options.corpus or () for text in corpus_texts(path)]),
        LIKELIHOOD: lambda: _likelihood(options),
    }
    return known[name]() if name in known else _model(name, options)


def _likelihood(options: TeachCommand) -> "Teaches":
    checkpoint = fetch(options.model, None)
    with waiting(f"loading {options.model}"):
        from gigarank.training.likelihood import LikelihoodOptions, QueryLikelihood

        chosen = LikelihoodOptions(options.dtype, options.device, options.max_document_tokens)
        return QueryLikelihood.load(checkpoint, chosen)


def _model(name: str, options: TeachCommand) -> "Teaches":
    """Ours where the engine knows the architecture, else sentence-transformers' own, which makes vectors."""
    from gigarank.engine.headers import kind_of
    from gigarank.training.teaching import Cosine, Relevance

    if _is_foreign(Path(name).expanduser()):
        require_packages("bench", "sentence_transformers")
        from gigarank.engine.identity import fingerprint

        with waiting(f"loading {name}"):
            return Cosine(_Foreign(name), fingerprint(Path(name).expanduser()))
    if kind_of(fetch(name, None)) == "embedder":
        model = load_embedder(LoadOptions(model=name))
        return Cosine(model, model.fingerprint)
    return Relevance(load_reranker(LoadOptions(model=name, dtype=options.dtype, device=options.device)))


def _is_foreign(folder: Path) -> bool:
    from gigarank.engine.json_file import read_json
    from gigarank.model.config import MODEL_TYPES

    config = folder / "config.json"
    kind = read_json(config).get("model_type") if config.is_file() else None
    return kind is not None and kind not in MODEL_TYPES


class _Foreign:
    """A folder of sentence-transformers, with the prompts that it names for queries and documents."""

    def __init__(self, name: str) -> None:
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(name, local_files_only=True)

    def embed(
        self, queries: Sequence[str] | None = None, documents: Sequence[str] | None = None, *, task: str | None = None
    ) -> Any:
        """The model has no tasks: one prompt for all queries."""
        del task
        encode = self._model.encode_document if queries is None else self._model.encode_query
        return encode(list(queries or documents or ()), normalize_embeddings=True, show_progress_bar=False)
