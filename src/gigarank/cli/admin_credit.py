"""`gigarank admin account grant`, `code`, `price` and `check`: credit, what things cost, and whether all adds up.

Knows the services and no SQL. Invariant: a price that is set begins now or later, and changes nothing that was billed.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from gigarank.cli.admin_options import Account, Expires, HostedOptions, Usd, moment, opened, show, show_rows
from gigarank.cli.command import as_command
from gigarank.errors import InvalidInput

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gigarank.types import JsonObject

_PRICE_COLUMNS = ("model", "tier", "price_usd", "unit", "valid_from")
_BROKEN = 1

prices = typer.Typer(help="What models cost.", rich_markup_mode="rich", no_args_is_help=True)
codes = typer.Typer(help="Codes for credit.", rich_markup_mode="rich", no_args_is_help=True)


@dataclass(frozen=True, kw_only=True)
class GrantOptions(HostedOptions):
    """The command line of `gigarank admin account grant`."""

    account: Account
    usd: Usd
    reason: Annotated[str, typer.Option(help="Why; at most 200 characters.")] = "grant"
    priority: Annotated[int, typer.Option(help="Lower is spent first.")] = 100
    expires: Expires = None


@dataclass(frozen=True, kw_only=True)
class PriceOptions(HostedOptions):
    """The command line of `gigarank admin price set`."""

    model: Annotated[str, typer.Argument(metavar="MODEL", help="As GET /v1/models names it; * is any other.")]
    usd: Annotated[str, typer.Option(help="US dollars of a million tokens, or of a thousand documents.", show_default=False)]
    per: Annotated[str, typer.Option(help="tokens or documents.")] = "tokens"
    tier: Annotated[str, typer.Option(help="default (realtime) or batch (flexible).")] = "default"
    valid_from: Annotated[str | None, typer.Option(help="A date or time in UTC; absent: now.", show_default=False)] = None


@dataclass(frozen=True, kw_only=True)
class SweepOptions(HostedOptions):
    """The command line of `gigarank admin sweep`."""

    in_seconds: Annotated[
        int, typer.Option(min=0, max=3_600, help="As if so much later; 60 ends all holds, for when no server runs.")
    ] = 0


@dataclass(frozen=True, kw_only=True)
class CodeOptions(HostedOptions):
    """The command line of `gigarank admin code create`."""

    usd: Usd
    count: Annotated[int, typer.Option(min=1, max=1_000, help="How many codes.")] = 1
    expires: Expires = None


def create_codes(options: CodeOptions) -> None:
    """Codes that an account redeems for credit, each once; they are shown this once."""
    from gigarank.service.credits.money import micros
    from gigarank.service.credits.topups import make_codes

    amount, expires = micros(options.usd, "usd"), moment(options.expires, "expires")
    with opened(options) as hosted:
        made = hosted.do(lambda one: make_codes(one, amount, options.count, expires, hosted.now))
    rows: list[JsonObject] = [{"code_id": code_id, "code": code} for code_id, code in made]
    show_rows("codes", rows, ("code_id", "code"), options.json)


def list_codes(options: HostedOptions) -> None:
    """All codes, by their ids, and who redeemed them."""
    from gigarank.service.credits.money import usd
    from gigarank.service.credits.topups import every_code

    with opened(options) as hosted:
        rows = [{**row, "amount_usd": usd(row["amount_micros"])} for row in hosted.do(every_code)]
    show_rows("codes", rows, ("id", "amount_usd", "account_id", "expires"), options.json)


def grant_credit(options: GrantOptions) -> None:
    """Add credit to an account."""
    from gigarank.service.accounts import service as accounts
    from gigarank.service.credits.money import micros
    from gigarank.service.credits.schemas import Grant
    from gigarank.service.credits.service import grant

    given = Grant(micros(options.usd, "usd"), options.reason[:200], options.priority, moment(options.expires, "expires"))
    with opened(options) as hosted:

        def work(connection: "Connection") -> "JsonObject":
            account = accounts.find(connection, options.account)
            granted = grant(connection, account.id, given, hosted.now)
            return accounts.find(connection, account.id).shown() | {"grant_id": granted}

        show(hosted.do(work), options.json)


def set_price(options: PriceOptions) -> None:
    """A price from now on, or from a moment to come; flexible is half of realtime until it has one of its own."""
    from gigarank.service.credits import prices as table
    from gigarank.service.credits.money import micros
    from gigarank.service.credits.schemas import Price, read_tier, read_unit
    from gigarank.service.ids import new_id

    amount, unit, tier = micros(options.usd, "usd"), read_unit(options.per), read_tier(options.tier)
    with opened(options) as hosted:
        begins = moment(options.valid_from, "valid-from") or hosted.now
        if begins < hosted.now:
            message = f"--valid-from: is over; a price begins now or later, and what was billed stays: {options.valid_from}"
            raise InvalidInput(message, param="valid-from", limit=hosted.now, received=begins)
        price = Price(new_id("price"), options.model, tier, unit, amount, begins)
        made = hosted.do(lambda connection: table.set_price(connection, price))
        show(made.shown(), options.json)


def list_prices(options: HostedOptions) -> None:
    """All prices there were, are and will be."""
    from gigarank.service.credits.prices import history

    with opened(options) as hosted:
        rows = [price.shown() for price in hosted.do(history)]
    show_rows("prices", rows, _PRICE_COLUMNS, options.json)


def check(options: HostedOptions) -> None:
    """Whether every account's ledger, grants, holds and usage add up; exit code 1 where they do not."""
    from gigarank.service.credits.service import audit

    with opened(options) as hosted:
        found = hosted.do(audit)
    show(found.shown(), options.json)
    if found.problems:
        raise typer.Exit(_BROKEN)


def sweep(options: SweepOptions) -> None:
    """Give back what is held for requests whose server has ended, as every server does by itself within a minute or so."""
    from gigarank.service.credits.service import sweep as swept

    with opened(options) as hosted:
        released = hosted.do(lambda connection: swept(connection, hosted.now + options.in_seconds))
    show({"object": "sweep", "released": released}, options.json)


codes.command("create")(as_command(CodeOptions, create_codes))
codes.command("list")(as_command(HostedOptions, list_codes))
prices.command("set")(as_command(PriceOptions, set_price))
prices.command("list")(as_command(HostedOptions, list_prices))
