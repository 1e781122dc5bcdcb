"""`gigarank bench engine`: how fast the engine is on this machine, against its peers and its own matrix products.

`bench serve` joins it here from its own file. Knows how to ask and how to show; measuring is gigarank.bench's. Invariant:
standard output ends in one line of JSON, and progress goes to standard error.
"""

import json as json_text
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from gigarank.cli.bench_serve import ServeBenchOptions, serve
from gigarank.cli.command import Debug, Json, as_command
from gigarank.cli.output import emit, note

app = typer.Typer(
    help="Measure this machine.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    epilog="[bold]Examples[/]\n\n  gigarank bench engine --shape 0.6b --docs 20\n\n"
    "  gigarank bench engine --shape 0.6b --workload passages --against transformers,sentence-transformers\n\n"
    "  gigarank bench serve --documents 10 --clients 1,16 --one-core",
)


@app.callback()
def _group() -> None:
    """Measure this machine."""


@dataclass(frozen=True, kw_only=True)
class EngineBenchOptions:
    """The command line of `gigarank bench engine`."""

    shape: Annotated[
        Literal["0.6b", "4b", "8b", "nano"], typer.Option(help="Of which model the random weights have the shape.")
    ] = "0.6b"
    workload: Annotated[str, typer.Option(help="short, passages, long, single; several with commas.")] = "passages"
    docs: Annotated[
        int | None, typer.Option(min=1, help="Documents, instead of the workload's own number.", show_default=False)
    ] = None
    tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens a document, instead of the workload's own.", show_default=False)
    ] = None
    dtype: Annotated[
        Literal["fp32", "bf16", "int8"], typer.Option(help="Precision of every contestant; beside int8 the peers take fp32.")
    ] = "fp32"
    layers: Annotated[
        int | None, typer.Option(min=1, help="Shorten the model for a quick look; the result says so.", show_default=False)
    ] = None
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; every contestant runs once a round.")] = 3
    against: Annotated[str, typer.Option(help="transformers, sentence-transformers; several with commas.")] = ""
    seed: Annotated[int, typer.Option(help="Of the weights and the documents.")] = 0
    json: Json = False
    debug: Debug = False


def engine(options: EngineBenchOptions) -> None:
    """Rank random documents with random weights of an official shape, and time it.

    Ends in one line of JSON. Exit code 1: a peer computed other scores, so the comparison means nothing.
    """
    from gigarank.bench.engine import Settings, run
    from gigarank.bench.summary import disagreeing
    from gigarank.bench.workloads import select

    workloads = select(options.workload, options.docs, options.tokens)
    peers = tuple(name.strip() for name in options.against.split(",") if name.strip())
    settings = Settings(options.shape, options.dtype, options.layers, options.repeats, peers, options.seed)
    result = run(settings, workloads, note)
    if not options.json:
        emit("\n".join(table(result)) + "\n")
    emit(json_text.dumps(result, ensure_ascii=False) + "\n")
    if wrong := disagreeing(result):
        note("gigarank: error: scores differ: " + "; ".join(wrong))
        raise typer.Exit(1)


app.command()(as_command(EngineBenchOptions, engine))
app.command()(as_command(ServeBenchOptions, serve))


def table(result: dict[str, Any]) -> list[str]:
    """The result as lines of a Markdown table, one workload a row."""
    peers = [name for name in result["contestants"] if name != "gigarank"]
    model = result["model"]
    cut = ", SHORTENED" if model["shortened"] else ""
    heading = ["workload", "documents x tokens", "pairs/s", "tokens/s", "peak memory", "of the GEMM limit"]
    rows = [heading + [f"faster than {name}" for name in peers]]
    rows += [_row(one, peers) for one in result["results"]]
    rows.insert(1, ["---"] * len(rows[0]))
    title = f"{model['shape']}, {model['layers']} layers{cut}, {model['dtype']}, {result['repeats']} rounds"
    return [title, "", *("| " + " | ".join(row) + " |" for row in rows)]


def _row(one: dict[str, Any], peers: list[str]) -> list[str]:
    load = one["workload"]
    return [
        load["name"],
        f"{load['documents']} x {load['tokens']}",
        f"{one['pairs_per_second']:.3g}",
        f"{one['tokens_per_second']:.0f}",
        f"{one['peak_memory_bytes'] / 2**30:.2f} GiB",
        _ratio(one["ratio_to_gemm_limit"]),
        *(_ratio(one["ratio_to_peers"][name]) for name in peers),
    ]


def _ratio(found: dict[str, float]) -> str:
    return f"{found['median']:.2f} ({found['min']:.2f} to {found['max']:.2f})"
