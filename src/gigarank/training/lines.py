"""Lines of JSON, read one at a time and checked by hand: every refusal names the file, the line and the field.

Knows no format of training data. Invariant: what `texts` and `text` give can be encoded as UTF-8.
"""

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from gigarank.errors import BadFile

HIGHEST_NUMBER = 3.4028234e38
"""What fp32, in which training computes, still holds."""
_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a JSONL file: line `number`, counted from 1, of `path`."""

    path: Path
    number: int
    values: Mapping[str, Any]

    def refuse(self, field: str, reason: str, received: object = None) -> NoReturn:
        """Raises BadFile for a field of this line."""
        raise BadFile(f"{self.path}:{self.number}: {field}: {reason}", param=field, limit=None, received=received)

    def text(self, field: str) -> str:
        return self.check(self.values.get(field), field)

    def optional(self, *fields: str) -> str | None:
        """The first of these fields that is there and not null or empty."""
        found = next((field for field in fields if self.values.get(field) not in (None, "")), None)
        return None if found is None else self.text(found)

    def texts(self, field: str) -> list[str]:
        """A list of texts; a field that is not there is an empty one."""
        value = self.values.get(field) or []
        if not isinstance(value, list):
            self.refuse(field, f"must be a list of texts, not {kind(value)}", value)
        return [self.check(text, f"{field}[{index}]") for index, text in enumerate(value)]

    def numbers(self, field: str, length: int) -> list[float] | None:
        """A list of `length` numbers, or None where the field is not there."""
        value = self.values.get(field)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != length:
            found = f"{len(value)} values" if isinstance(value, list) else kind(value)
            self.refuse(field, f"must hold {length} numbers, one a document, not {found}", value)
        return [self.number_of(one, f"{field}[{index}]") for index, one in enumerate(value)]

    def number_of(self, value: object, field: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(field, f"must be a number, not {kind(value)}", value)
        if isinstance(value, float) and not math.isfinite(value):
            self.refuse(field, f"must be a number, not {value}")
        if not -HIGHEST_NUMBER <= value <= HIGHEST_NUMBER:  # compared as it is: no float holds a whole number of any length
            shown = str(value) if isinstance(value, float) else f"one of {len(str(abs(value)))} digits"
            self.refuse(field, f"must be from {-HIGHEST_NUMBER:.3g} to {HIGHEST_NUMBER:.3g}, not {shown}")
        return float(value)

    def known(self, *fields: str) -> None:
        """Raises BadFile for a field that is none of these, and says which one may be meant."""
        for field in self.values:
            if field not in fields:
                near = difflib.get_close_matches(field, fields, 1, 0.5)
                nearest = f"; nearest: {near[0]}" if near else ""
                self.refuse(field, f"no such field{nearest}; known: {', '.join(fields)}", field)

    def check(self, value: object, field: str) -> str:
        """A text that is one: a string, not empty, and whole characters."""
        if not isinstance(value, str):
            self.refuse(field, "is missing" if value is None else f"must be a text, not {kind(value)}", value)
        if not value.strip():
            self.refuse(field, "is empty", value)
        if any("\ud800" <= character <= "\udfff" for character in value):
            self.refuse(field, "holds half a character, a lone surrogate")
        return value


def kind(value: object) -> str:
    """What JSON calls it."""
    return _NAMES.get(type(value), "null")


def read_lines(path: Path) -> Iterator[Line]:
    """Objects of a JSONL file, blank lines left out. Raises BadFile that names the line."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield Line(path, number, _object(path, number, text))
    except UnicodeDecodeError as error:
        raise BadFile(f"{path}: not UTF-8 after line {number} ({error.reason})", param=str(path)) from error
    except OSError as error:
        raise BadFile(f"{path}: cannot be read: {error.strerror}", param=str(path)) from error


def first_line(path: Path) -> Line:
    """The first object of a file. Raises BadFile for a file without any."""
    found = next(iter(read_lines(path)), None)
    if found is None:
        raise BadFile(f"{path}: holds no rows", param=str(path), limit=1, received=0)
    return found


def cut_torn_line(path: Path) -> None:
    """Cuts off a last line without an end: a run was killed in the middle of it. A file that is not there is none."""
    text = path.read_bytes() if path.exists() else b""
    if text and not text.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(text.rfind(b"\n") + 1)


def _object(path: Path, number: int, text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        said = (
            "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", "a number of too many digits")
        )
        raise BadFile(f"{path}:{number}: not JSON: {said}", param=f"line {number}") from None
    if not isinstance(value, dict):
        raise BadFile(f"{path}:{number}: must be an object, not {kind(value)}", param=f"line {number}")
    return value


def strings(value: object) -> Sequence[str]:
    """All texts in a JSON value, however deep."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return [text for part in parts for text in strings(part)]
