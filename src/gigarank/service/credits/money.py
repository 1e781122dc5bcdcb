"""Money as whole micro-dollars, and as people write it.

Invariant: no float is ever made of money.
"""

from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from gigarank.errors import InvalidInput

MICROS = 1_000_000
_MOST = 10**9  # dollars


def micros(value: Any, param: str) -> int:
    """Of dollars, as "1.25"; raises InvalidInput for what is none, has parts of a micro-dollar, or is too much."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0 or amount > _MOST:
        message = f"{param}: an amount in US dollars from 0 to {_MOST} is expected; received {str(value)[:40]!r}"
        raise InvalidInput(message, param=param, limit=_MOST, received=str(value)[:40])
    scaled = amount * MICROS
    if scaled != scaled.to_integral_value():
        message = f"{param}: {amount} has more than six decimals"
        raise InvalidInput(message, param=param, limit="0.000001", received=str(value)[:40])
    return int(scaled)


def usd(amount_micros: int) -> str:
    """As "1.250000"."""
    sign = "-" if amount_micros < 0 else ""
    whole, rest = divmod(abs(amount_micros), MICROS)
    return f"{sign}{whole}.{rest:06d}"


def dollars(amount_micros: int) -> orjson.Fragment:
    """The same as a JSON number, for the clients that read one."""
    return orjson.Fragment(usd(amount_micros))
