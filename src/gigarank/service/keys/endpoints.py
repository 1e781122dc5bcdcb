"""GET /v1/key and POST /v1/key/token: a key about itself, and tokens that it makes.

`data` is what OpenRouter's clients read, the rest is ours. Invariant: no text of a key is in an answer, and a token's is in
the one that makes it alone.
"""

from datetime import UTC, datetime

from gigarank.errors import InvalidInput
from gigarank.service.call import Answer, Call, tenant_of
from gigarank.service.credits.money import dollars
from gigarank.service.desk import Desk
from gigarank.service.keys.schemas import Key, Period, read_scopes
from gigarank.service.keys.service import find, mint
from gigarank.service.keys.tokens import MOST_MODELS, MOST_S, USUAL_S, Token
from gigarank.service.openai.fields import Fields, as_fields, wrong_type
from gigarank.service.usage.service import Spent, spent_of_key
from gigarank.types import JsonObject

_RESETS: dict[Period, str | None] = {"total": None, "day": "daily", "week": "weekly", "month": "monthly"}
_UNUSED: JsonObject = {
    "byok_usage": 0,
    "byok_usage_daily": 0,
    "byok_usage_weekly": 0,
    "byok_usage_monthly": 0,
    "include_byok_in_limit": False,
    "is_free_tier": False,
    "is_management_key": False,
    "is_provisioning_key": False,
    "allowed_data_regions": [],
    "budgets": [],
    "effective_budget": None,
    "free_model_daily_requests": {"limit": 0, "used": 0, "remaining": 0},
    "organization_id": None,
    "workspace_id": None,
}
"""What OpenRouter's package must have, of things that are not here."""
_NOT_LIMITED = -1


async def show_key(desk: Desk, call: Call) -> Answer:
    tenant = tenant_of(call)
    found = await desk.database.run(lambda one: (find(one, tenant.key_id), spent_of_key(one, tenant, desk.now)))
    key, spent = found
    models = None if tenant.models is None else list(tenant.models)
    shown = key.described(desk.now) | {"scopes": list(tenant.scopes), "models": models, "token_expires": tenant.token_expires}
    used = {"day_micros": spent.day, "week_micros": spent.week, "month_micros": spent.month, "total_micros": spent.total}
    return Answer({**shown, "used": used, "data": _openrouter(key, spent, desk.now)})


async def mint_token(desk: Desk, call: Call) -> Answer:
    tenant, fields = tenant_of(call), as_fields(call.body, "")
    seconds = fields.integer("expires_in", 1, MOST_S) or USUAL_S
    scopes = read_scopes(texts(fields, "scopes", 10) or ["inference"])
    models = texts(fields, "models", MOST_MODELS)
    token = Token(tenant.key_id, desk.now + seconds, scopes, None if models is None else tuple(models))
    text = mint(desk.secrets, tenant, token)
    shown = {"object": "token", "token": text, "key_id": token.key_id, "expires_at": token.expires, "expires_in": seconds}
    return Answer({**shown, "scopes": list(token.scopes), "models": models}, headers={"cache-control": "no-store"})


def texts(fields: Fields, name: str, most: int) -> list[str] | None:
    """A list of some texts, or None where there is none."""
    if fields.value(name) is None:
        return None
    texts = fields.items(name, 1, most)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise wrong_type(f"{name}[{index}]", "string", text)
        if not 1 <= len(text) <= 200:
            message = f"{name}[{index}]: from 1 to 200 characters, not {len(text)}"
            raise InvalidInput(message, param=f"{name}[{index}]", limit=200, received=len(text))
    return texts


def _openrouter(key: Key, spent: Spent, now: int) -> JsonObject:
    terms = key.terms
    cap = terms.cap_micros
    expires = None if terms.expires is None else datetime.fromtimestamp(terms.expires, UTC).isoformat()
    left = None if cap is None else dollars(max(0, cap - key.spent(now)))
    minute = terms.limits.requests_per_minute
    return {
        "label": f"{key.shown_as}...",
        "name": terms.name,
        "creator_user_id": key.account_id,
        "limit": None if cap is None else dollars(cap),
        "limit_remaining": left,
        "limit_reset": _RESETS[terms.cap_period],
        "usage": dollars(spent.total),
        "usage_daily": dollars(spent.day),
        "usage_weekly": dollars(spent.week),
        "usage_monthly": dollars(spent.month),
        "expires_at": expires,
        "rate_limit": {"requests": _NOT_LIMITED if minute is None else minute, "interval": "1m", "note": "of this key"},
        **_UNUSED,
    }
