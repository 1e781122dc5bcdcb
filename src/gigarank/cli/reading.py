"""The arguments and options that say which texts a command reads, the same for `rank` and `embed`.

Knows no model. Invariant: texts come from the named files in their order, or from standard input where none is named.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from gigarank.cli.documents import STDIN, Document, Fields, Format, read_documents
from gigarank.cli.output import is_terminal
from gigarank.errors import InvalidInput

_PANEL = "Input"

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILES", help="Files to read; - or nothing is standard input.", show_default=False),
]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How the files are read."""

    format: Annotated[
        Format | None,
        typer.Option(
            help="text: a file is one document. lines: a line is. jsonl: a row is, a string or an object. csv: a row "
            "is, below a header. By suffix if not given; other files are text, standard input is lines.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None
    field: Annotated[str, typer.Option(help="The JSON member or CSV column with the text.", rich_help_panel=_PANEL)] = "text"


def read_texts(files: Sequence[str] | None, options: ReadOptions, first_stage: str | None = None) -> list[Document]:
    """The documents; raises InvalidInput rather than wait for someone to type at a terminal unasked."""
    if not files and is_terminal(sys.stdin):
        raise InvalidInput("documents: no file is named and standard input is a terminal; name files, or - to type them")
    return read_documents(files or [STDIN], options.format, Fields(options.field, first_stage))


def check_text(name: str, text: str | None) -> None:
    """Refuse a text from the command line that is empty, or was not UTF-8 there."""
    if text is None:
        return
    if not text.strip():
        raise InvalidInput(f"{name}: empty; a text is needed", param=name, received=text)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(f"{name}: not UTF-8", param=name, received=text)
