"""A request's bytes to JSON: what is wrong with them is said with its place, and never with what they hold.

Knows no HTTP. Invariant: nesting is bounded before any parser sees the text; a key that stands twice has its last value.
"""

import json
from contextlib import suppress
from typing import Any

import numpy as np
import orjson

from gigarank.errors import InvalidInput

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parse(body: bytes, max_depth: int) -> Any:
    """The JSON object or array that `body` holds. A lone surrogate, which UTF-8 cannot write, becomes U+FFFD."""
    text = body.removeprefix(_BYTE_ORDER_MARK)
    if not text.strip():
        raise InvalidInput("body: empty; a JSON object is expected", param="body", limit="a JSON object", received="nothing")
    _check_depth(text, max_depth)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        value = _again(text, error)
    if not isinstance(value, dict | list):
        found = _JSON_NAMES[type(value)]
        raise InvalidInput(f"body: {found}; a JSON object is expected", param="body", limit="a JSON object", received=found)
    return value


_JSON_NAMES = {str: "a string", int: "a number", float: "a number", bool: "a boolean", type(None): "null"}


def _check_depth(text: bytes, max_depth: int) -> None:
    if text.count(b"[") + text.count(b"{") <= max_depth:
        return
    depth = nesting(text)
    if depth > max_depth:
        message = f"body: nested {depth} deep; at most {max_depth}"
        raise InvalidInput(message, param="body", limit=max_depth, received=depth)


def nesting(text: bytes) -> int:
    """How deep brackets outside strings stand in each other. No recursion, and linear in the length of any input."""
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"")
    characters = np.frombuffer(plain, dtype=np.uint8)
    outside = np.cumsum(characters == ord('"'), dtype=np.uint8) % 2 == 0  # wraps around, and keeps its last bit
    marks = characters[outside]
    steps = np.isin(marks, (ord("["), ord("{"))).astype(np.int8) - np.isin(marks, (ord("]"), ord("}")))
    return int(max(0, np.cumsum(steps, dtype=np.int32).max(initial=0)))


def _again(text: bytes, error: orjson.JSONDecodeError) -> Any:
    """What orjson refuses: bytes that are no UTF-8, half of a surrogate pair (clients cut there), what is no JSON at all."""
    try:
        decoded = text.decode()
    except UnicodeDecodeError as broken:
        message = f"body: byte {broken.start} is no UTF-8: {broken.reason}"
        raise InvalidInput(message, param="body", limit="UTF-8", received=f"byte {broken.start}") from None
    if "surrogate" in error.msg:
        with suppress(ValueError):  # there is more wrong with it
            whole = json.dumps(json.loads(decoded), ensure_ascii=False)
            return orjson.loads(whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    place = f"line {error.lineno} column {error.colno}"
    raise InvalidInput(f"body: no JSON at {place}", param="body", limit="JSON", received=place) from None
