"""GET /v1/account: the account whose key asks."""

from gigarank.service.accounts.service import find
from gigarank.service.call import Answer, Call, tenant_of
from gigarank.service.desk import Desk


async def show_account(desk: Desk, call: Call) -> Answer:
    tenant = tenant_of(call)
    account = await desk.database.run(lambda one: find(one, tenant.account_id))
    in_force = {"limits_in_force": tenant.account_limits.values()}
    return Answer({**account.shown(), **in_force})
