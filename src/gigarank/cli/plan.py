"""`gigarank plan`: how many replicas a load needs, by simulating the engine's own schedule.

Knows how to ask and how to show; the simulation is gigarank.cluster's. Invariant: whatever is shown says on what it rests,
line by line: measured, published or assumed.
"""

import importlib.util
import json as json_text
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gigarank.cli.command import Debug, Json
from gigarank.cli.output import emit, note
from gigarank.errors import InvalidInput

if TYPE_CHECKING:
    from gigarank.cluster.capacity.planning import Question
    from gigarank.cluster.capacity.profiles import Profile


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """The command line of `gigarank plan`."""

    rate: Annotated[float, typer.Option(help="Requests a second, at random moments.", show_default=False)]
    documents: Annotated[int, typer.Option(help="Documents of a request, 40% more or fewer.", show_default=False)]
    tokens: Annotated[int, typer.Option(help="Tokens of a document, 40% more or fewer.", show_default=False)]
    model: Annotated[str, typer.Option(help="Which reranker.")] = "0.6b"
    hardware: Annotated[str, typer.Option(help="cpu (measured), h100, h200, a100, l40s or l4 (assumed).")] = "h100"
    profile: Annotated[
        Path | None,
        typer.Option(help="Costs from `scripts/bench plan` or `gigarank bench engine --json`.", show_default=False),
    ] = None
    slo: Annotated[
        str | None, typer.Option(help="A promise, such as p99=500ms: the smallest number that keeps it.", show_default=False)
    ] = None
    replicas: Annotated[int | None, typer.Option(help="This number instead.", show_default=False)] = None
    split_tokens: Annotated[
        int | None, typer.Option(help="Split a request into groups of at most so many tokens.", show_default=False)
    ] = None
    batch_tokens: Annotated[int | None, typer.Option(help="Tokens computed together.", show_default=False)] = None
    query_tokens: Annotated[int, typer.Option(help="Tokens of a query.")] = 12
    burst: Annotated[float, typer.Option(help="In a tenth of the time, so many times the rate.")] = 1.0
    utilisation: Annotated[float, typer.Option(help="The share of a GPU's operations that is assumed.")] = 0.4
    price: Annotated[
        float | None, typer.Option(help="Of a replica an hour; without it no cost is shown.", show_default=False)
    ] = None
    requests: Annotated[int, typer.Option(help="How many are simulated.")] = 3_000
    seed: Annotated[int, typer.Option(help="Of the requests.")] = 0
    plot: Annotated[Path | None, typer.Option(help="A drawing: a file .svg or .png.", show_default=False)] = None
    json: Json = False
    debug: Debug = False


def plan(options: PlanOptions) -> None:
    """Say how many replicas a load needs, how busy they are, how long requests take, and what it costs.

    The engine's own schedule is simulated. What GPUs do is assumed from their data sheets, and marked so.
    """
    _check_installed("simpy", *(["matplotlib"] if options.plot else []))
    from gigarank.cluster.capacity.planning import answer

    if options.plot is not None:
        from gigarank.cluster.capacity.plots import check_format

        check_format(options.plot)
    planned = answer(_question(options), _profile(options), note)
    if options.plot is not None:
        from gigarank.cluster.capacity.plots import draw

        load = f"{options.rate:g} requests/s of {options.documents} documents"
        title = f"{planned.profile.model} on {planned.profile.hardware}, {load}"
        draw(options.plot, title, planned.tried, planned.chosen, planned.question.slo)
    found = planned.described()
    emit(json_text.dumps(found, ensure_ascii=False) + "\n" if options.json else "\n".join(table(found)) + "\n")


def _check_installed(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        message = f"plan needs packages that are not here ({', '.join(missing)}): pip install 'gigarank[cluster]'"
        raise InvalidInput(message, param="plan", received=missing)


def _question(options: PlanOptions) -> "Question":
    from gigarank.cluster.capacity.planning import Question
    from gigarank.cluster.capacity.search import parse_slo

    return Question(
        rate=options.rate,
        documents=options.documents,
        tokens=options.tokens,
        slo=None if options.slo is None else parse_slo(options.slo),
        replicas=options.replicas,
        query_tokens=options.query_tokens,
        burst=options.burst,
        split_tokens=options.split_tokens,
        batch_tokens=options.batch_tokens,
        price_per_hour=options.price,
        requests=options.requests,
        seed=options.seed,
    )


def _profile(options: PlanOptions) -> "Profile":
    from gigarank.cluster.capacity.profiles import find

    if options.profile is None:
        return find(options.model, options.hardware, options.utilisation)
    from gigarank.cluster.capacity.profile_file import read_profile

    return read_profile(options.profile)


def table(found: dict[str, Any]) -> list[str]:
    """The answer as lines: what was asked, what comes out, and on what it rests."""
    asked, result, amounts = found["asked"], found["result"], found["per_second"]
    promise = f", {asked['slo']}" if asked["slo"] else ""
    load = f"{amounts['requests']:,.4g} requests/s, {amounts['documents']:,.0f} documents/s, {amounts['tokens']:,.0f} tokens/s"
    latency = ", ".join(f"{name} {_ms(value)}" for name, value in result["latency_ms"].items())
    rows = [
        ("replicas", f"{result['replicas']}"),
        ("utilisation", f"{result['utilisation']:.0%} of their time, batches {result['batch_fill']:.0%} full"),
        ("latency", latency),
        ("refused", f"{result['refused']} of {asked['requests']:,}"),
        *_costs(found["cost"]),
    ]
    return [
        f"{found['model']} on {found['hardware']}: {load}{promise}",
        "",
        *(f"{name:<14}{value}" for name, value in rows),
        "",
        *_tried(found["tried"]),
        f"This rests on what was {found['basis']}:",
        *(f"  {fact['basis']:<10} {fact['what']} ({fact['source']})" for fact in found["facts"]),
    ]


def _costs(cost: dict[str, float] | None) -> list[tuple[str, str]]:
    if cost is None:
        return [("cost", "not known without --price")]
    each = f"{cost['per_million_tokens']:.3g} a million tokens, {cost['per_million_documents']:.3g} a million documents"
    return [("cost", f"{cost['per_hour']:,.2f} an hour, {each}, at {cost['price_per_replica_hour']:g} a replica an hour")]


def _tried(tried: list[dict[str, Any]]) -> list[str]:
    if len(tried) < 2:
        return []
    lines = [f"{'replicas':<10}{'utilisation':<13}{'p50':<11}{'p99':<11}"]
    for one in tried:
        if "latency_ms" not in one:
            lines.append(f"{one['replicas']:<10}broken")
            continue
        latency = one["latency_ms"]
        lines.append(f"{one['replicas']:<10}{one['utilisation']:<13.0%}{_ms(latency['p50']):<11}{_ms(latency['p99']):<11}")
    return [*(line.rstrip() for line in lines), ""]


def _ms(value: float | None) -> str:
    return "refused" if value is None else f"{value:.0f} ms"
