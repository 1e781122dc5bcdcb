"""/status: whether the server answers, how quickly, and how it was; from what it counted itself.

Invariant: time before the first measurement is no time in which the server was down.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gigarank.service.call import Answer, Call, Route
from gigarank.service.pulse import Hour, Pulse, total
from gigarank.service.web.rendering import markdown, page

_DAYS, _DAY_S, _HOUR_S = 90, 86_400, 3_600


@dataclass(frozen=True, slots=True)
class Span:
    """`uptime`: the part of the minutes in which the server was ready, from 0 to 1; None before anything was measured."""

    name: str
    uptime: float | None
    sum: Hour


def spans(hours: Sequence[Hour], now: float) -> list[Span]:
    ends = int(now) // _HOUR_S + 1
    shown = (("last 24 hours", 1), ("last 7 days", 7), ("last 90 days", _DAYS))
    return [_span(name, hours, (ends - days * 24) * _HOUR_S, now) for name, days in shown]


def days(hours: Sequence[Hour], now: float) -> list[Span]:
    """One a day, the oldest first; today last."""
    today = int(now) // _DAY_S
    return [_span("", hours, day * _DAY_S, min(now, (day + 1) * _DAY_S), now) for day in range(today - _DAYS + 1, today + 1)]


def _span(name: str, hours: Sequence[Hour], begins: float, ends: float, now: float | None = None) -> Span:
    """All in Unix seconds. `now` None: the span ends now."""
    begins = max(begins, _began(hours, ends if now is None else now))
    inside = [one for one in hours if begins - _HOUR_S < one.hour * _HOUR_S < ends]
    found, minutes = total(inside), (ends - begins) / 60
    if not inside:
        return Span(name, None if minutes <= 0 or not hours else 0.0, found)
    return Span(name, min(1.0, found.ready / max(1.0, minutes)), found)


def _began(hours: Sequence[Hour], now: float) -> float:
    """When the first minute was counted, as far as the hours tell."""
    if not hours:
        return now
    return min(now, (hours[0].hour + 1) * _HOUR_S) - min(60, hours[0].up) * 60


def status_routes(pulse: Pulse) -> tuple[Route, ...]:
    async def values(call: Call) -> dict[str, Any]:
        hours, now = await asyncio.to_thread(pulse.hours), pulse.clock()
        return {
            "ready": call.backend.ready(),
            "models": call.backend.models(),
            "queues": call.backend.queues(),
            "spans": spans(hours, now),
            "days": days(hours, now),
            "now": int(now),
        }

    async def status_page(call: Call) -> Answer:
        return page(call, "status.html", await values(call))

    async def status_markdown(call: Call) -> Answer:
        return markdown(call, "status.md", await values(call))

    about = "How the server is and was"
    return (
        Route("GET", "/status", status_page, about, "pages", listed=False, public=True, page=True),
        Route("GET", "/status.md", status_markdown, f"{about}, as Markdown", "pages", listed=False, public=True),
        Route("GET", "/status.md", status_markdown, f"{about}, as Markdown", "pages", listed=False, public=True, page=True),
    )
