"""`gigarank train prepare`: import, overlap, mine and queries, each from files to a file of rows.

Knows the training layer by its functions. Invariant: rows are streamed; only what is searched in stays in memory.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gigarank.cli.command import Debug, Json
from gigarank.cli.loading import LoadOptions, check_kind, load_embedder
from gigarank.cli.progress import CountBar
from gigarank.cli.train_output import require_new, require_packages, tell, write_rows
from gigarank.errors import InvalidInput

if TYPE_CHECKING:
    from gigarank.engine.embedder import Embedder
    from gigarank.training.importers import ImportOptions, ImportReport
    from gigarank.training.rows import Row

_KEY = "GIGARANK_SYNTHESIS_KEY"

Inputs = Annotated[list[Path], typer.Argument(metavar="FILES", help="Files of rows, or BEIR folders.", show_default=False)]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="The JSONL file to write; it must not be there.", show_default=False)
]
EmbedderName = Annotated[
    str | None, typer.Option("--embedder", help="An embedding model: a hub id or a folder.", show_default=False)
]


@dataclass(frozen=True, kw_only=True)
class ImportCommand:
    """The command line of `gigarank train prepare import`."""

    files: Inputs
    output: Output
    format: Annotated[
        Literal["swift", "flagembedding", "columns", "classes", "rows", "beir"] | None,
        typer.Option(help="Told from the first row if not given.", show_default=False),
    ] = None
    instruction: Annotated[str | None, typer.Option(help="For rows without their own.", show_default=False)] = None
    task: Annotated[str | None, typer.Option(help="For rows without their own.", show_default=False)] = None
    language: Annotated[str | None, typer.Option(help="For rows without their own.", show_default=False)] = None
    highest_label: Annotated[float, typer.Option(help="Which label counts as 1.0, in labelled pairs.")] = 1.0
    split: Annotated[str, typer.Option(help="Which qrels of a BEIR folder.")] = "train"
    least_grade: Annotated[int, typer.Option(help="Grades of a BEIR folder from here up are positive.")] = 1
    skip: Annotated[
        bool,
        typer.Option("--skip", help="Leave out rows without a positive, or with contradicting labels, instead of stopping."),
    ] = False
    json: Json = False
    debug: Debug = False


def rows(options: ImportCommand) -> None:
    """Import training data of other tools as rows of gigarank's.

    Formats: swift, flagembedding, columns (sentence-transformers and mteb: pairs, triplets, labelled pairs), rows, beir.
    """
    from gigarank.training.importers import ImportOptions, ImportReport

    require_new(options.output)
    names = {field.name for field in dataclasses.fields(ImportOptions)}
    chosen = ImportOptions(**{name: getattr(options, name) for name in names})
    report = ImportReport()
    write_rows(options.output, imported(options.files, chosen, report))
    tell(dataclasses.asdict(report), options.json)


def imported(
    files: Iterable[Path], options: "ImportOptions | None" = None, report: "ImportReport | None" = None
) -> "Iterator[Row]":
    """Rows of several files, one after the other."""
    from gigarank.training.importers import ImportOptions, ImportReport, import_rows

    for file in files:
        yield from import_rows(file, options or ImportOptions(), report or ImportReport())


@dataclass(frozen=True, kw_only=True)
class OverlapCommand:
    """The command line of `gigarank train prepare overlap`."""

    files: Inputs
    output: Output
    against: Annotated[
        list[Path],
        typer.Option(help="Evaluation sets: BEIR folders or JSONL files; give it more than once.", show_default=False),
    ]
    words: Annotated[int, typer.Option(min=1, help="Words in a row that may not be shared.")] = 13
    json: Json = False
    debug: Debug = False


def overlap(options: OverlapCommand) -> None:
    """Drop what evaluation sets hold too: rows by their query, documents by their text.

    Two texts overlap where they share --words words in a row, or, if shorter, all their words.
    """
    from gigarank.training.overlap import EvaluationTexts, OverlapReport, without_overlap

    require_new(options.output)
    texts, report = EvaluationTexts(options.words), OverlapReport()
    for path in options.against:
        texts.add(path.name, evaluation_texts(path))
    write_rows(options.output, without_overlap(imported(options.files), texts, report))
    done = report.to_json()
    tell(done if options.json else done | {"examples": []}, options.json)


def evaluation_texts(path: Path) -> Iterator[str]:
    """All texts of a JSONL file, or of a folder's queries and corpus. Raises BadFile, InvalidInput."""
    from gigarank.training.lines import read_lines, strings

    files = [path / "queries.jsonl", path / "corpus.jsonl"] if path.is_dir() else [path]
    for line in (line for file in files for line in read_lines(file)):
        yield from strings({key: value for key, value in line.values.items() if key != "_id"})


@dataclass(frozen=True, kw_only=True)
class MineCommand:
    """The command line of `gigarank train prepare mine`."""

    files: Inputs
    output: Output
    corpus: Annotated[
        list[Path] | None,
        typer.Option(
            help="JSONL files or BEIR folders to search in; the rows' own documents if not given.", show_default=False
        ),
    ] = None
    negatives: Annotated[int, typer.Option(min=1, help="Negatives a row, its own included.")] = 7
    depth: Annotated[int, typer.Option(min=1, help="How many finds to look at.")] = 50
    skip: Annotated[int, typer.Option(min=0, help="How many of the best finds to leave out.")] = 0
    bm25: Annotated[bool, typer.Option(help="Search with BM25.")] = True
    embedder: EmbedderName = None
    margin: Annotated[
        float, typer.Option(help="A find whose cosine is this much above the worst positive's is no negative (--embedder).")
    ] = 0.1
    json: Json = False
    debug: Debug = False


def mine(options: MineCommand) -> None:
    """Add hard negatives: what BM25 and an embedding model find for a query and nobody marked as its answer."""
    require_new(options.output)
    if not options.bm25 and options.embedder is None:
        raise InvalidInput("embedder: without --bm25 there is nothing to search with", param="embedder", limit=1, received=0)
    require_packages("train", "bm25s")
    from gigarank.training import mining

    chosen = mining.MiningOptions(options.negatives, options.depth, options.skip, options.margin)
    found = list(imported(options.files))
    given = [text for path in options.corpus or () for text in corpus_texts(path)]
    corpus = list(dict.fromkeys(given)) or mining.corpus_of(found)
    model = _embedder(options.embedder)
    stages: list[mining.Searches] = [mining.Bm25(corpus)] if options.bm25 else []
    stages += [mining.Dense(corpus, model)] if model is not None else []
    judge = mining.CosineJudge(model) if model is not None else None
    report = mining.MiningReport()
    write_rows(options.output, mining.mine(found, corpus, stages, chosen, report, judge))
    tell(dataclasses.asdict(report) | {"corpus": len(corpus)}, options.json)


def corpus_texts(path: Path) -> Iterator[str]:
    """Documents of a JSONL file with text (and title), or of a folder's corpus. Raises BadFile."""
    from gigarank.training.beir_folder import passage
    from gigarank.training.lines import read_lines

    for line in read_lines(path / "corpus.jsonl" if path.is_dir() else path):
        yield passage(line)


@dataclass(frozen=True, kw_only=True)
class SynthesisCommand:
    """The command line of `gigarank train prepare queries`."""

    files: Annotated[
        list[Path], typer.Argument(metavar="FILES", help="JSONL files with text, or BEIR folders.", show_default=False)
    ]
    output: Output
    url: Annotated[str, typer.Option(help="The base of an OpenAI-compatible API, as http://host/v1.", show_default=False)]
    chat_model: Annotated[str, typer.Option(help="The model's name there.", show_default=False)]
    journal: Annotated[
        Path | None,
        typer.Option(help="Where answers are kept from run to run; OUTPUT.journal if not given.", show_default=False),
    ] = None
    language: Annotated[list[str] | None, typer.Option(help="Of the queries; give it more than once.", show_default=False)] = (
        None
    )
    character: Annotated[list[str] | None, typer.Option(help="Who may ask; give it more than once.", show_default=False)] = None
    instruction: Annotated[str | None, typer.Option(help="The rows' instruction.", show_default=False)] = None
    embedder: EmbedderName = None
    threshold: Annotated[float, typer.Option(help="The least cosine of query and document (--embedder).")] = 0.7
    concurrency: Annotated[int, typer.Option(min=1, help="Questions under way at once.")] = 8
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0
    json: Json = False
    debug: Debug = False


def queries(options: SynthesisCommand) -> None:
    """Make a query for every document, in two questions to a chat model: who would ask what, then the query.

    The key, if one is needed, is read from GIGARANK_SYNTHESIS_KEY. A run that was stopped goes on where it was.
    """
    require_new(options.output)
    require_packages("train", "bm25s")
    from gigarank.training import synthesis
    from gigarank.training.chat import Chat, Endpoint

    usual = synthesis.SynthesisOptions()
    chosen = synthesis.SynthesisOptions(
        languages=tuple(options.language or usual.languages),
        characters=tuple(options.character or usual.characters),
        instruction=options.instruction,
        threshold=options.threshold,
        concurrency=options.concurrency,
        seed=options.seed,
    )
    documents = [text for path in options.files for text in corpus_texts(path)]
    journal = options.journal or options.output.with_name(options.output.name + ".journal")
    report = synthesis.SynthesisReport()
    endpoint = Endpoint(options.url, options.chat_model, os.environ.get(_KEY, ""))
    with Chat(endpoint) as chat, CountBar("asking") as bar:
        synthesis.synthesise(documents, chat, journal, chosen, report, bar)
    made = synthesis.rows_of(documents, journal, chosen, report, _embedder(options.embedder), model=options.chat_model)
    write_rows(options.output, made)
    done = dataclasses.asdict(report)
    cosines = sorted(done.pop("cosines"))
    tell(done | {"median_cosine": cosines[len(cosines) // 2] if cosines else None}, options.json)


def _embedder(name: str | None) -> "Embedder | None":
    if name is None:
        return None
    check_kind(name, "embedder")
    return load_embedder(LoadOptions(model=name))
