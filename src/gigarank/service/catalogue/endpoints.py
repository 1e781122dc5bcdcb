"""/v1/catalogue: what is served, what is asked for, and how many ask for it.

Invariant: who asks for a model is told to nobody.
"""

from gigarank.service.call import Answer, Call, tenant_of
from gigarank.service.catalogue import service
from gigarank.service.catalogue.schemas import read_model
from gigarank.service.desk import Desk
from gigarank.service.openai.fields import as_fields
from gigarank.service.usage.schemas import read_limit

_MOST = 100


async def list_catalogue(desk: Desk, call: Call) -> Answer:
    limit, after = read_limit(call.query.get("limit"), _MOST, _MOST), call.query.get("after")
    rows = await desk.database.run(lambda one: service.page(one, after, limit + 1, desk.now))
    data = rows[:limit]
    last = data[-1]["model"] if data else None
    return Answer({"object": "list", "data": data, "last_id": last, "has_more": len(rows) > limit})


async def show_catalogue(desk: Desk, call: Call) -> Answer:
    name = read_model(call.parameters["model"])
    return Answer(await desk.database.run(lambda one: service.show(one, name, desk.now)))


async def ask_for_model(desk: Desk, call: Call) -> Answer:
    account_id, name = tenant_of(call).account_id, read_model(as_fields(call.body, "").given("model"))
    return Answer(await desk.database.run(lambda one: service.ask(one, name, account_id, desk.now)))


async def take_back_vote(desk: Desk, call: Call) -> Answer:
    account_id, name = tenant_of(call).account_id, read_model(call.parameters["model"])
    return Answer(await desk.database.run(lambda one: service.take_back(one, name, account_id, desk.now)))
