"""JSON schemas of kept bodies: what is sent and what is answered. Data.

Invariant: every answer of an endpoint is valid against its schema; tests/service/test_bodies.py.
"""

from gigarank.service.bodies.schemas import MOST_DAYS
from gigarank.service.openai.schemas import BOOLEAN, INTEGER, OPTIONAL_STRING, STRING, array, constant, record
from gigarank.types import JsonObject

_DAYS: JsonObject = {"type": ["integer", "null"], "minimum": 0, "maximum": MOST_DAYS}
TERMS_REQUEST = record(
    {"days": {**_DAYS, "description": "0: none are kept; null: takes back what was said"}},
    {"key_id": {**OPTIONAL_STRING, "description": "of this key alone"}},
)
TERMS = record(
    {
        "object": constant("logging"),
        "account_id": STRING,
        "days": _DAYS,
        "keys": array(record({"key_id": STRING, "days": INTEGER})),
        "max_days": INTEGER,
    }
)
_ABOUT: JsonObject = {
    "object": constant("log"),
    **dict.fromkeys(("id", "request_id", "key_id", "route"), STRING),
    **dict.fromkeys(("status", "created", "expires", "request_bytes", "response_bytes"), INTEGER),
}
LOG = record({**_ABOUT, "request": STRING, "response": STRING, "truncated": array({"enum": ["request", "response"]})})
LOGS = record({"object": constant("list"), "data": array(record(_ABOUT)), "last_id": OPTIONAL_STRING, "has_more": BOOLEAN})
LOGS_QUERY: JsonObject = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 100},
    "after": {"type": "string", "description": "the last_id of the page before"},
    "key_id": STRING,
    "request_id": STRING,
}
DELETED = record({"object": constant("logs"), "deleted": INTEGER})
