"""`gigarank train merge` and `gigarank train export`: from checkpoints and adapters to a folder that stands alone.

Knows the training layer by its functions. Invariant: the output folder appears whole or not at all.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gigarank import __version__
from gigarank.cli.command import Debug, Json
from gigarank.cli.loading import fetch
from gigarank.cli.progress import waiting
from gigarank.cli.train_output import tell
from gigarank.errors import InvalidInput

if TYPE_CHECKING:
    from gigarank.engine.store import Checkpoint
    from gigarank.model.weights import TensorSource
    from gigarank.training.card import Figure

Folder = Annotated[Path, typer.Option("--output", "-o", help="The folder to write; it must not be there.", show_default=False)]
Adapter = Annotated[str | None, typer.Option(help="A LoRA adapter's folder, merged in.", show_default=False)]
Precision = Annotated[
    Literal["fp32", "bf16", "fp16"] | None,
    typer.Option(help="On disk; the checkpoint's own, or fp32 of a mix, if not given.", show_default=False),
]
Kind = Annotated[Literal["reranker", "embedder"], typer.Option(help="What the folder is to be.")]


@dataclass(frozen=True, kw_only=True)
class MergeCommand:
    """The command line of `gigarank train merge`."""

    models: Annotated[
        list[str], typer.Argument(metavar="MODELS", help="One with --adapter, or checkpoints to mix.", show_default=False)
    ]
    output: Folder
    adapter: Adapter = None
    method: Annotated[Literal["linear", "slerp"], typer.Option(help="How checkpoints are mixed.")] = "slerp"
    weight: Annotated[
        list[float] | None, typer.Option(help="A checkpoint's share; once for each, equal if not given.", show_default=False)
    ] = None
    dtype: Precision = None
    kind: Kind = "reranker"
    json: Json = False
    debug: Debug = False


def merge(options: MergeCommand) -> None:
    """Merge an adapter into its base, or several checkpoints of one model into one.

    slerp goes along the arc between two checkpoints, tensor by tensor; more are taken in one after the other.
    """
    from gigarank.training.export import ExportOptions, export, require_free
    from gigarank.training.merge import mixed

    require_free(options.output)
    several = len(options.models) > 1
    if several and options.adapter is not None:
        raise InvalidInput(
            "adapter: for one model; merge it first, then mix", param="adapter", limit=1, received=len(options.models)
        )
    checkpoints = [_checkpoint(name, options.adapter) for name in options.models]
    if not several and checkpoints[0].adapter is None:
        raise InvalidInput("models: one model without --adapter leaves nothing to merge", param="models", limit=2, received=1)
    with waiting("merging"):
        source = mixed(checkpoints, options.weight, options.method) if several else _source(checkpoints[0])
        export(checkpoints[0], source, options.output, ExportOptions(options.dtype, options.kind))
    tell({"folder": str(options.output), "merged": [one.name for one in checkpoints]}, options.json)


@dataclass(frozen=True, kw_only=True)
class ExportCommand:
    """The command line of `gigarank train export`."""

    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model's name, a folder, or an adapter's.", show_default=False)
    ]
    output: Folder
    adapter: Adapter = None
    dtype: Precision = None
    only_adapter: Annotated[
        bool, typer.Option("--only-adapter", help="Write the adapter, not merged; --dtype bf16 makes it half as large.")
    ] = False
    kind: Kind = "reranker"
    name: Annotated[str | None, typer.Option(help="In the card; the folder's if not given.", show_default=False)] = None
    licence: Annotated[str, typer.Option(help="Of the exported model.")] = "apache-2.0"
    data: Annotated[
        list[str] | None,
        typer.Option(help="NAME=LICENCE:ROWS of training data; give it more than once.", show_default=False),
    ] = None
    stage: Annotated[list[str] | None, typer.Option(help="A training stage it went through; in order.", show_default=False)] = (
        None
    )
    recipe: Annotated[Path | None, typer.Option(help="The recipe's TOML file, for the card.", show_default=False)] = None
    results: Annotated[
        Path | None, typer.Option(help="A folder of `gigarank eval run`'s results of this model.", show_default=False)
    ] = None
    base_results: Annotated[Path | None, typer.Option(help="The same of its base.", show_default=False)] = None
    json: Json = False
    debug: Debug = False


def export(options: ExportCommand) -> None:
    """Write a model as a folder in the official layout, with its card.

    It loads in gigarank, in sentence-transformers as a CrossEncoder, and in vLLM with the overrides that the card names.
    """
    from gigarank.evaluation.provenance import commit
    from gigarank.training.card import CardFacts, card, parse_source
    from gigarank.training.export import ExportOptions, export_adapter, require_free
    from gigarank.training.export import export as write

    require_free(options.output)
    sources = [parse_source(text) for text in options.data or ()]
    measured = figures(options.results, options.base_results)
    recipe = options.recipe.read_text(encoding="utf-8") if options.recipe is not None else ""
    checkpoint = _checkpoint(options.model, options.adapter)
    facts = CardFacts(
        name=options.name or options.output.resolve().name,
        base=base_name(checkpoint, options.model),
        licence=options.licence,
        kind=options.kind,
        data=sources,
        stages=options.stage or (),
        recipe=recipe,
        commit=commit(),
        version=__version__,
        figures=measured,
        vllm=overrides_of(checkpoint) if options.kind == "reranker" else {},
        adapter=options.only_adapter,
    )
    with waiting("writing"):
        if options.only_adapter:
            export_adapter(checkpoint, options.output, options.dtype, card(facts))
        else:
            chosen = ExportOptions(options.dtype, options.kind)
            write(checkpoint, _source(checkpoint), options.output, chosen, card(facts))
    tell({"folder": str(options.output), "model": checkpoint.name}, options.json)


def base_name(checkpoint: "Checkpoint", given: str) -> str:
    """The hub's name of the base where it has one; else the adapter's word for it, or what was given."""
    from gigarank.engine.adapters import base_of

    if checkpoint.model is not None:
        return checkpoint.model.repository
    return given if checkpoint.adapter is None else base_of(checkpoint.adapter)


def overrides_of(checkpoint: "Checkpoint") -> dict[str, Any]:
    from gigarank.engine.loading import read_config
    from gigarank.engine.reranker import choose_prompt
    from gigarank.training.card import vllm_overrides
    from gigarank.types import EngineOptions

    return vllm_overrides(read_config(checkpoint.folder).model_type, choose_prompt(checkpoint, EngineOptions()))


def figures(results: Path | None, base: Path | None) -> "list[Figure]":
    """The main metric of every task of a results folder, beside the base's. Raises BadFile."""
    from gigarank.evaluation.store import read_results
    from gigarank.training.card import Figure

    if results is None:
        return []
    before = {one.set.name: one for one in read_results(base)} if base is not None else {}
    found = []
    for one in read_results(results):
        name = one.main_metric
        other = before.get(one.set.name)
        same = other is not None and other.set.fingerprint == one.set.fingerprint and name in other.metrics
        found.append(
            Figure(
                set=one.set.name,
                metric=name,
                value=one.metrics[name].reranked,
                first_stage=one.metrics[name].first_stage,
                base=other.metrics[name].reranked if same and other is not None else None,
                queries=one.set.queries,
            )
        )
    return found


def _checkpoint(name: str, adapter: str | None) -> "Checkpoint":
    found = fetch(name, None)
    from gigarank.engine.store import with_adapter

    return with_adapter(found, adapter)


def _source(checkpoint: "Checkpoint") -> "TensorSource":
    from gigarank.training.export import source_of

    return source_of(checkpoint)
