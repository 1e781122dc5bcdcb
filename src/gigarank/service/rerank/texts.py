"""Queries and documents, in every form that clients send them, as the texts that the model reads.

Knows no model. An object without text, or with `rank_fields`, is read as YAML, which is what Cohere's pages advise for data
with fields. Invariant: a document that cannot be read is a Failure of that document; the request around it goes on.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gigarank.errors import GigarankError, InvalidInput, UnsupportedParameter
from gigarank.service.rerank.values import shown, wrong
from gigarank.types import JsonObject

_PLAIN = re.compile(r"[^\W\d_](?:[\w ,.()/;'-]*[\w.)])?")
_RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_HIDDEN = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_STEP = "  "
_WIDEST = 8 * len(_STEP)
NOT_BLANK = r"\S"
BLANK_QUERY = "invalid request: query must not be empty or be only whitespace"
NO_DOCUMENTS = "invalid request: list of documents must not be empty"

_QUERY_TEXT: JsonObject = {"type": "string", "pattern": NOT_BLANK}
_QUERY_OBJECT: JsonObject = {"type": "object", "required": ["text"], "properties": {"text": _QUERY_TEXT}}
ONE_QUERY: JsonObject = {"anyOf": [_QUERY_TEXT, _QUERY_OBJECT]}
QUERIES: JsonObject = {"anyOf": [*ONE_QUERY["anyOf"], {"type": "array", "minItems": 1, "items": ONE_QUERY}]}
DOCUMENTS: JsonObject = {
    "anyOf": [{"type": "array", "minItems": 1, "items": {"type": ["string", "object"]}}, {"type": "string"}],
    "description": "Strings, or objects with text or other fields; one string is one document. Other items fail alone.",
}


@dataclass(frozen=True, slots=True)
class Document:
    """`text` is what is scored, `given` what the client sent; with a `failure` there is no text to score."""

    text: str
    given: str | JsonObject
    failure: GigarankError | None = None

    @property
    def echo(self) -> JsonObject:
        """The document as an object that has `text` in any case."""
        if isinstance(self.given, str):
            return {"text": self.given}
        return self.given if isinstance(self.given.get("text"), str) else {**self.given, "text": self.text}


def read_queries(value: Any, param: str) -> tuple[tuple[str, ...], bool]:
    """The queries, and whether many were asked: an array asks for many, unless it is the content parts of a message."""
    if not isinstance(value, list):
        return (read_query(value, param),), False
    if not value:
        raise InvalidInput(BLANK_QUERY, param=param, limit=1, received=0)
    if is_parts(value):
        return (_not_blank("\n".join(_part(item, f"{param}[{place}]") for place, item in enumerate(value)), param),), False
    return tuple(read_query(item, f"{param}[{place}]") for place, item in enumerate(value)), True


def is_parts(value: Sequence[Any]) -> bool:
    """Whether these are the content parts of one message."""
    return all(isinstance(item, dict) and "type" in item for item in value)


def read_query(value: Any, param: str) -> str:
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise wrong(param, "a string or an object with text", value)
    return _not_blank(text, param)


def _not_blank(text: str, param: str) -> str:
    if not re.search(NOT_BLANK, text):
        raise InvalidInput(BLANK_QUERY, param=param, limit=1, received=0)
    return text


def _part(item: JsonObject, param: str) -> str:
    text = item.get("text")
    if not isinstance(text, str):
        kind = shown(item.get("type"))
        raise UnsupportedParameter(f"{param}: only text is read, not {kind!r}", param=param, limit="text", received=kind)
    return text


def read_documents(value: Any, param: str, rank_fields: Sequence[str]) -> tuple[Document, ...]:
    """A lone string is one document. Raises InvalidInput for what else is no array, and for an empty one."""
    if isinstance(value, str):
        return (Document(value, value),)
    if not isinstance(value, list):
        raise wrong(param, "an array of strings or objects", value)
    if not value:
        raise InvalidInput(NO_DOCUMENTS, param=param, limit=1, received=0)
    return tuple(_document(item, f"{param}[{place}]", rank_fields) for place, item in enumerate(value))


def _document(item: Any, param: str, rank_fields: Sequence[str]) -> Document:
    if isinstance(item, str):
        return Document(item, item)
    if isinstance(item, dict):
        return Document(_object_text(item, rank_fields), item)
    return Document("", "", wrong(param, "a string or an object", item))


def _object_text(item: JsonObject, rank_fields: Sequence[str]) -> str:
    """The ranked fields as YAML, in their order; a single one that is a string stands for itself. Without any of them: `text`,
    else everything as YAML."""
    chosen = {name: item[name] for name in rank_fields if name in item}
    if chosen:
        only = next(iter(chosen.values()))
        return only if isinstance(only, str) and len(rank_fields) == 1 else as_yaml(chosen)
    text = item.get("text")
    return text if isinstance(text, str) else as_yaml(item)


def as_yaml(value: Mapping[str, Any]) -> str:
    """Block style, in the order given, without a line feed at the end; an empty object is empty. What lies deeper than 8 levels
    is written as JSON, which is YAML too, since block style repeats its margin in every line."""
    lines: list[str] = []
    _write(value, "", lines)
    return "\n".join(lines)


def _write(value: Any, margin: str, lines: list[str]) -> None:
    """Appends the entries of an object or a list."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _write_entry(f"{margin}{_scalar(str(key))}:", item, margin + _STEP, lines)
    else:
        for item in value:
            _write_entry(f"{margin}-", item, margin + _STEP, lines)


def _write_entry(mark: str, item: Any, margin: str, lines: list[str]) -> None:
    if isinstance(item, Mapping | list) and item and len(margin) <= _WIDEST:
        lines.append(mark)
        _write(item, margin, lines)
    elif isinstance(item, str) and _is_block(item):
        lines.append(f"{mark} |-")
        lines.extend(margin + line for line in item.split("\n"))
    else:
        lines.append(f"{mark} {_scalar(item)}")


def _is_block(text: str) -> bool:
    """Whether the text is plain lines, none blank or indented, which block style shows as they are."""
    lines = text.split("\n")
    return len(lines) > 1 and all(line.isprintable() and line.strip() and not line.startswith(" ") for line in lines)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    text = json.dumps(value, ensure_ascii=False)
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
