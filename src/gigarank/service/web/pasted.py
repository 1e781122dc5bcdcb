"""Documents as people paste them: lines, paragraphs, JSONL or CSV.

Knows texts and no page. Invariant: what is read is what the API would be sent; what cannot be read is an error with its line.
"""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

from gigarank.errors import InvalidInput

Form = Literal["auto", "lines", "paragraphs", "jsonl", "csv"]
FORMS: Mapping[Form, str] = {
    "auto": "find out",
    "lines": "one document a line",
    "paragraphs": "blank lines between documents",
    "jsonl": "JSONL",
    "csv": "CSV with a head",
}
_COLUMNS = ("text", "document", "content", "body", "passage")
Documents = list[str | dict[str, Any]]


def read_pasted(text: str, form: str) -> Documents:
    """Strings, or objects as the API takes them. Raises InvalidInput."""
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    match _form(form, plain):
        case "jsonl":
            return _jsonl(plain)
        case "csv":
            return _csv(plain)
        case "paragraphs":
            return [part.strip() for part in plain.split("\n\n") if part.strip()]
        case _:
            return [line.strip() for line in plain.split("\n") if line.strip()]


def _form(given: str, text: str) -> Form:
    if given not in get_args(Form):
        names = ", ".join(get_args(Form))
        raise InvalidInput(f"form: one of {names}; received {given[:40]!r}", param="form", limit=names, received=given[:40])
    if given != "auto":
        return cast(Form, given)
    lines = [line for line in text.split("\n") if line.strip()]
    if lines and all(line.lstrip().startswith(("{", '"')) for line in lines) and _is_json(lines[0]):
        return "jsonl"
    return "paragraphs" if "\n\n" in text.strip() else "lines"


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _jsonl(text: str) -> Documents:
    found: Documents = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            found.append(_row(line, number))
    return found


def _row(line: str, number: int) -> str | dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        raise InvalidInput(f"documents: line {number} is no JSON", param="documents", received=f"line {number}") from None
    if not isinstance(value, str | dict):
        message = f"documents: line {number}: a text or an object is expected"
        raise InvalidInput(message, param="documents", limit="a text or an object", received=f"line {number}")
    return value


def _csv(text: str) -> Documents:
    """The column of a known name, else the first one."""
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise InvalidInput(f"documents: no CSV: {error}", param="documents") from None
    if not rows:
        return []
    names = [name.strip().lower() for name in rows[0]]
    place = next((names.index(name) for name in _COLUMNS if name in names), 0)
    return [row[place].strip() for row in rows[1:] if len(row) > place and row[place].strip()]
