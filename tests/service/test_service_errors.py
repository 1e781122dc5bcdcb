"""Every error in every style: the keys that clients read, the headers that they obey, and nothing long in them."""

import json
from collections.abc import Iterator
from typing import Any, get_args

import jsonschema
import pytest

from gigarank import errors
from gigarank.errors import GigarankError, InvalidInput, Overloaded, TryLater
from gigarank.service.call import ErrorStyle
from gigarank.service.errors import ERROR_SCHEMA, render

STYLES: tuple[ErrorStyle, ...] = get_args(ErrorStyle)


def family(error: type[GigarankError]) -> Iterator[type[GigarankError]]:
    yield error
    for child in error.__subclasses__():
        yield from family(child)


def made(error: type[GigarankError]) -> GigarankError:
    if issubclass(error, TryLater):
        return error("what is wrong", retry_after=1.2, limit=3, received=4)
    return error("what is wrong", param="field", limit=3, received=4)


EVERY = [made(error) for error in family(GigarankError) if error.__module__ == errors.__name__]
each_error = pytest.mark.parametrize("error", EVERY, ids=[type(error).__name__ for error in EVERY])
each_style = pytest.mark.parametrize("style", STYLES)


@each_error
@each_style
def test_every_error_in_every_style(error: GigarankError, style: ErrorStyle) -> None:
    status, _, body = render(error, style, "req-1")
    assert status == error.status
    jsonschema.validate(body, ERROR_SCHEMA)
    assert json.loads(json.dumps(body)) == body
    assert body["id"] == "req-1"
    if style == "tei":
        assert body["error"] == "what is wrong"
        assert (body["limit"], body["received"]) == (3, 4)
        return
    told = body["error"]
    assert {"message", "type", "param", "code"} <= set(told)
    assert told["message"] == body["message"] == body["detail"] == "what is wrong"
    assert (told["param"], told["limit"], told["received"], told["request_id"]) == (error.param, 3, 4, "req-1")


@each_error
def test_types_say_whose_fault_it_is(error: GigarankError) -> None:
    told = render(error, "superset", "r")[2]["error"]
    allowed = {
        "invalid_request_error": error.status < 500 and error.status != 429,
        "rate_limit_error": error.status == 429,
        "service_unavailable_error": error.status == 503,
        "server_error": error.status == 500,
        "insufficient_quota": error.status == 402,
        "permission_error": error.status == 403,
        "conflict": error.status == 409,
        "timeout_error": error.status == 504,
    }
    assert allowed[told["type"]]
    assert told["code"] is not None or type(error) is GigarankError


CODES = [
    (errors.InvalidInput, "invalid_request_error", "invalid_value"),
    (errors.UnsupportedParameter, "invalid_request_error", "unsupported_parameter"),
    (errors.QueryTooLong, "invalid_request_error", "context_length_exceeded"),
    (errors.UnknownModel, "invalid_request_error", "model_not_found"),
    (errors.Unauthorized, "invalid_request_error", "invalid_api_key"),
    (errors.RequestTooLarge, "invalid_request_error", "request_too_large"),
    (errors.InsufficientCredit, "insufficient_quota", "credit_balance_exhausted"),
    (errors.SpendLimitReached, "insufficient_quota", "project_spend_limit_exceeded"),
    (errors.ModelNotAllowed, "permission_error", "model_not_allowed"),
    (errors.KeyReused, "conflict", "idempotency_key_reuse"),
    (errors.RateLimited, "rate_limit_error", "rate_limit_exceeded"),
    (errors.Overloaded, "rate_limit_error", "slow_down"),
    (errors.TryLater, "service_unavailable_error", "server_is_overloaded"),
    (errors.UnsupportedArchitecture, "server_error", "bad_checkpoint"),
]


@pytest.mark.parametrize(("error", "kind", "code"), CODES)
def test_openais_types_and_codes(error: type[GigarankError], kind: str, code: str) -> None:
    told = render(made(error), "superset", "r")[2]["error"]
    assert (told["type"], told["code"]) == (kind, code)


@each_error
def test_who_may_come_back_is_told_when(error: GigarankError) -> None:
    _, headers, _ = render(error, "superset", "r")
    assert ("retry-after" in headers) is isinstance(error, TryLater)
    if isinstance(error, TryLater):
        assert headers == {"retry-after": "2", "retry-after-ms": "1200", "x-should-retry": "true"}


@pytest.mark.parametrize(
    ("seconds", "after", "after_ms"), [(0.0, "1", "1"), (30.0, "30", "30000"), (float("inf"), "1", "1000")]
)
def test_waits_are_whole_numbers_and_never_zero(seconds: float, after: str, after_ms: str) -> None:
    _, headers, _ = render(Overloaded("full", retry_after=seconds), "superset", "r")
    assert (headers["retry-after"], headers["retry-after-ms"]) == (after, after_ms)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errors.ModelUnavailable, "false"),
        (errors.NonFiniteScore, "false"),
        (errors.CheckpointError, "false"),
        (errors.WorkerFailed, "true"),
        (errors.InsufficientCredit, "false"),
        (errors.AccessDenied, "false"),
        (errors.KeyReused, "false"),
        (errors.InvalidInput, None),
        (errors.RequestTooLarge, None),
    ],
)
def test_whether_another_try_is_of_use(error: type[GigarankError], told: str | None) -> None:
    assert render(made(error), "superset", "r")[1].get("x-should-retry") == told


def test_integer_codes_keep_the_finer_one_beside_them() -> None:
    told = render(made(errors.UnknownModel), "integer", "r")[2]["error"]
    assert told["code"] == 404
    assert told["metadata"] == {"error_type": "model_not_found", "limit": 3, "received": 4}


def test_dashscopes_three_keys() -> None:
    body = render(made(Overloaded), "dashscope", "r")[2]
    assert (body["code"], body["message"], body["request_id"]) == ("Throttling", "what is wrong", "r")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.InvalidInput, "Validation"),
        (errors.Overloaded, "Overloaded"),
        (errors.ModelLoading, "Unhealthy"),
        (errors.WorkerFailed, "Backend"),
    ],
)
def test_teis_error_types(error: type[GigarankError], kind: str) -> None:
    for style in ("tei", "superset"):
        assert render(made(error), style, "r")[2]["error_type"] == kind


@pytest.mark.parametrize(
    ("received", "shown"),
    [
        ("x" * 500, "x" * 200 + "..."),
        (["secret"], "list"),
        ({"secret": 1}, "dict"),
        (float("nan"), "a number out of range"),
        (10**400, "a number out of range"),
        (True, True),
        (0.5, 0.5),
        (None, None),
    ],
)
def test_what_came_is_repeated_in_short_and_as_json(received: Any, shown: Any) -> None:
    error = InvalidInput("wrong", param="field", limit=received, received=received)
    for style in STYLES:
        body = render(error, style, "r")[2]
        told = body if style == "tei" else body["error"]
        assert (told["limit"], told["received"]) == (shown, shown)
        json.dumps(body, allow_nan=False)
