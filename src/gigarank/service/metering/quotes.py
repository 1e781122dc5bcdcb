"""What a request would cost: whether that is all it asks, and the answer that says it."""

from gigarank.errors import InvalidInput
from gigarank.service.call import Answer, Call
from gigarank.service.credits.money import usd
from gigarank.service.metering.meter import Quoted
from gigarank.types import Usage


def is_dry(call: Call) -> bool:
    """Whether only the price is asked; raises InvalidInput."""
    asked = call.body.get("dry_run") if isinstance(call.body, dict) else None
    if asked is not None and not isinstance(asked, bool):
        raise InvalidInput("dry_run: true or false is expected", param="dry_run", limit="boolean", received=asked)
    return bool(asked)


def quote(quoted: Quoted) -> Answer:
    bill = quoted.bill
    usage = bill.quoted or Usage(0, 0, 0, 0)
    body = {
        "object": "quote",
        "model": bill.model,
        "tier": bill.tier,
        "usage": {"documents": usage.documents, "prompt_tokens": usage.total_tokens, "total_tokens": usage.total_tokens},
        "cost_micros": bill.quoted_micros,
        "cost_usd": usd(bill.quoted_micros),
        "price": None if bill.price is None else bill.price.shown(),
    }
    return Answer(body, bill.model)
