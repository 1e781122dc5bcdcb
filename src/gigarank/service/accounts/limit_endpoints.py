"""/v1/me/limits: how much an account and its keys may ask, and how much of that is taken at this moment.

Knows the counts of limits. Invariant: looking takes nothing of them; what is not limited is not counted, and said to be none.
"""

from gigarank.service import standing
from gigarank.service.accounts import service
from gigarank.service.accounts.office import Guest, Office
from gigarank.service.call import Answer
from gigarank.service.keys import repository as keys
from gigarank.service.tenant import Limits, Tenant
from gigarank.types import JsonObject


async def own_limits(office: Office, guest: Guest) -> Answer:
    account_id = guest.person.account_id
    account, mine, at_once = await office.desk.database.run(
        lambda one: (service.find(one, account_id), keys.of_account(one, account_id), standing.at_once(one, account_id))
    )
    whole = account.limits.over(Limits.usual(guest.call.settings))
    rows = []
    for key in mine:
        told = await _taken(office, Tenant(account_id, key.id, (), None, Limits(), key.terms.limits), at_once.get(key.id, 0))
        rows.append({"key_id": key.id, "name": key.terms.name, **told})
    of_account = await _taken(office, Tenant(account_id, "", (), None, whole, Limits()), sum(at_once.values()))
    return Answer({"object": "limits", "account": of_account, "keys": rows})


async def _taken(office: Office, tenant: Tenant, at_once: int) -> JsonObject:
    """`tenant`: with the limits of the account, or those of the key. `at_once`: requests that run."""
    taken = await office.attempts.limiter.taken(tenant)
    limits = {name: most for one in (tenant.account_limits, tenant.key_limits) for name, most in one.values().items() if most}
    minutes = {
        f"{unit}_per_minute": {"limit": limits.get(f"{unit}_per_minute"), "used": taken.get(unit)}
        for unit in ("requests", "tokens")
    }
    return {**minutes, "concurrent_requests": {"limit": limits.get("concurrent_requests"), "used": at_once}}
