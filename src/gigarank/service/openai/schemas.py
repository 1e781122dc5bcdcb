"""JSON schemas of the OpenAI endpoints: what each takes and gives. Data; the endpoints check for themselves.

Invariant: what a schema forbids is answered with 400, and what it allows never with 5xx; tests/service/test_openai_schemas.py.
"""

from gigarank.service.openai.answers import HARMLESS, MAX_LOGPROBS, MAX_TOKENS
from gigarank.service.openai.chat import MAX_MESSAGES, ROLES, TEMPLATE_ROLES
from gigarank.service.openai.completions import MAX_TOKEN_ID
from gigarank.service.openai.decisions import MAX_ITEMS, QUESTION_TYPES
from gigarank.service.openai.embeddings import DOCUMENTS, ENCODINGS, MAX_DIMENSIONS, QUERIES
from gigarank.service.openai.messages import TEXT_PARTS
from gigarank.service.openai.questions import MAX_CHOICES, MAX_LEVELS, MAX_QUESTIONS
from gigarank.service.openai.urgency import SCHEMA as URGENCY
from gigarank.types import JsonObject

STRING: JsonObject = {"type": "string"}
NUMBER: JsonObject = {"type": "number"}
INTEGER: JsonObject = {"type": "integer"}
BOOLEAN: JsonObject = {"type": "boolean"}
OPTIONAL_STRING: JsonObject = {"type": ["string", "null"]}
FILLED: JsonObject = {"type": "string", "pattern": r"\S"}
PROBABILITY: JsonObject = {"type": "number", "minimum": 0, "maximum": 1}
MODEL: JsonObject = {"type": ["string", "null"], "description": "a name or alias in /v1/models; absent: the server's default"}


def constant(value: object) -> JsonObject:
    return {"const": value}


def array(items: JsonObject, least: int = 0, most: int | None = None) -> JsonObject:
    bounds = {"minItems": least} if most is None else {"minItems": least, "maxItems": most}
    return {"type": "array", "items": items, **bounds}


def mapping(values: JsonObject) -> JsonObject:
    return {"type": "object", "additionalProperties": values}


def record(required: JsonObject, optional: JsonObject | None = None, **rest: object) -> JsonObject:
    """An object that may hold more than is listed."""
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}, **rest}


_PART: JsonObject = {
    "oneOf": [
        *(record({"type": constant(kind), field: STRING}) for kind, field in TEXT_PARTS.items()),
        record({"type": constant("input_json"), "data": {"type": ["object", "array"]}}),
    ]
}
CONTENT: JsonObject = {"oneOf": [STRING, array(_PART)]}
_FILLED_CONTENT: JsonObject = {"oneOf": [FILLED, array(_PART, 1)]}

_NAME = {"name": OPTIONAL_STRING}
_QUESTION: JsonObject = {
    "oneOf": [
        record({"type": constant(QUESTION_TYPES[0]), "instructions": _FILLED_CONTENT}, _NAME),
        record(
            {
                "type": constant(QUESTION_TYPES[1]),
                "instructions": _FILLED_CONTENT,
                "choices": array(
                    record({"value": {"oneOf": [FILLED, BOOLEAN]}}, {"description": OPTIONAL_STRING}), 2, MAX_CHOICES
                ),
            },
            _NAME,
        ),
        record(
            {
                "type": constant(QUESTION_TYPES[2]),
                "instructions": _FILLED_CONTENT,
                "levels": array(record({"label": FILLED}, {"description": OPTIONAL_STRING}), 2, MAX_LEVELS),
            },
            _NAME,
        ),
    ]
}
_JSON_CONTENT: JsonObject = {"type": ["string", "object", "array"]}
_OPTIONAL_CONTENT: JsonObject = {"type": ["string", "object", "array", "null"]}
_MEANINGS: JsonObject = {
    "type": ["object", "null"],
    "properties": {"true": _OPTIONAL_CONTENT, "false": _OPTIONAL_CONTENT},
}
_SYSTEM_ONE_QUESTION: JsonObject = {
    "oneOf": [
        record({"type": constant("noul")}, {"instructions": _OPTIONAL_CONTENT, "criteria": _MEANINGS}),
        record(
            {
                "type": constant("choice"),
                "criteria": {**mapping(_OPTIONAL_CONTENT), "minProperties": 2, "maxProperties": MAX_CHOICES},
            },
            {"instructions": _OPTIONAL_CONTENT},
        ),
        record(
            {"type": constant("score"), "criteria": array(_JSON_CONTENT, 2, MAX_LEVELS)}, {"instructions": _OPTIONAL_CONTENT}
        ),
    ]
}
_INPUT_ITEM: JsonObject = {
    "oneOf": [
        record(
            {"role": {"enum": ["user", "assistant", "developer", "system"]}, "content": CONTENT},
            {"type": {"enum": ["message", None]}},
        ),
        record({"type": constant("function_call"), "call_id": FILLED, "name": FILLED, "arguments": STRING}),
        record({"type": constant("custom_tool_call"), "call_id": FILLED, "name": FILLED, "input": STRING}),
        record({"type": constant("function_call_output"), "call_id": FILLED, "output": CONTENT}),
        record({"type": constant("custom_tool_call_output"), "call_id": FILLED, "output": CONTENT}),
    ]
}
SYSTEM_ONE_REQUEST = record(
    {
        "state": _JSON_CONTENT,
        "questions": {
            **mapping(_SYSTEM_ONE_QUESTION),
            "minProperties": 1,
            "maxProperties": MAX_QUESTIONS,
        },
    },
    {"model": MODEL, "instruction": OPTIONAL_STRING, **URGENCY},
)
DECISION_REQUEST: JsonObject = {
    "anyOf": [
        record(
            {
                "input": {"oneOf": [FILLED, array(_INPUT_ITEM, 1, MAX_ITEMS)]},
                "questions": array(_QUESTION, 1, MAX_QUESTIONS),
            },
            {"model": MODEL, **URGENCY},
        ),
        SYSTEM_ONE_REQUEST,
    ]
}
EMBEDDING_REQUEST = record(
    {"input": {"oneOf": [STRING, array(STRING, 1)]}},
    {
        "model": MODEL,
        "encoding_format": {"enum": [*ENCODINGS, None]},
        "dimensions": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_DIMENSIONS},
        "input_type": {"enum": [*QUERIES, *DOCUMENTS, None], "description": "absent: the texts are documents"},
        "task": {"type": ["string", "null"], "description": "one of input_type's values, or an instruction"},
        "instruction": {"type": ["string", "null"], "description": "of the search; the texts are its queries"},
        **URGENCY,
    },
)
_COMPLETING: JsonObject = {
    "model": MODEL,
    "max_tokens": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_TOKENS},
    "max_completion_tokens": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_TOKENS},
    **{name: {"enum": [None, *harmless]} for name, harmless in HARMLESS.items()},
    **URGENCY,
}
_TOKEN_ID: JsonObject = {"type": "integer", "minimum": 0, "maximum": MAX_TOKEN_ID}
_PROMPT: JsonObject = {"type": "string", "minLength": 1}
COMPLETION_REQUEST = record(
    {"prompt": {"oneOf": [_PROMPT, array(_TOKEN_ID, 1), array({"oneOf": [_PROMPT, array(_TOKEN_ID, 1)]}, 1)]}},
    {**_COMPLETING, "logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_LOGPROBS}},
)
CHAT_REQUEST = record(
    {"messages": array(record({"role": {"enum": [*ROLES, *TEMPLATE_ROLES]}, "content": CONTENT}), 1, MAX_MESSAGES)},
    {
        **_COMPLETING,
        "logprobs": {"type": ["boolean", "null"]},
        "top_logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_LOGPROBS},
    },
)
