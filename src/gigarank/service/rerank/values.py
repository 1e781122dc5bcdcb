"""How one JSON value is read, with the schema that says the same: flags, numbers, texts and choices as clients send them.

Knows no field by name. Invariant: what a Kind's schema allows it reads, and what it does not read is an InvalidInput that
names the field; no value makes any other error. A caller never passes null: it stands for a field that is absent.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gigarank.errors import InvalidInput
from gigarank.types import JsonObject

T = TypeVar("T")
_SHOWN_CHARACTERS = 60
_FLAGS = {"true": True, "false": False, "True": True, "False": False}
_DIGITS = r"^-?[0-9]{1,9}$"
_NUMERAL = r"^-?[0-9]{1,9}(\.[0-9]{1,9})?$"
MOST = 999_999_999
NULL: JsonObject = {"type": "null"}


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """`read(value, param)` gives the value or raises InvalidInput; `schema` is JSON schema for what it takes, null included."""

    schema: JsonObject
    read: Callable[[Any, str], T]


def shown(value: Any) -> Any:
    """A value as an error may repeat it: scalars that are short, of anything else the kind."""
    if value is None or isinstance(value, bool) or (isinstance(value, int | float) and -1e18 < value < 1e18):
        return value
    if isinstance(value, str) and len(value) <= _SHOWN_CHARACTERS:
        return value
    names = {str: "a longer string", dict: "an object", list: "an array"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "a number out of range")


def wrong(param: str, limit: str, value: Any) -> InvalidInput:
    """The error of a value that is not what `limit` says in words."""
    return InvalidInput(f"{param}: must be {limit}, not {shown(value)!r}", param=param, limit=limit, received=shown(value))


def _flag(value: Any, param: str) -> bool:
    if isinstance(value, str) and value in _FLAGS:
        return _FLAGS[value]
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise wrong(param, "true or false", value)


FLAG: Kind[bool] = Kind({"enum": [True, False, 0, 1, *_FLAGS, None]}, _flag)


def _as_integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return int(value) if re.search(_DIGITS, value) else None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else None
    return value if isinstance(value, int) else None


def integer(minimum: int, maximum: int = MOST) -> Kind[int]:
    """Whole numbers from `minimum` to `maximum`, as numbers or as text."""

    def read(value: Any, param: str) -> int:
        number = _as_integer(value)
        if number is None:
            raise wrong(param, "a whole number", value)
        if not minimum <= number <= maximum:
            limit = minimum if number < minimum else maximum
            edge = "at least" if number < minimum else "at most"
            received = shown(number)
            raise InvalidInput(f"{param}: must be {edge} {limit}, not {received}", param=param, limit=limit, received=received)
        return number

    schema = {"type": "integer", "minimum": minimum, "maximum": maximum}
    return Kind({"anyOf": [schema, {"type": "string", "pattern": _digits(minimum, maximum)}, NULL]}, read)


def _digits(minimum: int, maximum: int) -> str:
    """A pattern for numerals in range: the whole range where it is one of powers of ten, else safely within it."""
    digits = len(str(maximum + 1)) - 1
    if minimum > 0:
        return f"^[1-9][0-9]{{0,{digits - 1}}}$"
    return f"^({minimum}|[0-9]{{1,{digits}}})$"


def _number(value: Any, param: str) -> float:
    if isinstance(value, str) and re.search(_NUMERAL, value):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and -1e9 <= value <= 1e9:
        return float(value)
    raise wrong(param, "a number from -1e9 to 1e9", value)


NUMBER: Kind[float] = Kind(
    {"anyOf": [{"type": "number", "minimum": -1e9, "maximum": 1e9}, {"type": "string", "pattern": _NUMERAL}, NULL]}, _number
)


def _numbers(value: Any, param: str) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise wrong(param, "an array of numbers", value)
    return tuple(_number(item, f"{param}[{place}]") for place, item in enumerate(value))


NUMBERS: Kind[tuple[float, ...]] = Kind(
    {"type": ["array", "null"], "items": {**NUMBER.schema, "anyOf": NUMBER.schema["anyOf"][:2]}}, _numbers
)


def _text(value: Any, param: str) -> str:
    if not isinstance(value, str):
        raise wrong(param, "a string", value)
    return value


TEXT: Kind[str] = Kind({"type": ["string", "null"]}, _text)


def _texts(value: Any, param: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong(param, "an array of strings", value)
    return tuple(value)


TEXTS: Kind[tuple[str, ...]] = Kind({"type": ["array", "null"], "items": {"type": "string"}}, _texts)


def choice(meanings: Mapping[str | bool, T]) -> Kind[T]:
    """One of the given words, each with what it means."""

    def read(value: Any, param: str) -> T:
        if not isinstance(value, str | bool) or value not in meanings:
            raise wrong(param, "one of " + ", ".join(map(str, meanings)), value)
        return meanings[value]

    return Kind({"enum": [*meanings, None]}, read)
