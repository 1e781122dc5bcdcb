"""Single values as clients send them: what is read, what is refused, and how the refusal reads."""

from typing import Any

import pytest

from gigarank.errors import InvalidInput
from gigarank.service.rerank.values import FLAG, NUMBER, TEXT, TEXTS, Kind, choice, integer, shown, wrong


@pytest.mark.parametrize(
    ("value", "meaning"),
    [(True, True), (False, False), ("true", True), ("false", False), ("True", True), ("False", False), (1, True), (0, False)],
)
def test_a_flag_in_every_spelling(value: Any, meaning: bool) -> None:
    assert FLAG.read(value, "flag") is meaning


@pytest.mark.parametrize("value", ["yes", "", 2, -1, 0.5, [], {}, [True], float("nan")])
def test_what_is_no_flag(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^flag: must be true or false, not "):
        FLAG.read(value, "flag")


@pytest.mark.parametrize(("value", "number"), [(5, 5), ("5", 5), (5.0, 5), (-1, -1), ("-1", -1), (0, 0), ("007", 7)])
def test_a_whole_number_in_every_spelling(value: Any, number: int) -> None:
    assert integer(-1).read(value, "top_n") == number


@pytest.mark.parametrize("value", [True, 1.5, "1.5", "five", "", [], {}, float("inf"), float("nan"), "1" * 5_000])
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^top_n: must be a whole number, not "):
        integer(-1).read(value, "top_n")


@pytest.mark.parametrize(("value", "limit", "words"), [(-2, -1, "at least -1, not -2"), (10, 9, "at most 9, not 10")])
def test_a_number_out_of_range_names_the_limit_and_what_came(value: int, limit: int, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        integer(-1, 9).read(value, "top_n")
    assert (caught.value.param, caught.value.limit, caught.value.received) == ("top_n", limit, value)


def test_a_number_that_python_would_not_print_is_refused_in_words() -> None:
    with pytest.raises(InvalidInput, match="at most 9, not a number out of range"):
        integer(0, 9).read(10**6_000, "top_n")


@pytest.mark.parametrize(("value", "number"), [(0.5, 0.5), ("0.5", 0.5), (1, 1.0), ("-2", -2.0)])
def test_a_number_in_every_spelling(value: Any, number: float) -> None:
    assert NUMBER.read(value, "score_threshold") == number


@pytest.mark.parametrize("value", [True, "half", 1e300, float("nan"), [], "1e5", 10**400])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^score_threshold: must be a number from -1e9 to 1e9"):
        NUMBER.read(value, "score_threshold")


@pytest.mark.parametrize(("kind", "value"), [(TEXT, 5), (TEXT, ["a"]), (TEXTS, "a"), (TEXTS, ["a", 1]), (TEXTS, {})])
def test_what_is_no_text(kind: Kind[Any], value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^field: must be (a string|an array of strings), not "):
        kind.read(value, "field")


def test_a_choice_gives_the_meaning_and_lists_the_words() -> None:
    speed = choice({"fast": 1, "slow": 2})
    assert speed.read("slow", "latency") == 2
    with pytest.raises(InvalidInput, match="latency: must be one of fast, slow, not 'medium'"):
        speed.read("medium", "latency")
    with pytest.raises(InvalidInput):
        speed.read([], "latency")


def test_errors_repeat_short_scalars_only() -> None:
    assert [shown(value) for value in (None, True, 3, "short")] == [None, True, 3, "short"]
    assert [shown(value) for value in ("x" * 61, {"a": 1}, [1], 10**30)] == [
        "a longer string",
        "an object",
        "an array",
        "a number out of range",
    ]
    error = wrong("documents", "an array", "secret " * 20)
    assert "secret" not in error.message
    assert (error.limit, error.received) == ("an array", "a longer string")
