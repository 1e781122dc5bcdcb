"""`gigarank admin catalogue`: models that are asked for, measured, served and retired.

Knows the services and no SQL. Invariant: a command is one transaction, and says what is so now.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from gigarank.cli.admin_options import Hosted, HostedOptions, moment, opened, show, show_rows
from gigarank.cli.command import as_command
from gigarank.errors import InvalidInput
from gigarank.service.configuration import process_settings

if TYPE_CHECKING:
    from gigarank.service.mail.service import Post

_COLUMNS = ("model", "state", "votes", "retires", "reason")

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A name of `gigarank models`, or OWNER/NAME of the hub.", show_default=False)
]
catalogue = typer.Typer(help="Models that are asked for.", rich_markup_mode="rich", no_args_is_help=True)


@dataclass(frozen=True, kw_only=True)
class ModelOptions(HostedOptions):
    """The command line of `gigarank admin catalogue propose`."""

    model: ModelName


@dataclass(frozen=True, kw_only=True)
class MoveOptions(ModelOptions):
    """The command line of `gigarank admin catalogue move`."""

    state: Annotated[str, typer.Argument(metavar="STATE", help="proposed, benchmarking, onboarding, live, retired.")]


@dataclass(frozen=True, kw_only=True)
class RetireOptions(ModelOptions):
    """The command line of `gigarank admin catalogue retire`."""

    at: Annotated[str, typer.Option(help="From when on it is not served: a date in UTC.", show_default=False)]
    instead: Annotated[str | None, typer.Option(help="What to ask then.", show_default=False)] = None


def propose(options: ModelOptions) -> None:
    """Write a model down, for others to ask for it."""
    from gigarank.service.catalogue import service
    from gigarank.service.catalogue.schemas import read_model

    name = read_model(options.model)
    with opened(options) as hosted:
        show(hosted.do(lambda one: service.propose(one, name, hosted.now)), options.json)


def move(options: MoveOptions) -> None:
    """Take a model to another state. Whoever asked for it is told when it is live."""
    from gigarank.service.catalogue import service
    from gigarank.service.catalogue.schemas import read_model, read_state

    name, state, post = read_model(options.model), read_state(options.state), post_of(options)
    with opened(options) as hosted:
        show(hosted.do(lambda one: service.move(one, name, state, post, hosted.now)), options.json)


def retire(options: RetireOptions) -> None:
    """From which day on a live model is not served, and what to ask then."""
    from gigarank.service.catalogue import service
    from gigarank.service.catalogue.schemas import Retirement, read_model

    at, name = moment(options.at, "at"), read_model(options.model)
    with opened(options) as hosted:
        retirement = Retirement(_later(at, options.at, hosted), options.instead)
        show(hosted.do(lambda one: service.retire(one, name, retirement, hosted.now)), options.json)


def _later(at: int | None, text: str, hosted: Hosted) -> int:
    if at is None or at < hosted.now:
        message = f"--at: is over; to end a model at once, move it to retired; received {text}"
        raise InvalidInput(message, param="at", limit=hosted.now, received=text)
    return at


def list_models(options: HostedOptions) -> None:
    """All of them, the most wanted first."""
    from gigarank.service.catalogue.service import page

    with opened(options) as hosted:
        rows = hosted.do(lambda one: page(one, None, None, hosted.now))
    show_rows("models", rows, _COLUMNS, options.json)


def post_of(options: HostedOptions) -> "Post":
    """Where letters are left, as the server has it."""
    from gigarank.service.mail.service import Post

    settings = process_settings({"state_dir": options.state_dir, "database_url": options.database_url}, options.config)
    return Post(settings.public_url or f"http://{settings.host}:{settings.port}", bool(settings.smtp_url))


catalogue.command("propose")(as_command(ModelOptions, propose))
catalogue.command("move")(as_command(MoveOptions, move))
catalogue.command("retire")(as_command(RetireOptions, retire))
catalogue.command("list")(as_command(HostedOptions, list_models))
