"""`gigarank admin account`, `key` and `secret`: who may ask.

Knows the services and no SQL. Invariant: a command is one transaction, and says what is so now.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from gigarank.cli import admin_bodies, admin_catalogue, admin_credit, admin_usage, onboard
from gigarank.cli.admin_options import Account, Expires, HostedOptions, Usd, moment, opened, show, show_rows
from gigarank.cli.command import as_command
from gigarank.service.tenant import SCOPES, Limits

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gigarank.service.keys.schemas import Terms
    from gigarank.service.keys.secrets import Secrets
    from gigarank.types import JsonObject

_FREE_PRIORITY = 100
_ACCOUNT_COLUMNS = ("account_id", "email", "state", "available_usd")
_KEY_COLUMNS = ("key_id", "begins_with", "name", "disabled", "spent_usd")

Number = Annotated[int | None, typer.Option(min=1, help="Absent: the server's setting.", show_default=False)]
KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="As `gigarank admin key list` shows it.", show_default=False)]
Name = Annotated[str, typer.Option(help="What the key is for.")]


@dataclass(frozen=True, kw_only=True)
class CreateOptions(HostedOptions):
    """The command line of `gigarank admin account create`."""

    email: Annotated[str, typer.Option(help="Whose account it is.", show_default=False)]
    grant_usd: Usd = "0"
    role: Annotated[str, typer.Option(help="user, or operator, who sees all accounts.")] = "user"


@dataclass(frozen=True, kw_only=True)
class AccountOptions(HostedOptions):
    """The command line of commands about one account."""

    account: Account


@dataclass(frozen=True, kw_only=True)
class LimitOptions(AccountOptions):
    """The command line of `gigarank admin account limits`."""

    requests_per_minute: Number = None
    tokens_per_minute: Number = None
    concurrent_requests: Number = None


@dataclass(frozen=True, kw_only=True)
class KeyOptions(LimitOptions):
    """The command line of `gigarank admin key create`."""

    name: Name = "default"
    scope: Annotated[list[str] | None, typer.Option(help=f"{', '.join(SCOPES)}; absent: all.", show_default=False)] = None
    model: Annotated[list[str] | None, typer.Option(help="A model that it may ask; absent: all.", show_default=False)] = None
    expires: Expires = None
    cap_usd: Annotated[str | None, typer.Option(help="The most that it may spend.", show_default=False)] = None
    cap_period: Annotated[str, typer.Option(help="total, day, week or month (UTC).")] = "total"


@dataclass(frozen=True, kw_only=True)
class KeyIdOptions(HostedOptions):
    """The command line of commands about one key."""

    key_id: KeyId


def create_account(options: CreateOptions) -> None:
    """Make an account with credit and a first key, which is shown this once."""
    from gigarank.service.accounts import service as accounts
    from gigarank.service.accounts.schemas import read_role
    from gigarank.service.credits.money import micros
    from gigarank.service.credits.schemas import Grant
    from gigarank.service.credits.service import grant
    from gigarank.service.keys.schemas import Terms

    amount, role = micros(options.grant_usd, "grant-usd"), read_role(options.role)
    with opened(options) as hosted:

        def work(connection: "Connection") -> "JsonObject":
            account = accounts.create(connection, options.email, hosted.now, role)
            if amount:
                grant(connection, account.id, Grant(amount, "first grant", _FREE_PRIORITY), hosted.now)
            made = _issued(connection, hosted.secrets, account.id, Terms(), hosted.now)
            return accounts.find(connection, account.id).shown() | {"api_key": made["api_key"], "key_id": made["key_id"]}

        show(hosted.do(work), options.json)


def list_accounts(options: HostedOptions) -> None:
    """All accounts, the oldest first."""
    from gigarank.service.accounts import repository

    with opened(options) as hosted:
        rows = [account.shown() for account in hosted.do(repository.every)]
    show_rows("accounts", rows, _ACCOUNT_COLUMNS, options.json)


def show_account(options: AccountOptions) -> None:
    """One account and what it has left."""
    from gigarank.service.accounts import service as accounts

    with opened(options) as hosted:
        show(hosted.do(lambda connection: accounts.find(connection, options.account)).shown(), options.json)


def make_link(options: AccountOptions) -> None:
    """The link that a letter would hold, for whoever signed up with the address, or to set the account's password."""
    from gigarank.service.accounts import signing
    from gigarank.service.accounts.door import site_of
    from gigarank.service.accounts.links import LIFE_S
    from gigarank.service.accounts.schemas import read_email

    email = read_email(options.account)
    with opened(options) as hosted:
        link, url = hosted.do(lambda one: signing.operators_link(one, site_of(hosted.settings), email, hosted.now))
        expires = hosted.now + LIFE_S[link.purpose]
        show({"object": "link", "purpose": link.purpose, "email": email, "url": url, "expires": expires}, options.json)


def suspend(options: AccountOptions) -> None:
    """From now on its keys are refused; what it has stays."""
    from gigarank.service.accounts import service as accounts

    with opened(options) as hosted:
        account = hosted.do(lambda connection: accounts.set_state(connection, options.account, "suspended"))
        show(account.shown(), options.json)


def resume(options: AccountOptions) -> None:
    """Its keys hold again."""
    from gigarank.service.accounts import service as accounts

    with opened(options) as hosted:
        account = hosted.do(lambda connection: accounts.set_state(connection, options.account, "active"))
        show(account.shown(), options.json)


def limit(options: LimitOptions) -> None:
    """How much it may ask; a limit that is absent is the server's setting."""
    from gigarank.service.accounts import service as accounts

    with opened(options) as hosted:
        account = hosted.do(lambda connection: accounts.set_limits(connection, options.account, _limits(options)))
        show(account.shown(), options.json)


def create_key(options: KeyOptions) -> None:
    """A key for an account, shown this once."""
    from gigarank.service.accounts import service as accounts

    terms = _terms(options)
    with opened(options) as hosted:

        def work(connection: "Connection") -> "JsonObject":
            account = accounts.find(connection, options.account)
            return _issued(connection, hosted.secrets, account.id, terms, hosted.now)

        show(hosted.do(work), options.json)


def list_keys(options: AccountOptions) -> None:
    """An account's keys, by how they begin."""
    from gigarank.service.accounts import service as accounts
    from gigarank.service.keys import repository

    with opened(options) as hosted:
        found = hosted.do(lambda one: repository.of_account(one, accounts.find(one, options.account).id))
        rows = [key.described(hosted.now) for key in found]
    show_rows("keys", rows, _KEY_COLUMNS, options.json)


def disable_key(options: KeyIdOptions) -> None:
    """It is refused from now on."""
    _switch(options, disabled=True)


def enable_key(options: KeyIdOptions) -> None:
    """It holds again."""
    _switch(options, disabled=False)


def rotate_secret(options: HostedOptions) -> None:
    """A new secret for keys. Those that are out hold on, and are kept by the new one once they were used."""
    from gigarank.service.keys.service import rotate

    with opened(options) as hosted:
        made = hosted.do(lambda connection: rotate(connection, hosted.secrets, hosted.now))
        show({"object": "secret", "secret_id": made}, options.json)


def _switch(options: KeyIdOptions, disabled: bool) -> None:
    from gigarank.service.keys.service import set_disabled

    with opened(options) as hosted:
        key = hosted.do(lambda connection: set_disabled(connection, options.key_id, disabled))
        show(key.described(hosted.now), options.json)


def _issued(connection: "Connection", secrets: "Secrets", account_id: str, terms: "Terms", now: int) -> "JsonObject":
    from gigarank.service.keys.service import issue

    key, text = issue(connection, secrets, account_id, terms, now)
    return {"api_key": text, **key.described(now)}


def _terms(options: KeyOptions) -> "Terms":
    from gigarank.service.credits.money import micros
    from gigarank.service.keys.schemas import Terms, read_period, read_scopes

    models = tuple(options.model) if options.model else None
    cap = None if options.cap_usd is None else micros(options.cap_usd, "cap-usd")
    period = read_period(options.cap_period)
    scopes = read_scopes(options.scope or SCOPES)
    return Terms(options.name, scopes, models, moment(options.expires, "expires"), cap, period, _limits(options))


def _limits(options: LimitOptions) -> Limits:
    return Limits(options.requests_per_minute, options.tokens_per_minute, options.concurrent_requests)


def _group(help_text: str) -> typer.Typer:
    return typer.Typer(help=help_text, rich_markup_mode="rich", no_args_is_help=True)


app = _group("Accounts, keys, credit and prices of a server that is run with --accounts.")
_accounts, _keys, _secrets = _group("Accounts."), _group("Keys of accounts."), _group("The secret under which keys are kept.")
_accounts.command("create")(as_command(CreateOptions, create_account))
_accounts.command("list")(as_command(HostedOptions, list_accounts))
_accounts.command("show")(as_command(AccountOptions, show_account))
_accounts.command("link")(as_command(AccountOptions, make_link))
_accounts.command("grant")(as_command(admin_credit.GrantOptions, admin_credit.grant_credit))
_accounts.command("suspend")(as_command(AccountOptions, suspend))
_accounts.command("resume")(as_command(AccountOptions, resume))
_accounts.command("limits")(as_command(LimitOptions, limit))
_keys.command("create")(as_command(KeyOptions, create_key))
_keys.command("list")(as_command(AccountOptions, list_keys))
_keys.command("disable")(as_command(KeyIdOptions, disable_key))
_keys.command("enable")(as_command(KeyIdOptions, enable_key))
_secrets.command("rotate")(as_command(HostedOptions, rotate_secret))
app.add_typer(_accounts, name="account")
app.add_typer(_keys, name="key")
app.add_typer(_secrets, name="secret")
app.add_typer(admin_credit.codes, name="code")
app.add_typer(admin_credit.prices, name="price")
app.add_typer(admin_bodies.logs, name="logs")
app.add_typer(admin_catalogue.catalogue, name="catalogue")
app.command("onboard")(as_command(onboard.OnboardOptions, onboard.onboard))
app.command("check")(as_command(HostedOptions, admin_credit.check))
app.command("sweep")(as_command(admin_credit.SweepOptions, admin_credit.sweep))
app.command("usage")(as_command(admin_usage.UsageOptions, admin_usage.usage))
