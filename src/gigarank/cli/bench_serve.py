"""`gigarank bench serve`: how fast a server answers over HTTP, what it adds to its model's time, and whether it grows.

Knows how to ask and how to show; measuring is gigarank.bench's. Invariant: standard output ends in one line of JSON, and
progress goes to standard error.
"""

import json as json_text
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from gigarank.cli.command import Debug, Json
from gigarank.cli.output import emit, note

PACKAGES = ("gigarank", "torch", "fastapi", "uvicorn", "httptools", "orjson", "aiohttp")


@dataclass(frozen=True, kw_only=True)
class ServeBenchOptions:
    """The command line of `gigarank bench serve`."""

    model: Annotated[str, typer.Option(help="Which model to serve; `fake` counts words, for the server's own speed.")] = "fake"
    clients: Annotated[str, typer.Option(help="Closed loops of so many clients; several with commas.")] = "16"
    rate: Annotated[str, typer.Option(help="Open loops of so many requests a second; several with commas.")] = ""
    documents: Annotated[int, typer.Option(min=1, help="Documents of a request.")] = 10
    bytes: Annotated[int, typer.Option(min=1, help="Bytes of a document.")] = 200
    requests: Annotated[int, typer.Option(min=1, help="Requests of each load in each round.")] = 1_000
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; every load runs once a round.")] = 3
    one_core: Annotated[bool, typer.Option("--one-core", help="The server on one core, the generator on the others.")] = False
    url: Annotated[str, typer.Option(help="A server that runs already.", show_default=False)] = ""
    key: Annotated[str, typer.Option(help="Its API key.", envvar="GIGARANK_API_KEY", show_default=False)] = ""
    seed: Annotated[int, typer.Option(help="Of the documents and the arrivals.")] = 0
    json: Json = False
    debug: Debug = False


def serve(options: ServeBenchOptions) -> None:
    """Send rerank requests to a server over loopback, loads in turn, and time them.

    Ends in one line of JSON. Exit code 1: some requests were not answered with a ranking.
    """
    from gigarank.bench.serve import Settings, parse_loads, run
    from gigarank.bench.serve_bodies import Workload

    settings = Settings(
        loads=parse_loads(options.clients, options.rate),
        workload=Workload(options.documents, options.bytes, options.model, options.seed),
        requests=options.requests,
        repeats=options.repeats,
        url=options.url,
        key=options.key,
        arguments=(*(("--backend", "fake") if options.model == "fake" else ()), "--model", options.model),
        one_core=options.one_core,
    )
    result = run(settings, note)
    from gigarank.bench.machine import describe  # brings torch, which the generator does without

    result["machine"] = describe(PACKAGES)
    if not options.json:
        emit("\n".join(table(result)) + "\n")
    emit(json_text.dumps(result, ensure_ascii=False) + "\n")
    if errors := {one["load"]["name"]: one["errors"] for one in result["results"] if one["errors"]}:
        note(f"gigarank: error: not answered with a ranking: {errors}")
        raise typer.Exit(1)


def table(result: dict[str, Any]) -> list[str]:
    """The result as lines of a Markdown table, one load a row, and a sentence on memory."""
    asked = result["workload"]
    where = "the server on one core" if result["one_core"] else "no cores divided"
    size = f"{asked['documents']} documents of {asked['document_bytes']} bytes"
    title = f"{asked['model']}, {size}, {result['repeats']} rounds, {where}"
    heading = ["load", "requests/s", "pairs/s", "p50", "p90", "p99", "overhead p50", "server CPU a request", "of the first"]
    rows = [heading, ["---"] * len(heading), *(_row(one, result["pairs_per_second_ratio"]) for one in result["results"])]
    shown = [title, "", *("| " + " | ".join(row) + " |" for row in rows), ""]
    ceiling = result["generator_ceiling_requests_per_second"]
    return [*shown, f"The generator's own ceiling is {ceiling:.0f} requests/s. {_memory(result['memory'])}"]


def _row(one: dict[str, Any], found: dict[str, dict[str, float]]) -> list[str]:
    latency, spent = one["latency_ms"], one["server_cpu_ms_per_request"]
    ratio = found.get(one["load"]["name"])
    return [
        one["load"]["name"],
        f"{one['requests_per_second']:.4g}",
        f"{one['pairs_per_second']:.4g}",
        *(f"{latency[name]:.3g} ms" for name in ("p50", "p90", "p99")),
        f"{one['overhead_ms']['p50']:.3g} ms",
        "-" if spent is None else f"{spent:.3g} ms",
        f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})" if ratio else "-",
    ]


def _memory(found: dict[str, Any] | None) -> str:
    if found is None:
        return "Too short a run to tell of memory."
    early, late = (found[name] / 2**20 for name in ("second_quarter_bytes", "last_quarter_bytes"))
    return f"Memory: {early:.1f} MiB in the run's second quarter, {late:.1f} MiB in its last ({found['growth']:+.1%})."
