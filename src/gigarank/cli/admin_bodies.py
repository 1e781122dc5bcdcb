"""`gigarank admin logs`: bodies of requests that are kept for accounts that want it.

Knows the services and no SQL. Invariant: a command is one transaction, and says what is so now.
"""

from dataclasses import dataclass
from typing import Annotated

import typer

from gigarank.cli.admin_options import Account, HostedOptions, opened, show, show_rows
from gigarank.cli.command import as_command

_COLUMNS = ("id", "created", "key_id", "route", "request_bytes", "response_bytes")

logs = typer.Typer(help="Bodies of requests, kept on request.", rich_markup_mode="rich", no_args_is_help=True)


@dataclass(frozen=True, kw_only=True)
class TermsOptions(HostedOptions):
    """The command line of `gigarank admin logs terms`."""

    account: Account
    days: Annotated[
        int | None, typer.Option(min=0, max=3_650, help="0: none are kept; absent: as if nothing was said.", show_default=False)
    ] = None
    key: Annotated[str | None, typer.Option(help="Of this key alone.", show_default=False)] = None


@dataclass(frozen=True, kw_only=True)
class ListOptions(HostedOptions):
    """The command line of `gigarank admin logs list` and `delete`."""

    account: Account
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest of so many.")] = 100


@dataclass(frozen=True, kw_only=True)
class LogOptions(HostedOptions):
    """The command line of `gigarank admin logs show`."""

    log_id: Annotated[str, typer.Argument(metavar="LOG_ID", help="As the list shows it.", show_default=False)]


def set_terms(options: TermsOptions) -> None:
    """For how many days bodies are kept, within the server's max_body_days; what is kept for longer ends sooner."""
    from gigarank.service.accounts.service import find
    from gigarank.service.bodies import service
    from gigarank.service.bodies.schemas import Asked

    asked = Asked(options.days, options.key)
    with opened(options) as hosted:
        show(
            hosted.do(lambda one: service.set_terms(one, find(one, options.account).id, asked, hosted.now)),
            options.json,
        )
        hosted.database.scrub()


def list_logs(options: ListOptions) -> None:
    """What is kept of an account, without the bodies, the newest first."""
    from gigarank.service.accounts.service import find
    from gigarank.service.bodies import repository
    from gigarank.service.bodies.schemas import about

    with opened(options) as hosted:
        rows = hosted.do(lambda one: repository.page(one, {"account_id": find(one, options.account).id}, None, options.limit))
    show_rows("logs", [about(row) for row in rows], _COLUMNS, options.json)


def show_log(options: LogOptions) -> None:
    """One request and its answer, as they were sent."""
    from gigarank.service.bodies.schemas import whole
    from gigarank.service.bodies.service import find

    with opened(options) as hosted:
        row = hosted.do(lambda one: find(one, {"id": options.log_id}))
    show(whole(row), options.json)


def delete_logs(options: ListOptions) -> None:
    """All that is kept of an account, now."""
    from gigarank.service.accounts.service import find
    from gigarank.service.bodies import repository

    with opened(options) as hosted:
        removed = hosted.do(lambda one: repository.remove(one, {"account_id": find(one, options.account).id}))
        hosted.database.scrub()
    show({"object": "logs", "deleted": removed}, options.json)


logs.command("terms")(as_command(TermsOptions, set_terms))
logs.command("list")(as_command(ListOptions, list_logs))
logs.command("show")(as_command(LogOptions, show_log))
logs.command("delete")(as_command(ListOptions, delete_logs))
