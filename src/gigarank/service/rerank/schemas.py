"""JSON schemas that several dialects share, made from the table of fields.

Invariant: what a request schema allows is accepted; names that it does not list are ignored, or are other spellings of those
that it does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gigarank.service.rerank import fields
from gigarank.service.rerank.fields import Field
from gigarank.service.rerank.texts import DOCUMENTS, ONE_QUERY, QUERIES
from gigarank.types import JsonObject

TEXT: JsonObject = {"type": "string"}
WHOLE: JsonObject = {"type": "integer", "minimum": 0}
NUMBER: JsonObject = {"type": "number"}
FLAG: JsonObject = {"type": "boolean"}

_TABLE: tuple[Field[Any], ...] = tuple(value for value in vars(fields).values() if isinstance(value, Field))
_FIELDS: dict[str, Field[Any]] = {name: field for field in _TABLE for name in field.names}
OPTIONS = tuple(field.names[0] for field in _TABLE)
"""The canonical names of all fields but the texts."""


def request_schema(texts: Mapping[str, JsonObject], options: Sequence[str]) -> JsonObject:
    """A body with these required texts and these optional fields, each under the name that the dialect uses."""
    properties = dict(texts) | {name: field_schema(name) for name in options}
    return {"type": "object", "required": list(texts), "properties": properties}


def field_schema(name: str) -> JsonObject:
    """The schema of the field that has `name` among its names."""
    field = _FIELDS[name]
    others = ", ".join(other for other in field.names if other != name)
    about = f"{field.about} Also read as: {others}." if others else field.about
    return {**field.kind.schema, "description": about}


def nested(required: Mapping[str, JsonObject], optional: Mapping[str, JsonObject] | None = None) -> JsonObject:
    """An object with these required and these optional members."""
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def array(items: JsonObject) -> JsonObject:
    return {"type": "array", "items": items}


def one_query() -> JsonObject:
    return {**ONE_QUERY, "description": "What is searched for."}


def many_queries() -> JsonObject:
    about = "What is searched for. An array asks for many searches: over the same documents, or over one array of them each."
    return {**QUERIES, "description": about}


def documents() -> JsonObject:
    return dict(DOCUMENTS)


DOCUMENT_OBJECT: JsonObject = nested({"text": TEXT})
WINDOW: JsonObject = nested({"index": WHOLE, "count": WHOLE, "start": WHOLE, "stop": WHOLE})
_BOUND: JsonObject = {"type": ["string", "number", "boolean", "null"]}
_NULLABLE: JsonObject = {"type": ["string", "null"]}
FAILURE: JsonObject = nested(
    {"message": TEXT, "type": TEXT, "param": _NULLABLE, "code": _NULLABLE, "limit": _BOUND, "received": _BOUND}
)
"""One document's error."""
DETAILS: dict[str, JsonObject] = {"scored": FLAG, "error": FAILURE, "window": WINDOW, "fused": NUMBER}
"""Members that a result has only where there is something to say."""
