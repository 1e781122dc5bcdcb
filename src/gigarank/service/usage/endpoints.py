"""GET /v1/usage and /v1/usage/requests: an account's own usage, summed or one by one, as JSON or CSV.

Invariant: an answer holds rows of the asking account alone, whatever key, model or row the client names.
"""

from collections.abc import Sequence

from gigarank.service.call import Answer, Call, tenant_of
from gigarank.service.desk import Desk
from gigarank.service.usage import service
from gigarank.service.usage.repository import Filter
from gigarank.service.usage.schemas import as_csv, read_days, read_groups, read_limit, totals, wants_csv
from gigarank.types import JsonObject

_USUAL_LIMIT, _MOST_LIMIT = 100, 1_000
_REQUEST_COLUMNS = (
    *("id", "request_id", "created", "key_id", "model", "route", "tier", "documents", "tokens", "amount_micros", "amount_usd"),
    "latency_ms",
)


async def sum_usage(desk: Desk, call: Call) -> Answer:
    which, groups = _filter(desk, call), read_groups(call.query.get("group_by"))
    as_table = wants_csv(call.query, call.headers.get("accept", ""))
    rows = await desk.database.run(lambda one: service.summed(one, which, groups))
    if as_table:
        return _csv(rows, service.columns_of(groups), f"usage-{which.first}-{which.last}.csv")
    told = {"object": "list", "from": which.first, "to": which.last, "group_by": groups, "data": rows, "total": totals(rows)}
    return Answer(told)


async def list_requests(desk: Desk, call: Call) -> Answer:
    which, limit = _filter(desk, call), read_limit(call.query.get("limit"), _USUAL_LIMIT, _MOST_LIMIT)
    as_table = wants_csv(call.query, call.headers.get("accept", ""))
    rows, more = await desk.database.run(lambda one: service.requests(one, which, call.query.get("after"), limit))
    if as_table:
        return _csv(rows, _REQUEST_COLUMNS, f"requests-{which.first}-{which.last}.csv")
    last = rows[-1]["id"] if rows else None
    return Answer({"object": "list", "from": which.first, "to": which.last, "data": rows, "last_id": last, "has_more": more})


def _filter(desk: Desk, call: Call) -> Filter:
    query = call.query
    first, last = read_days(query.get("from"), query.get("to"), desk.now)
    return Filter(first, last, tenant_of(call).account_id, query.get("key_id"), query.get("model"))


def _csv(rows: Sequence[JsonObject], columns: Sequence[str], name: str) -> Answer:
    headers = {"content-type": "text/csv; charset=utf-8", "content-disposition": f'attachment; filename="{name}"'}
    return Answer(as_csv(rows, columns), headers=headers)
