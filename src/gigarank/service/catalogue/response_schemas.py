"""JSON schemas of the catalogue. Data.

Invariant: every answer of an endpoint is valid against its schema; tests/service/test_catalogue_life.py.
"""

from gigarank.service.catalogue.schemas import STATES
from gigarank.service.openai.schemas import INTEGER, OPTIONAL_STRING, STRING, array, constant, record
from gigarank.types import JsonObject

_OBJECT: JsonObject = {"type": ["object", "null"]}
ENTRY = record(
    {
        "object": constant("catalogue_model"),
        "model": STRING,
        "state": {"enum": list(STATES)},
        **dict.fromkeys(("since", "created", "votes"), INTEGER),
        **dict.fromkeys(("reason", "retires", "instead"), OPTIONAL_STRING),
        "specs": _OBJECT,
        "price": _OBJECT,
        "figures": array(record({"step": STRING, "at": INTEGER, "result": {"type": "object"}})),
    }
)
ENTRIES = record(
    {"object": constant("list"), "data": array(ENTRY), "last_id": OPTIONAL_STRING, "has_more": {"type": "boolean"}}
)
ENTRIES_QUERY: JsonObject = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 100},
    "after": {"type": "string", "description": "the last_id of the page before"},
}
ASK = record({"model": {**STRING, "description": "OWNER/NAME of the hub, or the name of a known model"}})
