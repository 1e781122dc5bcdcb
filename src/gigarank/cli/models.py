"""`gigarank models`: what the catalogue knows, what of it is on this machine, and bringing the rest.

Knows no weights. Invariant: listing and showing use no network, and a figure that was not measured here is headed
as such.
"""

import json as json_text
import sys
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from gigarank.catalogue import MODELS, Model, find, unknown
from gigarank.cli.command import Debug, Json, as_command
from gigarank.cli.loading import fetch
from gigarank.cli.output import emit, is_terminal, note
from gigarank.cli.terminal import as_text

_PUBLISHED = "published by the authors (arXiv 2506.05176), not measured here"
_ABSENT = "-"

app = typer.Typer(
    help="What models there are, which are on this machine, and how to bring one.",
    rich_markup_mode="rich",
    epilog="[bold]Examples[/]\n\n  gigarank models\n\n  gigarank models get nano\n\n  gigarank models show qwen3-reranker-0.6b",
)

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A name, an alias or a repository of `gigarank models`.", show_default=False),
]


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """The command line of `gigarank models`."""

    context: typer.Context
    json: Json = False
    debug: Debug = False


@dataclass(frozen=True, kw_only=True)
class NameOptions:
    """The command line of `gigarank models show`."""

    name: Name
    json: Json = False
    debug: Debug = False


@dataclass(frozen=True, kw_only=True)
class GetOptions(NameOptions):
    """The command line of `gigarank models get`."""

    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name, an alias, a repository or any hub id.", show_default=False)
    ]
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the hub.", show_default=False)] = None


def list_models(options: ListOptions) -> None:
    """What models there are, which are on this machine, and how to bring one."""
    if options.context.invoked_subcommand is not None:
        return
    places = [(model, _place(model)) for model in MODELS]
    if options.json:
        known = [_described(model, place) for model, place in places]
        emit(json_text.dumps({"models": known}, ensure_ascii=False) + "\n")
    elif is_terminal(sys.stdout):
        emit(as_text(_table(places)) + _folders(places))
    else:
        emit("".join("\t".join(_row(model, place)) + "\n" for model, place in places))
        for model, _ in places:
            if model.caveat:
                note(f"note: {model.caveat}")


def show_model(options: NameOptions) -> None:
    """All that the catalogue knows of a model."""
    model = find(options.name)
    if model is None:
        raise unknown(options.name)
    described = _described(model, _place(model))
    emit(json_text.dumps(described, ensure_ascii=False) + "\n" if options.json else _paragraphs(described))


def get_model(options: GetOptions) -> None:
    """Bring a model's weights to this machine and say where they are; those already here stay."""
    checkpoint = fetch(options.name, options.revision)
    result = {"model": checkpoint.name, "folder": str(checkpoint.folder)}
    emit(json_text.dumps(result, ensure_ascii=False) + "\n" if options.json else f"{checkpoint.folder}\n")


def _place(model: Model) -> Path | None:
    from gigarank.engine.presence import present

    return present(model)


def _described(model: Model, place: Path | None) -> dict[str, Any]:
    known = asdict(model)
    published = {"source": _PUBLISHED, "figures": known.pop("published")}
    return known | {"published": published, "folder": str(place) if place else None}


def _row(model: Model, place: Path | None) -> tuple[str, ...]:
    numbers = (_billions(model.parameters), f"{model.context_tokens:,}")
    return (model.name, model.repository, model.kind, *numbers, model.licence, str(place) if place else _ABSENT)


def _billions(parameters: int) -> str:
    return f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.0f}M"


def _table(places: list[tuple[Model, Path | None]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("name", no_wrap=True)
    table.add_column("repository", overflow="fold")
    for name in ("kind", "size", "context", "licence", "here"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("size", "context") else "left")
    for model, place in places:
        row = (*_row(model, place)[:-1], "yes" if place else _ABSENT)
        table.add_row(*row, style=None if place else "dim")
    return table


def _folders(places: list[tuple[Model, Path | None]]) -> str:
    """Where those are that are here (a path may be longer than any column), and what is to be known of them."""
    here = [f"{model.name} is in {place}\n" for model, place in places if place]
    caveats = [textwrap.fill(model.caveat, 79) + "\n" for model, _ in places if model.caveat]
    return "\n" + "".join(here) + "".join(caveats) + "gigarank models get NAME brings one\n"


def _paragraphs(described: dict[str, Any]) -> str:
    nested = {"shape": "shape", "wheel": "wheel of the Python registry"}
    plain = {name: value for name, value in described.items() if name not in {*nested, "published"}}
    sections = [_section(described["name"], plain)]
    sections += [_section(title, described[name]) for name, title in nested.items() if described[name]]
    if figures := described["published"]["figures"]:
        sections.append(_section(f"figures {_PUBLISHED}", figures))
    return "\n".join(sections)


def _section(title: str, values: dict[str, Any]) -> str:
    width = max(len(name) for name in values) + 2
    return title + "\n" + "".join(f"  {name.replace('_', ' '):<{width}}{_value(v)}\n" for name, v in values.items())


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or _ABSENT
    if value is None:
        return _ABSENT
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


app.callback(invoke_without_command=True)(as_command(ListOptions, list_models))
app.command("show", epilog="[bold]Example[/]\n\n  gigarank models show nano")(as_command(NameOptions, show_model))
app.command("get", epilog="[bold]Example[/]\n\n  gigarank models get nano")(as_command(GetOptions, get_model))
