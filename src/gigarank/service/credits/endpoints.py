"""GET /v1/credits: what an account was granted, has used and has left. `data` is what OpenRouter's clients read."""

from gigarank.service.accounts.schemas import credit_shown
from gigarank.service.accounts.service import find
from gigarank.service.call import Answer, Call, tenant_of
from gigarank.service.credits import repository
from gigarank.service.credits.money import dollars, usd
from gigarank.service.desk import Desk
from gigarank.types import JsonObject


async def show_credits(desk: Desk, call: Call) -> Answer:
    account_id = tenant_of(call).account_id
    account, sums, grants = await desk.database.run(
        lambda one: (
            find(one, account_id),
            repository.ledger_sums(one, account_id),
            [dict(grant) for grant in repository.open_grants(one, account_id)],
        )
    )
    granted, used = sums.get("grant", 0) + sums.get("expiry", 0), -sums.get("debit", 0)
    body = {
        "object": "credits",
        "account_id": account_id,
        **credit_shown(account.balance_micros, account.held_micros),
        "granted_micros": granted,
        "used_micros": used,
        "grants": [_grant(row) for row in grants],
        "data": {"total_credits": dollars(granted), "total_usage": dollars(used)},
    }
    return Answer(body)


def _grant(row: JsonObject) -> JsonObject:
    named = {name: row[name] for name in ("amount_micros", "left_micros", "priority", "expires", "reason", "created")}
    return {"grant_id": row["id"], **named, "left_usd": usd(row["left_micros"])}
