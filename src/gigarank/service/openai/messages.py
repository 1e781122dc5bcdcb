"""What a message's content says, as text: strings, lists of parts, JSON.

Knows the shapes of the chat and decisions endpoints; no prompt. Invariant: what has no faithful text, such as an image, is
refused, never dropped.
"""

import json
from typing import Any

from gigarank.errors import InvalidInput
from gigarank.service.openai.fields import Fields, as_fields, wrong_type

TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Which field holds the text of a part of this type."""


def content_text(value: Any, place: str) -> str:
    """Text as it is; the parts of a list by lines. Raises InvalidInput."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise wrong_type(place, "string or list of parts", value)
    return "\n".join(_part_text(as_fields(part, f"{place}[{index}]")) for index, part in enumerate(value))


def json_text(value: Any) -> str:
    """A string as it is, anything else as compact JSON, in the order of the request."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _part_text(part: Fields) -> str:
    part.given("type")
    kind = part.text("type") or ""
    if kind in TEXT_PARTS:
        part.given(TEXT_PARTS[kind])
        return part.text(TEXT_PARTS[kind]) or ""
    if kind == "input_json":
        data = part.given("data")
        if not isinstance(data, dict | list):
            raise wrong_type(part.at("data"), "object or list", data)
        return json_text(data)
    raise InvalidInput(
        f"{part.at('type')}: {kind[:64]!r} cannot be read, the models here read text only",
        param=part.at("type"),
        limit=", ".join((*TEXT_PARTS, "input_json")),
        received=kind[:64],
    )
