"""JSON schemas of what the routes of people take and answer. Data.

Invariant: every answer of an endpoint is valid against its schema; tests/people.py looks at each.
"""

from gigarank.service.accounts.passwords import LEAST_CHARACTERS, MOST_BYTES
from gigarank.service.hosted_schemas import ACCOUNT_FIELDS, KEY_FIELDS, OPTIONAL_INTEGER, OPTIONAL_NUMBER
from gigarank.service.keys.schemas import PERIODS
from gigarank.service.openai.schemas import BOOLEAN, INTEGER, OPTIONAL_STRING, STRING, array, constant, record
from gigarank.service.tenant import SCOPES
from gigarank.types import JsonObject

_EMAIL: JsonObject = {"type": "string", "format": "email"}
_PASSWORD: JsonObject = {"type": "string", "description": f"at most {MOST_BYTES} bytes"}
_NEW_PASSWORD: JsonObject = {**_PASSWORD, "minLength": LEAST_CHARACTERS}
_TOKEN: JsonObject = {"type": "string", "description": "what stands behind the # of the link in the letter"}
SIGN_UP = record({"email": _EMAIL, "password": _NEW_PASSWORD})
SIGN_IN = record({"email": _EMAIL, "password": _PASSWORD})
FORGOT = record({"email": _EMAIL})
VERIFY = record({"token": _TOKEN, "password": _PASSWORD})
RESET = record({"token": _TOKEN, "password": _NEW_PASSWORD})
TOKEN = record({"token": _TOKEN})
NEW_PASSWORD = record({"new_password": _NEW_PASSWORD}, {"password": _PASSWORD})
NEW_EMAIL = record({"email": _EMAIL}, {"password": _PASSWORD})
LETTER = record({"object": constant("letter"), "email": STRING, "sent": BOOLEAN})
SESSION = record({"object": constant("session"), **dict.fromkeys(("account_id", "email", "role", "csrf_token"), STRING)})
SESSIONS = record(
    {
        "object": constant("list"),
        "data": array(
            record(
                {
                    "object": constant("session"),
                    **dict.fromkeys(("session_id", "agent", "address"), STRING),
                    **dict.fromkeys(("created", "last_seen", "expires"), INTEGER),
                    "current": BOOLEAN,
                }
            )
        ),
    }
)
SESSION_ENDED = record({"object": constant("session"), "session_id": STRING, "deleted": BOOLEAN})
SIGNED_OUT = record({"object": constant("sign_out"), "ended": INTEGER})
PASSWORD_CHANGED = record({"object": constant("password"), "changed": BOOLEAN})
EMAIL_CHANGED = record({"object": constant("email"), "changed": BOOLEAN})
ME = record({**ACCOUNT_FIELDS, "has_password": BOOLEAN})
ACCOUNT = record(ACCOUNT_FIELDS)
ACCOUNTS = record({"object": constant("list"), "data": array(ACCOUNT), "last_id": OPTIONAL_STRING, "has_more": BOOLEAN})
PAGE_QUERY: dict[str, JsonObject] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 1_000},
    "after": {"type": "string", "description": "the last_id of the page before"},
}
_LIMIT = record({"limit": OPTIONAL_INTEGER, "used": OPTIONAL_INTEGER})
_LIMITED: JsonObject = dict.fromkeys(("requests_per_minute", "tokens_per_minute", "concurrent_requests"), _LIMIT)
LIMITS = record(
    {
        "object": constant("limits"),
        "account": record(_LIMITED),
        "keys": array(record({"key_id": STRING, "name": STRING, **_LIMITED})),
    }
)
_WAITING = dict.fromkeys(("waiting_requests", "waiting_pairs", "waiting_tokens", "batch_tokens", "batch_room_tokens"), INTEGER)
QUEUES = record(
    {
        "object": constant("queues"),
        "at": INTEGER,
        "models": array(record({"model": STRING, "state": STRING, **_WAITING, "filled": OPTIONAL_NUMBER})),
        "batches": array(record({"state": STRING, **dict.fromkeys(("batches", "total", "done"), INTEGER)})),
    }
)
CODE = record({"code": STRING})
TOP_UP = record({"object": constant("top_up"), "grant_id": STRING, "amount_micros": INTEGER, "amount_usd": STRING})
_TERMS: JsonObject = {
    "name": {"type": ["string", "null"], "minLength": 1, "maxLength": 100},
    "scopes": {"oneOf": [array({"enum": list(SCOPES)}, 1), {"type": "null"}]},
    "models": {"oneOf": [array(STRING, 1), {"type": "null"}], "description": "null: all"},
    "expires": {"type": ["integer", "null"], "description": "Unix seconds; null: never"},
    "cap_usd": {"type": ["string", "number", "null"], "description": "the most that it may spend; null: no cap"},
    "cap_period": {"enum": [*PERIODS, None]},
}
NEW_KEY = record({}, _TERMS)
KEY_CHANGE = record({}, {**_TERMS, "disabled": {"type": ["boolean", "null"]}})
OWN_KEY = record(KEY_FIELDS)
MADE_KEY = record({**KEY_FIELDS, "api_key": STRING})
OWN_KEYS = record({"object": constant("list"), "data": array(OWN_KEY)})
KEY_DELETED = record({"object": constant("key"), "key_id": STRING, "deleted": BOOLEAN})
_ROWS = array({"type": "object"})
EXPORT = record(
    {
        "object": constant("export"),
        "account": ACCOUNT,
        **dict.fromkeys(("identities", "sessions", "keys", "grants", "ledger", "usage", "files", "batches"), _ROWS),
        **dict.fromkeys(("body_terms", "bodies", "repeats", "codes", "links", "model_votes", "people", "free_credits"), _ROWS),
    }
)
PASSWORD = record({}, {"password": _PASSWORD})
ACCOUNT_DELETED = record({"object": constant("account"), "account_id": STRING, "deleted": BOOLEAN})
PROVIDERS = record(
    {"object": constant("list"), "data": array(record({"object": constant("provider"), "name": STRING, "url": STRING}))}
)
REDIRECT = record({"object": constant("redirect"), "url": STRING})
ONWARD_QUERY: dict[str, JsonObject] = {"next": {"type": "string", "description": "the path to go to once signed in"}}
BACK_QUERY: dict[str, JsonObject] = dict.fromkeys(("code", "state", "error"), STRING)
