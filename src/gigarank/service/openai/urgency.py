"""What an OpenAI body says of how long the call may wait, over what the headers said.

Invariant: of each wish that the body has, the headers' counts no more.
"""

import dataclasses

from gigarank.service.backend import Urgency
from gigarank.service.call import Call
from gigarank.service.openai.fields import Fields
from gigarank.types import JsonObject

MAX_PRIORITY = 2**31 - 1
MAX_DEADLINE_MS = 86_400_000.0
_BATCH_TIERS = ("batch", "flex")

SCHEMA: JsonObject = {
    "service_tier": {
        "type": ["string", "null"],
        "description": "'batch' or 'flex': runs when nothing else waits; any other: does not",
    },
    "priority": {
        "type": ["integer", "null"],
        "minimum": -MAX_PRIORITY,
        "maximum": MAX_PRIORITY,
        "description": "lower runs earlier",
    },
    "deadline_ms": {
        "type": ["number", "null"],
        "minimum": 0,
        "maximum": MAX_DEADLINE_MS,
        "description": "milliseconds from the request's arrival",
    },
}
"""The fields' JSON schemas, for the endpoints that read them."""


def urgency_of(call: Call, fields: Fields) -> Urgency:
    asked = call.urgency
    tier = fields.text("service_tier")
    priority = fields.integer("priority", -MAX_PRIORITY, MAX_PRIORITY)
    within_ms = fields.number("deadline_ms", 0, MAX_DEADLINE_MS)
    if tier is not None:
        asked = dataclasses.replace(asked, tier="batch" if tier.lower() in _BATCH_TIERS else "default")
    if priority is not None:
        asked = dataclasses.replace(asked, priority=priority)
    if within_ms is not None:
        asked = dataclasses.replace(asked, deadline=call.received + within_ms / 1e3)
    return asked
