"""A file of requests, one a line, read in blocks and checked line by line.

Knows no database and no model. Invariant: no more than a block and a line is in memory; a line's number counts from 1, blank
lines too, and its end is the place in the file from which the next one is read.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gigarank.errors import InvalidInput
from gigarank.service.http.json_text import parse
from gigarank.service.settings import Settings
from gigarank.types import JsonObject

Read = Callable[[int, int], bytes]
"""(offset, size): so many bytes, fewer at the end."""
MOST_ERRORS = 100
_BLOCK = 1024 * 1024
_MOST_NAME = 512


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    end: int  # bytes from the file's beginning
    text: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """One line's. `body` is an object."""

    custom_id: str
    body: JsonObject


@dataclass(slots=True)
class Checked:
    """What a whole file came to."""

    total: int = 0
    errors: list[JsonObject] = field(default_factory=list)

    def add(self, code: str, line: int | None, message: str, param: str | None) -> None:
        self.errors.append({"code": code, "line": line, "message": message, "param": param})


def lines(read: Read, offset: int, number: int, most: int) -> Iterator[Line]:
    """From `offset` on, where `number` lines end, without blank ones. Raises InvalidInput for a line of more than `most`
    bytes."""
    start, rest = offset, b""
    while block := read(offset, _BLOCK):
        offset += len(block)
        *whole, rest = (rest + block).split(b"\n")
        for text in whole:
            number, start = number + 1, start + len(text) + 1
            if text.strip():
                yield Line(number, start, _fitting(text, number, most))
        _fitting(rest, number + 1, most)
    if rest.strip():
        yield Line(number + 1, start + len(rest), rest)


def _fitting(text: bytes, number: int, most: int) -> bytes:
    if len(text) > most:
        message = f"line {number}: more than {most} bytes (max_body_bytes)"
        raise InvalidInput(message, param="line", limit=most, received=number)
    return text


def read_request(line: Line, endpoint: str, max_depth: int) -> Request:
    """Raises InvalidInput, whose `param` names what is wrong with the line."""
    given = parse(line.text, max_depth)
    if not isinstance(given, dict):
        raise _wrong("body", "a JSON object", given)
    custom_id, method, url, body = (given.get(name) for name in ("custom_id", "method", "url", "body"))
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= _MOST_NAME:
        raise _wrong("custom_id", f"a text of 1 to {_MOST_NAME} characters", custom_id)
    if method != "POST":
        raise _wrong("method", "POST", method)
    if url != endpoint:
        raise _wrong("url", f"{endpoint}, the batch's endpoint,", url)
    if not isinstance(body, dict):
        raise _wrong("body", "an object", body)
    if body.get("dry_run"):
        raise _wrong("body.dry_run", "false", True)
    return Request(custom_id, body)


def check(read: Read, endpoint: str, settings: Settings) -> Checked:
    """Every line, and that no custom_id stands there twice; up to a hundred errors."""
    checked, seen = Checked(), set[bytes]()
    try:
        for line in lines(read, 0, 0, settings.max_body_bytes):
            checked.total += 1
            if checked.total > settings.max_batch_lines:
                message = f"more than {settings.max_batch_lines} requests (max_batch_lines)"
                checked.add("too_many_requests", line.number, message, None)
                break
            _check_line(line, endpoint, settings.max_json_depth, checked, seen)
            if len(checked.errors) >= MOST_ERRORS:
                break
    except InvalidInput as error:
        checked.add("line_too_long", error.received, error.message, None)
    if not checked.total and not checked.errors:
        checked.add("empty_file", None, "the file holds no request", "input_file_id")
    return checked


def _check_line(line: Line, endpoint: str, max_depth: int, checked: Checked, seen: set[bytes]) -> None:
    try:
        request = read_request(line, endpoint, max_depth)
    except InvalidInput as error:
        code = "invalid_json_line" if error.limit == "JSON" else f"invalid_{(error.param or 'line').partition('.')[0]}"
        checked.add(code, line.number, f"line {line.number}: {error.message}", error.param)
        return
    digest = hashlib.blake2b(request.custom_id.encode(errors="surrogatepass"), digest_size=16).digest()
    if digest in seen:
        message = f"line {line.number}: another line has the custom_id {request.custom_id[:60]!r}"
        checked.add("duplicate_custom_id", line.number, message, "custom_id")
    seen.add(digest)


def _wrong(param: str, expected: str, value: Any) -> InvalidInput:
    shown = repr(value[:60]) if isinstance(value, str) else "nothing" if value is None else type(value).__name__
    return InvalidInput(f"{param}: {expected} is expected; received {shown}", param=param, limit=expected, received=shown)
