"""Values as people read them: filters of the templates."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from gigarank.service.credits.money import usd

_STEPS = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


def count(value: float | None) -> str:
    """8,188,548,096 -> 8.19B; 40 stays 40."""
    if value is None:
        return "not known"
    for size, letter in _STEPS:
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:g}"


def tokens(value: int) -> str:
    """32768 -> 32k tokens."""
    return f"{value // 1024}k tokens" if value % 1024 == 0 else f"{value:,} tokens"


def whole(value: int) -> str:
    return f"{value:,}"


def day(moment: int) -> str:
    """`moment`: Unix seconds."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def minute(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


def dollars(micros: int) -> str:
    """Micro-dollars: 1_250_000 -> $1.25, 12 -> $0.000012."""
    text = usd(micros)
    return ("-$" if text.startswith("-") else "$") + text.lstrip("-")[:-4] + text[-4:].rstrip("0")


def share(value: float | None) -> str:
    return "not known" if value is None else f"{100 * value:.1f} %"


def limit(value: int | None) -> str:
    return "not limited" if value is None else whole(value)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "count": count,
    "tokens": tokens,
    "whole": whole,
    "day": day,
    "dollars": dollars,
    "limit": limit,
    "share": share,
    "minute": minute,
}
