"""What the operator's commands share: where the database is, when something ends, and how a result is printed.

Knows no command. Invariant: --json prints exactly one JSON object.
"""

import json as json_text
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gigarank.cli.command import Debug, Json
from gigarank.cli.output import emit, printable
from gigarank.errors import InvalidInput
from gigarank.service.configuration import process_settings
from gigarank.service.settings import Settings
from gigarank.types import JsonObject

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gigarank.service.db import Database
    from gigarank.service.keys.secrets import Secrets

T = TypeVar("T")
Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="An account's id or e-mail address.", show_default=False)]
Usd = Annotated[str, typer.Option(help="US dollars, as 1.25.", show_default=False)]
Expires = Annotated[str | None, typer.Option(help="When it ends: a date or a time in UTC, as 2027-01-31.", show_default=False)]


@dataclass(frozen=True, kw_only=True)
class HostedOptions:
    """Where the database is: as `gigarank serve` finds it."""

    state_dir: Annotated[str | None, typer.Option(help="Folder of the database (GIGARANK_STATE_DIR).", show_default=False)] = (
        None
    )
    database_url: Annotated[
        str | None, typer.Option(help="PostgreSQL or SQLite (GIGARANK_DATABASE_URL).", show_default=False)
    ] = None
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings (GIGARANK_CONFIG).", show_default=False)] = None
    json: Json = False
    debug: Debug = False


@dataclass(frozen=True, slots=True)
class Hosted:
    """An open database. `now`: Unix seconds."""

    database: "Database"
    secrets: "Secrets"
    now: int
    settings: Settings

    def do(self, work: "Callable[[Connection], T]") -> T:
        return self.database.transaction(work)


@contextmanager
def opened(options: HostedOptions) -> Iterator[Hosted]:
    """Raises InvalidInput where the packages are missing, or a setting is wrong."""
    try:
        from gigarank.service.hosted import open_database, open_secrets
    except ImportError as error:
        message = f"admin needs a package that is not here ({error.name}): pip install 'gigarank[serve]'"
        raise InvalidInput(message, param="admin", received=error.name) from error
    settings = process_settings({"state_dir": options.state_dir, "database_url": options.database_url}, options.config)
    hosted = Hosted(open_database(settings), open_secrets(settings), int(time.time()), settings)
    try:
        yield hosted
    finally:
        hosted.database.close()


def moment(text: str | None, param: str) -> int | None:
    """Unix seconds of an ISO date or time, UTC where it names no zone; raises InvalidInput."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"--{param}: a date as 2027-01-31 or a time as 2027-01-31T12:00 is expected; received {text[:40]!r}"
        raise InvalidInput(message, param=param, received=text[:40]) from error
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def show(result: JsonObject, as_json: bool) -> None:
    """One JSON object, or a line a value."""
    if as_json:
        emit(json_text.dumps(result, ensure_ascii=False) + "\n")
        return
    width = max(len(name) for name in result)
    emit("".join(f"{name:<{width}}  {_plain(value)}\n" for name, value in result.items()))


def show_rows(name: str, rows: list[JsonObject], columns: tuple[str, ...], as_json: bool) -> None:
    """One JSON object with a list, or a line a row, with tabs."""
    if as_json:
        emit(json_text.dumps({"object": "list", name: rows}, ensure_ascii=False) + "\n")
        return
    emit("".join("\t".join(_plain(row[column]) for column in columns) + "\n" for row in rows))


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return printable(value if isinstance(value, str) else json_text.dumps(value, ensure_ascii=False))
