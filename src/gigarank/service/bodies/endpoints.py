"""/v1/logging and /v1/logs: what an account wants kept of its requests, what is kept, and its end.

Invariant: an answer holds what the asking account's requests said, whoever's id the client names.
"""

from gigarank.service.bodies import repository, service
from gigarank.service.bodies.schemas import about, no_log, read_terms, whole
from gigarank.service.call import Answer, Call, tenant_of
from gigarank.service.desk import Desk
from gigarank.service.usage.schemas import read_limit

_USUAL, _MOST = 20, 100


async def show_terms(desk: Desk, call: Call) -> Answer:
    account_id = tenant_of(call).account_id
    shown = await desk.database.run(lambda one: service.terms_shown(one, account_id))
    return Answer({**shown, "max_days": call.settings.max_body_days})


async def set_terms(desk: Desk, call: Call) -> Answer:
    account_id, asked = tenant_of(call).account_id, read_terms(call.body, call.settings.max_body_days)
    shown = await desk.database.run(lambda one: service.set_terms(one, account_id, asked, desk.now))
    return Answer({**shown, "max_days": call.settings.max_body_days})


async def list_logs(desk: Desk, call: Call) -> Answer:
    query, limit = call.query, read_limit(call.query.get("limit"), _USUAL, _MOST)
    named = {name: query[name] for name in ("key_id", "request_id") if name in query}
    which = {"account_id": tenant_of(call).account_id, **named}
    rows = await desk.database.run(lambda one: repository.page(one, which, query.get("after"), limit + 1))
    data = [about(row) for row in rows[:limit]]
    return Answer({"object": "list", "data": data, "last_id": data[-1]["id"] if data else None, "has_more": len(rows) > limit})


async def show_log(desk: Desk, call: Call) -> Answer:
    which = {"id": call.parameters["log_id"], "account_id": tenant_of(call).account_id}
    return Answer(whole(await desk.database.run(lambda one: service.find(one, which))))


async def delete_log(desk: Desk, call: Call) -> Answer:
    return await _deleted(desk, {"id": call.parameters["log_id"], "account_id": tenant_of(call).account_id})


async def delete_logs(desk: Desk, call: Call) -> Answer:
    return await _deleted(desk, {"account_id": tenant_of(call).account_id})


async def _deleted(desk: Desk, which: dict[str, str]) -> Answer:
    removed = await desk.database.run(lambda one: repository.remove(one, which))
    if not removed and "id" in which:
        raise no_log(which["id"])
    return Answer({"object": "logs", "deleted": removed})
