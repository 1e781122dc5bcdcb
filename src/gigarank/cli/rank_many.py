"""`gigarank rank-many`: every row of Parquet or JSONL ranked, whatever it takes, into a folder that can be joined to it.

Knows files, models and Ray by what they promise. Invariant: what the user could correct is refused before Ray starts; and
what the output says does not depend on where it was computed, or how often that was stopped.
"""

import json as json_text
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from gigarank import __version__
from gigarank.cli.command import Debug, Json
from gigarank.cli.loading import LoadOptions, check_kind, fetch
from gigarank.cli.output import emit, note
from gigarank.cli.progress import CountBar, waiting
from gigarank.cli.reading import check_text
from gigarank.errors import InvalidInput

if TYPE_CHECKING:
    from gigarank.cluster.manifest import Asked
    from gigarank.cluster.many import ModelChoice, Summary, Where

_FIELDS, _WORK = "Fields", "Where and how"
_PACKAGES = ("pyarrow", "ray")


@dataclass(frozen=True, kw_only=True)
class RankManyOptions(LoadOptions):
    """The command line of `gigarank rank-many`."""

    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A .parquet or .jsonl file, a folder of them, or s3://.", show_default=False)
    ]
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="A folder, or s3://.", show_default=False)]
    instruction: Annotated[
        str | None, typer.Option(help="The task, in a sentence, for rows without their own.", show_default=False)
    ] = None
    top_n: Annotated[int | None, typer.Option(min=1, help="Keep only the best N of a row's documents.", show_default=False)] = (
        None
    )
    query_field: Annotated[str, typer.Option(help="With the query.", rich_help_panel=_FIELDS)] = "query"
    documents_field: Annotated[
        str | None,
        typer.Option(
            help="With one text or an array of them; documents or document if not given.",
            rich_help_panel=_FIELDS,
            show_default=False,
        ),
    ] = None
    instruction_field: Annotated[
        str, typer.Option(help="With the row's own instruction, if it has one.", rich_help_panel=_FIELDS)
    ] = "instruction"
    id_field: Annotated[str, typer.Option(help="That goes into the output as `id`.", rich_help_panel=_FIELDS)] = "id"
    cluster: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="local, auto, or host:port of a Ray cluster.", rich_help_panel=_WORK),
    ] = "local"
    actors: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Engines; they share the processors as threads. One a processor or card, as memory allows, if not given.",
            rich_help_panel=_WORK,
            show_default=False,
        ),
    ] = None
    block_rows: Annotated[int, typer.Option(min=1, help="Most rows of a block.", rich_help_panel=_WORK)] = 1_000
    block_tokens: Annotated[
        int, typer.Option(min=1, help="Most tokens of a block, four bytes each.", rich_help_panel=_WORK)
    ] = 100_000
    json: Json = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No footer on standard error.")] = False
    debug: Debug = False


def rank_many(options: RankManyOptions) -> None:
    """Rank every row of INPUT into OUTPUT, on this machine or a Ray cluster; stopped anywhere, the same command continues.

    A row is a query with one document, or with an array of them. OUTPUT has one row for each, with its score or its ranking.
    """
    check_text("instruction", options.instruction)
    check_kind(options.model, "reranker")
    check_cluster(options.cluster)
    with waiting("reading the input"):
        from gigarank.cluster.manifest import input_files
        from gigarank.cluster.many import rank_many as work
        from gigarank.cluster.places import open_place

        source, output = open_place(options.source, "input"), open_place(options.output, "output")
        input_files(source)
    choice, where = choose(options)
    with CountBar("ranking") as bar:
        summary = work(source, output, asked(options, choice), choice, where, bar)
    if options.json:
        emit(json_text.dumps(asdict(summary)) + "\n")
    if not options.quiet:
        note(footer(summary))


def check_cluster(cluster: str, packages: Sequence[str] = _PACKAGES) -> None:
    """Raises InvalidInput where Ray is not installed, and for an address that Ray Data does not work through."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        message = f"rank-many needs packages that are not here ({', '.join(missing)}): pip install 'gigarank[cluster]'"
        raise InvalidInput(message, param="cluster", limit="gigarank[cluster]", received=missing)
    if "://" in cluster:
        message = f"cluster: {cluster} is an address for Ray's client; run this on a machine of the cluster, with host:port"
        raise InvalidInput(message, param="cluster", limit="host:port", received=cluster)


def choose(options: RankManyOptions) -> "tuple[ModelChoice, Where]":
    """The model, brought here if it is not, and where it will run."""
    from gigarank.cluster.many import Where, choice_of, weight_bytes
    from gigarank.engine.store import with_adapter

    checkpoint = with_adapter(fetch(options.model, options.revision), options.adapter)
    choice = choice_of(
        checkpoint,
        model=options.model,
        revision=options.revision,
        adapter=options.adapter,
        dtype=options.dtype,
        device=options.device,
        max_tokens=options.max_tokens,
    )
    return choice, Where(options.cluster, options.actors, weight_bytes(checkpoint))


def asked(options: RankManyOptions, choice: "ModelChoice") -> "Asked":
    """What the output depends on. Where it is computed is not among it."""
    from gigarank.cluster.blocks import Limits
    from gigarank.cluster.manifest import Asked
    from gigarank.cluster.rows import Fields

    settings = {
        "gigarank": __version__,
        "model": options.model,
        "model's files": choice.fingerprint,
        "dtype": options.dtype,
        "device": options.device,
        "max_tokens": options.max_tokens,
        "instruction": options.instruction,
        "top_n": options.top_n,
    }
    fields = Fields(query=options.query_field, instruction=options.instruction_field, id=options.id_field)
    return Asked(fields, options.documents_field, Limits(options.block_rows, options.block_tokens), settings)


def footer(summary: "Summary") -> str:
    """What was done, for people."""
    before = f", {summary.finished_before:,} of them finished before" if summary.finished_before else ""
    wrong = f"; {summary.errors:,} of these rows have an error instead" if summary.errors else ""
    speed = f", {summary.rows / summary.seconds:,.0f} rows/s" if summary.rows else ""
    engines = f", engines: {summary.actors}, threads each: {summary.threads}" if summary.actors else ""
    return f"{summary.rows:,} rows ranked in {summary.seconds:.1f} s{speed}{engines}; {summary.blocks:,} blocks{before}{wrong}"
