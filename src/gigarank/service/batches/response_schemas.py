"""JSON schemas of files and batches: what is sent and what is answered. Data.

Invariant: every answer of an endpoint is valid against its schema; tests/service/test_batches.py.
"""

from gigarank.service.batches.schemas import ENDPOINTS, LEAST_LIFE_S, MOST_LIFE_S, PURPOSES, WINDOW
from gigarank.service.openai.schemas import BOOLEAN, INTEGER, OPTIONAL_STRING, STRING, array, constant, record
from gigarank.types import JsonObject

_MOMENT: JsonObject = {"type": ["integer", "null"], "description": "Unix seconds"}
FILE = record(
    {
        "id": STRING,
        "object": constant("file"),
        "bytes": INTEGER,
        "created_at": INTEGER,
        "expires_at": INTEGER,
        "filename": STRING,
        "purpose": {"enum": list(PURPOSES)},
        "status": STRING,
    }
)
FILE_REQUEST = record(
    {"file": {"type": "string", "format": "binary"}, "purpose": constant("batch")},
    {"expires_after[anchor]": constant("created_at"), "expires_after[seconds]": INTEGER},
)
CONTENT: JsonObject = {"description": "the bytes as they were sent, or as the batch wrote them"}
DELETED = record({"id": STRING, "object": constant("file"), "deleted": BOOLEAN})
_PAGE: JsonObject = {"object": constant("list"), "first_id": OPTIONAL_STRING, "last_id": OPTIONAL_STRING, "has_more": BOOLEAN}
FILE_LIST = record({**_PAGE, "data": array(FILE)})
_AFTER: JsonObject = {"type": "string", "description": "the last_id of the page before"}
FILES_QUERY: JsonObject = {
    "after": _AFTER,
    "limit": {"type": "integer", "minimum": 1, "maximum": 10_000},
    "purpose": {"enum": list(PURPOSES)},
    "order": {"enum": ["desc"]},
}
BATCHES_QUERY: JsonObject = {"after": _AFTER, "limit": {"type": "integer", "minimum": 1, "maximum": 100}}
_ERROR = record({"code": STRING, "message": STRING, "line": {"type": ["integer", "null"]}, "param": OPTIONAL_STRING})
BATCH = record(
    {
        "id": STRING,
        "object": constant("batch"),
        "endpoint": STRING,
        "model": OPTIONAL_STRING,
        "errors": {"oneOf": [record({"object": constant("list"), "data": array(_ERROR)}), {"type": "null"}]},
        "input_file_id": STRING,
        "completion_window": constant(WINDOW),
        "status": {
            "enum": ["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
        },
        "output_file_id": OPTIONAL_STRING,
        "error_file_id": OPTIONAL_STRING,
        "created_at": INTEGER,
        "expires_at": INTEGER,
        **{f"{event}_at": _MOMENT for event in ("in_progress", "finalizing", "completed", "failed", "expired")},
        **{f"{event}_at": _MOMENT for event in ("cancelling", "cancelled")},
        "request_counts": record({"total": INTEGER, "completed": INTEGER, "failed": INTEGER}),
        "usage": record({"input_tokens": INTEGER, "output_tokens": INTEGER, "total_tokens": INTEGER}),
        "metadata": {"type": ["object", "null"]},
    }
)
BATCH_LIST = record({**_PAGE, "data": array(BATCH)})
BATCH_REQUEST = record(
    {
        "input_file_id": {"type": "string", "pattern": r"\S"},
        "endpoint": {"enum": list(ENDPOINTS)},
        "completion_window": constant(WINDOW),
    },
    {
        "metadata": {
            "type": ["object", "null"],
            "maxProperties": 16,
            "propertyNames": {"maxLength": 64},
            "additionalProperties": {"type": "string", "maxLength": 512},
        },
        "output_expires_after": {
            "oneOf": [
                record({"seconds": {"type": "integer", "minimum": LEAST_LIFE_S, "maximum": MOST_LIFE_S}}),
                {"type": "null"},
            ]
        },
    },
)
