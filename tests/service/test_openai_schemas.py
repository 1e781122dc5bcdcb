"""The schemas are true: what they allow is answered or refused with 4xx, what they forbid is refused, answers fit them.

Bodies are made from whole ones by putting arbitrary JSON at any place, so that they go deep before they go wrong.
"""

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gigarank.errors import GigarankError, InvalidInput
from gigarank.service.call import Route
from gigarank.service.openai.routes import ROUTES
from openai_calls import Blind, body_of

LISTED = {route.path: route for route in ROUTES if route.listed}
PARTS = [{"type": "input_text", "text": "a b"}, {"type": "input_json", "data": {"a": [1]}}]
CALLS = [
    {"role": "developer", "content": "Be strict"},
    {"type": "message", "role": "user", "content": PARTS},
    {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "c"}]},
    {"type": "custom_tool_call", "call_id": "2", "name": "g", "input": "x"},
    {"type": "custom_tool_call_output", "call_id": "2", "output": "y"},
]
QUESTIONS: list[Any] = [
    {"type": "predicate", "instructions": PARTS, "name": "p"},
    {"type": "choice", "instructions": "which?", "choices": [{"value": "a", "description": "b"}, {"value": True}]},
    {"type": "score", "instructions": "how?", "levels": [{"label": "a", "description": "b"}, {"label": "b"}]},
]
NAMED: dict[str, Any] = {
    "p": {"type": "noul", "instructions": {"a": 1}, "criteria": {"true": "x", "false": ["y"]}},
    "c": {"type": "choice", "criteria": {"a": None, "b": {"x": 1}}},
    "s": {"type": "score", "instructions": "how?", "criteria": ["a", {"b": 1}]},
}
URGENT = {"service_tier": "flex", "priority": 3, "deadline_ms": 60_000.5}
WHOLE: dict[str, list[dict[str, Any]]] = {
    "/v1/embeddings": [
        {"model": "fake-embedder", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 4, "input_type": "query"},
        {"input": "a", "encoding_format": "float", "task": "find", "instruction": "find it", **URGENT},
    ],
    "/v1/decisions": [
        {"model": "fake", "input": CALLS, "questions": QUESTIONS, **URGENT},
        {"input": "a b", "questions": QUESTIONS[:1]},
        {"state": "a b", "questions": NAMED},
    ],
    "/v1/systemone": [{"model": "nano", "state": [{"a": "b"}], "questions": NAMED, "instruction": "Be strict", **URGENT}],
    "/v1/completions": [
        {"model": "fake", "prompt": ["a b", [1, 2]], "logprobs": 5, "max_tokens": 1, "n": 1, "echo": False, **URGENT},
        {"prompt": [1, 2], "stream": False, "logit_bias": {}, "suffix": ""},
    ],
    "/v1/chat/completions": [
        {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": PARTS}], "logprobs": True, **URGENT},
        {
            "messages": [{"role": "query", "content": "a"}, {"role": "document", "content": "b"}],
            "top_logprobs": 2,
            "response_format": {"type": "text"},
            "tools": [],
        },
    ],
}
BODIES = [(path, body) for path, bodies in WHOLE.items() for body in bodies]

WORDS = st.sampled_from(["a", "", " ", "user", "input_text", "function_call", "choice", "score", "message", "base64", "query"])
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.integers(-2, 30) | st.floats(allow_nan=False)
SCALARS = st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=8)
KEYS = WORDS | st.sampled_from(["type", "role", "content", "text", "input", "state", "questions", "value", "label", "true"])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*path, key))


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[str, Any]:
    """A path, and a body that was whole before up to three of its places got something else or went."""
    path, whole = draw(st.sampled_from(BODIES))
    body = {"body": copy.deepcopy(whole)}
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from([place for place in places(body) if place]))
        holder: Any = body
        for key in above:
            holder = holder[key]
        if draw(st.booleans()) and above:
            del holder[last]
        else:
            holder[last] = draw(JSON)
    return path, body["body"]


def answered(route: Route, body: Any) -> Any:
    """The answer's body, or the GigarankError."""
    try:
        return body_of(route.endpoint, body)
    except GigarankError as error:
        return error


@settings(max_examples=600, deadline=None)
@given(spoiled())
def test_any_json_is_answered_or_refused_as_the_schema_says(made: tuple[str, Any]) -> None:
    path, body = made
    route = LISTED[path]
    assert route.request is not None and route.response is not None
    allowed = Draft202012Validator(route.request).is_valid(body)
    answer = answered(route, body)
    if isinstance(answer, GigarankError):
        assert 400 <= answer.status < 500
        orjson.dumps({"message": answer.message, "param": answer.param, "limit": answer.limit, "received": answer.received})
    else:
        assert allowed, "the schema forbids what the endpoint takes"
        orjson.dumps(answer)
        Draft202012Validator(route.response).validate(answer)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), JSON)
def test_arbitrary_json_never_breaks_an_endpoint(path: str, body: Any) -> None:
    answer = answered(LISTED[path], body)
    assert not isinstance(answer, GigarankError) or 400 <= answer.status < 500


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_a_whole_body_is_allowed_and_answered(path: str, body: Any) -> None:
    route = LISTED[path]
    assert route.request is not None and route.response is not None
    Draft202012Validator(route.request).validate(body)
    Draft202012Validator(route.response).validate(body_of(route.endpoint, body))


PREDICATE: dict[str, Any] = {"type": "predicate", "instructions": "x"}
FORBIDDEN: list[tuple[str, Any]] = [
    ("/v1/embeddings", {"input": []}),
    ("/v1/embeddings", {"input": [1, 2]}),
    ("/v1/embeddings", {"input": "a", "dimensions": 0}),
    ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}),
    ("/v1/embeddings", {"input": "a", "input_type": "image"}),
    ("/v1/embeddings", {"input": "a", "deadline_ms": -1}),
    ("/v1/decisions", {"input": "a", "questions": []}),
    ("/v1/decisions", {"input": "a", "questions": [PREDICATE] * 401}),
    ("/v1/decisions", {"input": [], "questions": [PREDICATE]}),
    ("/v1/decisions", {"input": " ", "questions": [PREDICATE]}),
    ("/v1/decisions", {"input": "a", "questions": [{**PREDICATE, "instructions": ""}]}),
    ("/v1/decisions", {"input": "a", "questions": [{**QUESTIONS[1], "choices": [{"value": "a"}]}]}),
    ("/v1/decisions", {"input": "a", "questions": [{**QUESTIONS[1], "choices": [{"value": str(i)} for i in range(256)]}]}),
    ("/v1/decisions", {"input": "a", "questions": [{**QUESTIONS[2], "levels": [{"label": str(i)} for i in range(11)]}]}),
    ("/v1/systemone", {"state": 3, "questions": NAMED}),
    ("/v1/systemone", {"state": "a", "questions": {}}),
    ("/v1/systemone", {"state": "a", "questions": {"q": {"type": "choice", "criteria": {"a": None}}}}),
    ("/v1/systemone", {"state": "a", "questions": {"q": {"type": "score", "criteria": ["a"]}}}),
    ("/v1/completions", {"prompt": ""}),
    ("/v1/completions", {"prompt": []}),
    ("/v1/completions", {"prompt": [-1]}),
    ("/v1/completions", {"prompt": "a", "logprobs": 21}),
    ("/v1/completions", {"prompt": "a", "max_tokens": 0}),
    ("/v1/completions", {"prompt": "a", "stream": True}),
    ("/v1/chat/completions", {"messages": []}),
    ("/v1/chat/completions", {"messages": [{"role": "tool", "content": "a"}]}),
    ("/v1/chat/completions", {"messages": [{"role": "user"}]}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "top_logprobs": 21}),
]


@pytest.mark.parametrize(("path", "body"), FORBIDDEN)
def test_what_is_refused_for_its_form_is_forbidden(path: str, body: Any) -> None:
    route = LISTED[path]
    assert route.request is not None
    assert not Draft202012Validator(route.request).is_valid(body)
    with pytest.raises(InvalidInput):
        body_of(route.endpoint, body)


def test_refusals_and_models_fit_their_schemas() -> None:
    for path, questions in (("/v1/decisions", QUESTIONS), ("/v1/systemone", NAMED)):
        route = LISTED[path]
        late: Any = copy.deepcopy(questions)
        for question in late.values() if isinstance(late, dict) else late:
            question["instructions"] = "late"
        told = body_of(route.endpoint, {"input" if path == "/v1/decisions" else "state": "a", "questions": late}, Blind())
        answers = told["answers"].values() if isinstance(questions, dict) else told["answers"]
        assert {answer["type"] for answer in answers} == {"refusal"}
        assert route.response is not None
        Draft202012Validator(route.response).validate(told)
    for path in ("/v1/models", "/v1/models/{id:path}"):
        route = LISTED[path]
        assert route.response is not None
        Draft202012Validator(route.response).validate(body_of(route.endpoint, {}, parameters={"id": "fake"}))


@pytest.mark.parametrize("route", [route for route in ROUTES if route.listed], ids=lambda route: route.path)
def test_the_schemas_are_schemas(route: Route) -> None:
    for schema in (route.request, route.response):
        if schema is not None:
            Draft202012Validator.check_schema(schema)
    assert (route.request is None) is (route.method == "GET")


def test_every_path_is_served_once_and_listed_under_v1() -> None:
    served = [(route.method, route.path) for route in ROUTES]
    assert len(served) == len(set(served))
    assert sorted(LISTED) == [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/decisions",
        "/v1/embeddings",
        "/v1/models",
        "/v1/models/{id:path}",
        "/v1/systemone",
    ]
    for path in ("/models", "/api/v1/models", "/openai/v1/models", "/embeddings", "/api/alpha/decisions", "/systemone"):
        assert path in {route.path for route in ROUTES}
    assert not any(route.public for route in ROUTES)


def test_errors_have_integer_codes_under_api_only() -> None:
    assert {route.style for route in ROUTES if route.path.startswith("/api/")} == {"integer"}
    assert {route.style for route in ROUTES if not route.path.startswith("/api/")} == {"superset"}


def test_an_error_of_a_huge_number_is_json() -> None:
    with pytest.raises(InvalidInput) as raised:
        body_of(LISTED["/v1/embeddings"].endpoint, {"input": "a", "dimensions": 10**400})
    orjson.dumps({"received": raised.value.received})
