"""JSON schemas of what the routes of accounts take and answer. Data.

Invariant: every answer of an endpoint is valid against its schema; tests/service/test_hosted_self.py.
"""

from gigarank.service.keys.tokens import MOST_MODELS, MOST_S
from gigarank.service.openai.schemas import BOOLEAN, INTEGER, NUMBER, OPTIONAL_STRING, STRING, array, constant, record
from gigarank.service.tenant import SCOPES
from gigarank.service.usage.schemas import GROUPS
from gigarank.types import JsonObject

OPTIONAL_INTEGER: JsonObject = {"type": ["integer", "null"]}
OPTIONAL_NUMBER: JsonObject = {"type": ["number", "null"]}
_LIMITS = record(dict.fromkeys(("requests_per_minute", "tokens_per_minute", "concurrent_requests"), OPTIONAL_INTEGER))
_CREDIT: JsonObject = {
    "balance_micros": INTEGER,
    "held_micros": INTEGER,
    "available_micros": INTEGER,
    "balance_usd": STRING,
    "available_usd": STRING,
}
_TERMS: JsonObject = {
    "key_id": STRING,
    "account_id": STRING,
    "scopes": array({"enum": list(SCOPES)}),
    "models": {"oneOf": [array(STRING), {"type": "null"}]},
}
KEY_FIELDS: JsonObject = {
    "object": constant("key"),
    **_TERMS,
    "name": STRING,
    "begins_with": STRING,
    "disabled": BOOLEAN,
    "expires": OPTIONAL_INTEGER,
    "created": INTEGER,
    "last_used": OPTIONAL_INTEGER,
    "spent_micros": INTEGER,
    "spent_usd": STRING,
    "spend_cap": {"type": ["object", "null"]},
    "limits": _LIMITS,
}
KEY = record(
    {
        **KEY_FIELDS,
        "token_expires": OPTIONAL_INTEGER,
        "used": record(dict.fromkeys(("day_micros", "week_micros", "month_micros", "total_micros"), INTEGER)),
        "data": record(
            {
                "label": STRING,
                "limit": OPTIONAL_NUMBER,
                "limit_remaining": OPTIONAL_NUMBER,
                "limit_reset": OPTIONAL_STRING,
                **dict.fromkeys(("usage", "usage_daily", "usage_weekly", "usage_monthly"), NUMBER),
                "expires_at": OPTIONAL_STRING,
                "rate_limit": record({"requests": INTEGER, "interval": STRING}),
            }
        ),
    }
)
TOKEN_REQUEST = record(
    {},
    {
        "expires_in": {"type": ["integer", "null"], "minimum": 1, "maximum": MOST_S, "description": "seconds; absent: 600"},
        "scopes": {
            "oneOf": [array({"enum": list(SCOPES)}, 1), {"type": "null"}],
            "description": "absent: inference alone; never more than the key has",
        },
        "models": {
            "oneOf": [array({"type": "string", "minLength": 1, "maxLength": 200}, 1, MOST_MODELS), {"type": "null"}],
            "description": "what it may ask; absent: what the key may",
        },
    },
)
TOKEN = record(
    {
        "object": constant("token"),
        "token": STRING,
        "key_id": STRING,
        "expires_at": INTEGER,
        "expires_in": INTEGER,
        "scopes": array({"enum": list(SCOPES)}),
        "models": {"oneOf": [array(STRING), {"type": "null"}]},
    }
)
_GRANT = record(
    {
        "grant_id": STRING,
        "amount_micros": INTEGER,
        "left_micros": INTEGER,
        "left_usd": STRING,
        "priority": INTEGER,
        "expires": OPTIONAL_INTEGER,
        "reason": STRING,
        "created": INTEGER,
    }
)
CREDITS = record(
    {
        "object": constant("credits"),
        "account_id": STRING,
        **_CREDIT,
        "granted_micros": INTEGER,
        "used_micros": INTEGER,
        "grants": array(_GRANT),
        "data": record({"total_credits": NUMBER, "total_usage": NUMBER}),
    }
)
ACCOUNT_FIELDS: JsonObject = {
    "object": constant("account"),
    "account_id": STRING,
    "email": STRING,
    "role": {"enum": ["user", "operator"]},
    "state": {"enum": ["active", "suspended", "deleted"]},
    "created": INTEGER,
    **_CREDIT,
    "limits": _LIMITS,
}
ACCOUNT = record({**ACCOUNT_FIELDS, "limits_in_force": _LIMITS})
_DAY: JsonObject = {"type": "string", "format": "date"}
_WHICH: dict[str, JsonObject] = {
    "from": {**_DAY, "description": "the first day, in UTC; absent: 30 days with `to`"},
    "to": {**_DAY, "description": "the last day; absent: today"},
    "key_id": STRING,
    "model": STRING,
    "format": {"enum": ["json", "csv"], "description": "absent: as the Accept header says"},
}
USAGE_QUERY = {**_WHICH, "group_by": {"type": "string", "description": f"some of {', '.join(GROUPS)}, with commas"}}
REQUESTS_QUERY = {
    **_WHICH,
    "limit": {"type": "integer", "minimum": 1, "maximum": 1_000},
    "after": {"type": "string", "description": "the last_id of the page before"},
}
_USED: JsonObject = {"documents": INTEGER, "tokens": INTEGER, "amount_micros": INTEGER, "amount_usd": STRING}
_GROUP: JsonObject = {"day": STRING, "key_id": STRING, "key_name": STRING, "model": STRING, "tier": STRING}
USAGE = record(
    {
        "object": constant("list"),
        "from": STRING,
        "to": STRING,
        "group_by": array({"enum": list(GROUPS)}),
        "data": array(record({"requests": INTEGER, **_USED}, _GROUP)),
        "total": record({"requests": INTEGER, **_USED}),
    }
)
_REQUEST: JsonObject = dict.fromkeys(("id", "request_id", "key_id", "model", "route", "tier"), STRING)
REQUESTS = record(
    {
        "object": constant("list"),
        "from": STRING,
        "to": STRING,
        "data": array(record({**_REQUEST, "created": INTEGER, **_USED, "latency_ms": INTEGER})),
        "last_id": OPTIONAL_STRING,
        "has_more": BOOLEAN,
    }
)
