"""JSON schemas of what the OpenAI endpoints answer. Data.

Invariant: every answer of an endpoint is valid against its schema; tests/service/test_openai_schemas.py.
"""

from gigarank.service.openai.schemas import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    OPTIONAL_STRING,
    PROBABILITY,
    STRING,
    array,
    constant,
    mapping,
    record,
)
from gigarank.types import JsonObject

TIER: JsonObject = {"enum": ["default", "batch"]}
MODEL_ENTRY = record(
    {
        "id": STRING,
        "object": constant("model"),
        "created": INTEGER,
        "owned_by": STRING,
        "name": STRING,
        "aliases": array(STRING),
        "description": STRING,
        "kind": {"enum": ["reranker", "embedder"]},
        "state": {"enum": ["ready", "sleeping", "loading", "failed"]},
        "is_ready": BOOLEAN,
        "hugging_face_id": STRING,
        "quantization": STRING,
        "scoring": STRING,
        "input_modalities": array(STRING),
        "max_documents": INTEGER,
        "max_body_bytes": INTEGER,
        "context_length": INTEGER,
    },
    {"instruction": STRING, "max_questions": INTEGER, "max_choices": INTEGER, "max_levels": INTEGER, "failure": STRING},
)
MODEL_LIST = record({"object": constant("list"), "data": array(MODEL_ENTRY)})

EMBEDDING_RESPONSE = record(
    {
        "object": constant("list"),
        "data": array(
            record({"object": constant("embedding"), "index": INTEGER, "embedding": {"oneOf": [array(NUMBER), STRING]}})
        ),
        "model": STRING,
        "usage": record({"prompt_tokens": INTEGER, "total_tokens": INTEGER, "service_tier": TIER}),
    }
)

_DISTRIBUTION: JsonObject = {"confidence": PROBABILITY}
_NAMED: JsonObject = {"name": OPTIONAL_STRING}
_REFUSAL = record({"type": constant("refusal"), "reason": STRING}, _NAMED)
_ANSWER: JsonObject = {
    "oneOf": [
        record({"type": constant("predicate"), **_NAMED, "probability": PROBABILITY}),
        record(
            {
                "type": constant("choice"),
                **_NAMED,
                **_DISTRIBUTION,
                "choice": {"type": ["string", "boolean"]},
                "probabilities": array(record({"value": {"type": ["string", "boolean"]}, "probability": PROBABILITY})),
            }
        ),
        record(
            {
                "type": constant("score"),
                **_NAMED,
                **_DISTRIBUTION,
                "score": NUMBER,
                "probabilities": array(record({"label": STRING, "value": INTEGER, "probability": PROBABILITY})),
            }
        ),
        _REFUSAL,
    ]
}
_SYSTEM_ONE_ANSWER: JsonObject = {
    "oneOf": [
        record({"type": constant("noul"), "noul": PROBABILITY}),
        record({"type": constant("choice"), **_DISTRIBUTION, "choice": STRING, "probabilities": mapping(PROBABILITY)}),
        record(
            {
                "type": constant("score"),
                **_DISTRIBUTION,
                "score": NUMBER,
                "legend": {"type": "object"},
                "probabilities": mapping(PROBABILITY),
            }
        ),
        _REFUSAL,
    ]
}
_ANSWER_USAGE: JsonObject = {
    "input_tokens": INTEGER,
    "output_tokens": constant(0),
    "total_tokens": INTEGER,
    "service_tier": TIER,
}
SYSTEM_ONE_RESPONSE = record({"model": STRING, "answers": mapping(_SYSTEM_ONE_ANSWER), "usage": record(_ANSWER_USAGE)})
_DECISIONS = record(
    {
        "model": STRING,
        "answers": array(_ANSWER),
        "usage": record(
            {
                **_ANSWER_USAGE,
                "input_tokens_details": record({"cached_tokens": INTEGER, "cache_write_tokens": INTEGER}),
                "output_tokens_details": record({"reasoning_tokens": INTEGER}),
            }
        ),
    }
)
DECISION_RESPONSE: JsonObject = {"oneOf": [_DECISIONS, SYSTEM_ONE_RESPONSE]}

_COMPLETION_USAGE = record(
    {
        "prompt_tokens": INTEGER,
        "completion_tokens": INTEGER,
        "total_tokens": INTEGER,
        "prompt_tokens_details": record({"cached_tokens": INTEGER}),
        "completion_tokens_details": record({"reasoning_tokens": INTEGER}),
        "service_tier": TIER,
    }
)
_COMPLETION_LOGPROBS = record(
    {
        "tokens": array(STRING, 1, 1),
        "token_logprobs": array(NUMBER, 1, 1),
        "top_logprobs": array(mapping(NUMBER), 1, 1),
        "text_offset": array(INTEGER, 1, 1),
    },
)
_TOKEN: JsonObject = {"token": STRING, "logprob": NUMBER, "bytes": array(INTEGER)}
_CHAT_LOGPROBS = record({"content": array(record({**_TOKEN, "top_logprobs": array(record(_TOKEN), 2, 2)}), 1, 1)})


def _completion(kind: str, choice: JsonObject) -> JsonObject:
    fields = {
        "id": STRING,
        "object": constant(kind),
        "created": INTEGER,
        "model": STRING,
        "choices": array(record({"index": INTEGER, "finish_reason": constant("stop"), **choice}), 1),
        "usage": _COMPLETION_USAGE,
    }
    return record(fields)


COMPLETION_RESPONSE = _completion(
    "text_completion", {"text": STRING, "logprobs": {"oneOf": [{"type": "null"}, _COMPLETION_LOGPROBS]}}
)
CHAT_RESPONSE = _completion(
    "chat.completion",
    {
        "message": record({"role": constant("assistant"), "content": STRING}),
        "logprobs": {"oneOf": [{"type": "null"}, _CHAT_LOGPROBS]},
    },
)
