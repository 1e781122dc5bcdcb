"""The console: what a person sees of the own account.

Knows the endpoints of the API, and shows what they answer. Invariant: a page holds what is the person's own.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from gigarank.service.accounts import limit_endpoints as limits
from gigarank.service.accounts import self_endpoints as me
from gigarank.service.accounts import service as accounts
from gigarank.service.accounts.office import Guest, Office, PeopleEndpoint
from gigarank.service.batches.repository import page as page_of
from gigarank.service.bodies.repository import of_requests as logs_of
from gigarank.service.credits.money import MICROS
from gigarank.service.keys import own_endpoints as keys
from gigarank.service.tables import ledger
from gigarank.service.tenant import Limits
from gigarank.service.web import plots
from gigarank.service.web.charts import columns
from gigarank.service.web.console_routes import CONSOLE
from gigarank.service.web.shown import day
from gigarank.service.web.views import Form, View, asked, to, told
from gigarank.types import JsonObject

_ENTRIES, _REQUESTS = 50, "50"
_LONGEST = 26  # characters beside a bar
_ROOM = 1.15  # of the longest bar: a small sum has many digits behind its end


async def _overview(office: Office, guest: Guest) -> Mapping[str, Any]:
    account_id, today = guest.person.account_id, day(office.now)
    account = await office.desk.database.run(lambda one: accounts.find(one, account_id))
    used = await told(me.own_usage, office, guest, **{"from": today, "to": today, "group_by": "day"})
    listed = await told(keys.list_keys, office, guest)
    in_force = account.limits.over(Limits.usual(guest.call.settings))
    return {"account": account.shown(), "used": used["total"], "keys": listed["data"], "limits": in_force.values()}


async def _usage(office: Office, guest: Guest) -> Mapping[str, Any]:
    days = asked(guest, "from", "to")
    by = {group: await told(me.own_usage, office, guest, **days, group_by=group) for group in ("day", "key", "model")}
    told_days = by["day"]
    spent = {row["day"]: row["amount_micros"] for row in told_days["data"]}
    whole = [(name, spent.get(name, 0)) for name in _days(told_days["from"], told_days["to"])]
    bars = {group: _bars(group, by[group]["data"]) for group in ("key", "model")}
    period = urlencode({"from": told_days["from"], "to": told_days["to"]})
    return {"by": by, "columns": columns(whole), "bars": bars, "total": told_days["total"], "period": period}


def _days(first: str, last: str) -> Sequence[str]:
    begin, end = date.fromisoformat(first), date.fromisoformat(last)
    return [(begin + timedelta(days=number)).isoformat() for number in range((end - begin).days + 1)]


def _bars(group: str, rows: Sequence[JsonObject]) -> plots.Plot:
    """Dollars, the most spent first."""
    named = sorted(rows, key=lambda row: -row["amount_micros"])
    name = "key_name" if group == "key" else group
    pairs = [(row[name][:_LONGEST], [plots.Bar(row[name], row["amount_micros"] / MICROS, "main")]) for row in named]
    most = max((row["amount_micros"] for row in rows), default=0) / MICROS
    return plots.bars(f"Spent by {group}, in dollars", "the same as in the table below it", pairs, _ROOM * (most or 1.0))


async def _requests(office: Office, guest: Guest) -> Mapping[str, Any]:
    listed = await told(keys.list_keys, office, guest)
    names = {key["key_id"]: key["name"] for key in listed["data"]}
    where = asked(guest, "from", "to", "key_id", "model", "after")
    rows = await told(me.own_requests, office, guest, **where, limit=_REQUESTS)
    asked_of = await told(me.own_usage, office, guest, **{"from": rows["from"], "to": rows["to"], "group_by": "model"})
    models = sorted({row["model"] for row in asked_of["data"]} | ({where["model"]} if where["model"] else set()))
    kept = {name: text for name, text in where.items() if text and name != "after"}
    ids, account_id = [row["request_id"] for row in rows["data"]], guest.person.account_id
    logs = await office.desk.database.run(lambda one: logs_of(one, account_id, ids))
    return {
        "rows": rows,
        "names": names,
        "models": [("", "all"), *zip(models, models, strict=True)],
        "where": urlencode(kept),
        "logs": logs,
    }


async def _limits(office: Office, guest: Guest) -> Mapping[str, Any]:
    return {"limits": await told(limits.own_limits, office, guest)}


async def _credit(office: Office, guest: Guest) -> Mapping[str, Any]:
    account_id, after = guest.person.account_id, guest.call.query.get("after")
    which = {"account_id": account_id}
    entries = await office.desk.database.run(lambda one: page_of(one, ledger, which, after, _ENTRIES + 1))
    more = entries[_ENTRIES - 1]["id"] if len(entries) > _ENTRIES else None
    return {"credit": await told(me.own_credits, office, guest), "entries": entries[:_ENTRIES], "more": more}


_CREDIT = View("credit.html", _credit)
PAGES: Mapping[str, PeopleEndpoint] = {
    f"GET {CONSOLE}": View("overview.html", _overview),
    f"GET {CONSOLE}/usage": View("usage.html", _usage),
    f"GET {CONSOLE}/requests": View("requests.html", _requests),
    f"GET {CONSOLE}/limits": View("limits.html", _limits),
    f"GET {CONSOLE}/credit": _CREDIT,
    f"POST {CONSOLE}/credit": Form(me.redeem, _CREDIT, to(f"{CONSOLE}/credit?done=redeemed")),
}
