"""`gigarank admin usage`: what accounts used, by account, day, key and model.

Knows the services and no SQL. Invariant: --json prints one object, --csv one table, and both hold the same rows.
"""

from dataclasses import dataclass
from typing import Annotated

import typer

from gigarank.cli.admin_options import HostedOptions, opened, show, show_rows
from gigarank.cli.output import emit
from gigarank.errors import InvalidInput

_USUAL_GROUPS = "account,day,model"


@dataclass(frozen=True, kw_only=True)
class UsageOptions(HostedOptions):
    """The command line of `gigarank admin usage`."""

    first: Annotated[
        str | None, typer.Option("--from", help="The first day, as 2026-11-26, in UTC; absent: 30 days.", show_default=False)
    ] = None
    last: Annotated[str | None, typer.Option("--to", help="The last day; absent: today.", show_default=False)] = None
    group_by: Annotated[str, typer.Option(help="Some of account, day, key, model and tier, with commas.")] = _USUAL_GROUPS
    account: Annotated[str | None, typer.Option(help="One account, by id or e-mail address.", show_default=False)] = None
    model: Annotated[str | None, typer.Option(help="One model.", show_default=False)] = None
    csv: Annotated[bool, typer.Option("--csv", help="Print a CSV table.")] = False


def usage(options: UsageOptions) -> None:
    """What accounts used and what it cost, of all of them or of one."""
    from gigarank.service.accounts.service import find
    from gigarank.service.usage import service
    from gigarank.service.usage.repository import Filter
    from gigarank.service.usage.schemas import OPERATOR_GROUPS, as_csv, read_days, read_groups, totals

    if options.csv and options.json:
        raise InvalidInput("--csv: --json prints an object and --csv a table; give one of them", param="csv")
    groups = read_groups(options.group_by, OPERATOR_GROUPS)
    with opened(options) as hosted:
        first, last = read_days(options.first, options.last, hosted.now)
        account = options.account
        account_id = None if account is None else hosted.do(lambda one: find(one, account)).id
        which = Filter(first, last, account_id, model=options.model)
        rows = hosted.do(lambda one: service.summed(one, which, groups))
    columns = service.columns_of(groups)
    if options.csv:
        emit(as_csv(rows, columns).decode())
    elif options.json:
        told = {"object": "list", "from": first, "to": last, "group_by": list(groups), "usage": rows, "total": totals(rows)}
        show(told, as_json=True)
    else:
        show_rows("usage", [{name: str(row[name]) for name in columns} for row in rows], tuple(columns), as_json=False)
