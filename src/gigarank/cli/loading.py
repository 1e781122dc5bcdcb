"""The options that choose and load a model, the same for every command that runs one, and the loading itself.

Knows no command. Invariant: torch is imported here, inside a function, once a command has found its input sound.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gigarank.catalogue import find
from gigarank.cli.progress import DownloadBar, waiting
from gigarank.errors import InvalidInput
from gigarank.types import EngineOptions

if TYPE_CHECKING:
    from gigarank.engine.embedder import Embedder
    from gigarank.engine.reranker import Reranker
    from gigarank.engine.store import Checkpoint

_PANEL = "Model"
_COMMANDS = {"reranker": "rank", "embedder": "embed"}


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """The model, its numerics and the longest text."""

    model: Annotated[str, typer.Option(help="A name of `gigarank models`, a hub id or a folder.", rich_help_panel=_PANEL)] = (
        "nano"
    )
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the hub.", rich_help_panel=_PANEL)] = None
    adapter: Annotated[
        str | None,
        typer.Option(
            help="A LoRA adapter's folder, as peft writes it, merged into the model.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    dtype: Annotated[
        Literal["auto", "fp32", "bf16", "fp16", "fp64", "int8"], typer.Option(help="Precision.", rich_help_panel=_PANEL)
    ] = "auto"
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=_PANEL)] = "auto"
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Longest prompt in tokens, template included; 32,768 or the model's own limit if not given.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    keep_quantized: Annotated[
        bool,
        typer.Option(
            "--keep-quantized", help="Keep int8 weights in the cache folder for the next time.", rich_help_panel=_PANEL
        ),
    ] = False


def check_kind(name: str, kind: Literal["reranker", "embedder"]) -> None:
    """Refuse a known model of the other kind before anything is read or loaded."""
    model = find(name)
    if model is not None and model.kind != kind:
        raise InvalidInput(
            f"model: {model.name} is no {kind}; it runs with `gigarank {_COMMANDS[model.kind]}`",
            param="model",
            limit=kind,
            received=name,
        )


def load_reranker(options: LoadOptions) -> "Reranker":
    """Fetch the weights if they are missing, and load them."""
    fetch(options.model, options.revision)
    with waiting(f"loading {options.model}"):
        from gigarank.engine.reranker import Reranker

        return Reranker.load(
            options.model,
            device=options.device,
            dtype=options.dtype,
            revision=options.revision,
            adapter=options.adapter,
            options=EngineOptions(max_pair_tokens=options.max_tokens, keep_quantized=options.keep_quantized),
        )


def load_embedder(options: LoadOptions) -> "Embedder":
    """The same for a model that makes vectors."""
    fetch(options.model, options.revision)
    with waiting(f"loading {options.model}"):
        from gigarank.engine.embedder import Embedder

        return Embedder.load(
            options.model,
            device=options.device,
            dtype=options.dtype,
            revision=options.revision,
            adapter=options.adapter,
            options=EngineOptions(max_pair_tokens=options.max_tokens, keep_quantized=options.keep_quantized),
        )


def fetch(name: str, revision: str | None) -> "Checkpoint":
    """The checkpoint on this machine; its weights are brought here, with a bar, if they are not."""
    with waiting(f"looking for {name}"):
        from gigarank.engine.store import locate
    with DownloadBar() as bar:
        return locate(name, revision=revision, progress=bar)
