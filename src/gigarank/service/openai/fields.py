"""A JSON object of a request, read field by field, each with its type and bounds checked.

Knows no endpoint. Invariant: whatever JSON a field holds, reading it gives a value of the asked type or an InvalidInput that
names the field by its place in the body, such as `questions[3].name`. A field that is null counts as absent.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gigarank.errors import InvalidInput, RequestTooLarge

_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "list", dict: "object", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Fields:
    """`place` is the object's own place in the body, empty for the body itself."""

    values: Mapping[str, Any]
    place: str = ""

    def at(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place else name

    def value(self, name: str) -> Any:
        return self.values.get(name)

    def given(self, name: str) -> Any:
        """The value of a field that must be there."""
        value = self.values.get(name)
        if value is None:
            raise InvalidInput(f"{self.at(name)}: is required", param=self.at(name), received=None)
        return value

    def text(self, name: str) -> str | None:
        value = self.value(name)
        if value is not None and not isinstance(value, str):
            raise wrong_type(self.at(name), "string", value)
        return value

    def required_text(self, name: str) -> str:
        """Not only blanks."""
        self.given(name)
        return not_blank(self.text(name) or "", self.at(name))

    def flag(self, name: str) -> bool | None:
        value = self.value(name)
        if value is not None and not isinstance(value, bool):
            raise wrong_type(self.at(name), "boolean", value)
        return value

    def number(self, name: str, least: float, most: float) -> float | None:
        value = self.value(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(self.at(name), "number", value)
        if math.isnan(value) or not least <= value <= most:
            raise _out_of_bounds(self.at(name), least, most, value)
        return float(value)

    def integer(self, name: str, least: int, most: int) -> int | None:
        value = self.value(name)
        if value is None:
            return None
        if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and value.is_integer())):
            raise wrong_type(self.at(name), "integer", value)
        if not least <= value <= most:
            raise _out_of_bounds(self.at(name), least, most, value)
        return int(value)

    def choice(self, name: str, allowed: Sequence[str]) -> str | None:
        """One of the `allowed` words."""
        value = self.text(name)
        if value is not None and value not in allowed:
            listed = ", ".join(allowed)
            raise InvalidInput(
                f"{self.at(name)}: must be one of {listed}", param=self.at(name), limit=listed, received=value[:64]
            )
        return value

    def items(self, name: str, least: int, most: int) -> list[Any]:
        """A list that must be there, of `least` to `most` items."""
        value = self.given(name)
        if not isinstance(value, list):
            raise wrong_type(self.at(name), "list", value)
        check_count(self.at(name), len(value), least, most)
        return value

    def objects(self, name: str, least: int, most: int) -> "Iterator[Fields]":
        """The items of a list of objects."""
        for index, item in enumerate(self.items(name, least, most)):
            yield as_fields(item, f"{self.at(name)}[{index}]")


def as_fields(value: Any, place: str) -> Fields:
    if not isinstance(value, dict):
        raise wrong_type(place or "body", "object", value)
    return Fields(value, place)


def not_blank(text: str, place: str) -> str:
    if not text.strip():
        raise InvalidInput(f"{place}: must not be empty", param=place, limit=1, received=0)
    return text


def wrong_type(place: str, wanted: str, value: Any) -> InvalidInput:
    kind = _NAMES.get(type(value), type(value).__name__)
    return InvalidInput(f"{place}: must be {_article(wanted)} {wanted}, not {kind}", param=place, limit=wanted, received=kind)


def check_count(place: str, count: int, least: int, most: int) -> None:
    if not least <= count <= most:
        limit = least if count < least else most
        raise InvalidInput(
            f"{place}: must hold from {least} to {most} items, not {count}", param=place, limit=limit, received=count
        )


def check_size(place: str, what: str, received: int, limit: int) -> None:
    """Raises RequestTooLarge where one request would hold more than `limit` of `what`."""
    if received > limit:
        raise RequestTooLarge(
            f"{place}: {received} {what}; one request may hold {limit}", param=place, limit=limit, received=received
        )


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _out_of_bounds(place: str, least: float, most: float, value: float) -> InvalidInput:
    limit = least if value < least else most
    shown = value if abs(value) < 1e18 else "a larger one"
    return InvalidInput(f"{place}: must be from {least} to {most}, not {shown}", param=place, limit=limit, received=shown)
