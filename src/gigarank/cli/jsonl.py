"""The text that one JSONL row holds: the row itself if it is a string, or one of its fields.

Knows nothing of files. Invariant: what is returned can be encoded as UTF-8, and every refusal is a ValueError that
gives the reason.
"""

import json

_SHOWN_FIELDS = 10
_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


def text_of_row(line: str, field: str) -> str:
    """The text in a line of JSONL. A lone surrogate, half a character that JSON can escape, is refused."""
    text = _pick(_parse(line), field)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"the text holds half a character, \\u{ord(text[error.start]):04x}") from None
    return text


def number_of_row(line: str, field: str) -> float:
    """The number in a field of a line of JSONL that holds an object."""
    row = _parse(line)
    value = row.get(field) if isinstance(row, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the field {field!r} is {_name(value)}; a number is needed")
    return float(value)


def _parse(line: str) -> object:
    try:
        return json.loads(line.rstrip("\r\n"))
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deeply") from None


def _pick(row: object, field: str) -> str:
    if isinstance(row, str):
        return row
    if not isinstance(row, dict):
        raise ValueError(f"the row is {_name(row)}; a string or an object is needed")
    if field not in row:
        shown = ", ".join(list(row)[:_SHOWN_FIELDS]) + (", ..." if len(row) > _SHOWN_FIELDS else "")
        raise ValueError(f"the row has no field {field!r}; it has {shown or 'none'}")
    if not isinstance(row[field], str):
        raise ValueError(f"the field {field!r} is {_name(row[field])}; a string is needed")
    return str(row[field])


def _name(value: object) -> str:
    return _NAMES.get(type(value), "null")
