"""What is asked of usage, checked, and how its rows are shown: as objects and as CSV.

Invariant: a day, a group or a number that makes no sense is refused with what was expected; no cell of a CSV file begins as
a spreadsheet's formula does.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from gigarank.errors import InvalidInput
from gigarank.service.credits.money import usd
from gigarank.types import JsonObject

GROUPS = ("day", "key", "model", "tier")
OPERATOR_GROUPS = ("account", *GROUPS)
USUAL_GROUPS = ("day", "key", "model")
USUAL_DAYS, MOST_DAYS = 30, 366
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def read_days(first: str | None, last: str | None, now: int) -> tuple[str, str]:
    """The days `from` and `to`, both included, in UTC; the last 30 where neither is given. Raises InvalidInput."""
    today = datetime.fromtimestamp(now, UTC).date()
    to = today if last is None else _day("to", last)
    begin = to - timedelta(days=min(USUAL_DAYS - 1, (to - date.min).days)) if first is None else _day("from", first)
    if begin > to:
        message = f"from: {begin} is after to, {to}"
        raise InvalidInput(message, param="from", limit=to.isoformat(), received=begin.isoformat())
    days = (to - begin).days + 1
    if days > MOST_DAYS:
        message = f"from: {begin} to {to} are {days} days; at most {MOST_DAYS} at a time"
        raise InvalidInput(message, param="from", limit=MOST_DAYS, received=days)
    return begin.isoformat(), to.isoformat()


def _day(param: str, text: str) -> date:
    try:
        if len(text) != len("2026-11-26"):
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        message = f"{param}: a day as 2026-11-26 is expected; received {text[:40]!r}"
        raise InvalidInput(message, param=param, limit="YYYY-MM-DD", received=text[:40]) from None


def read_groups(text: str | None, allowed: Sequence[str] = GROUPS) -> tuple[str, ...]:
    """Of a list with commas, each once, in the order asked. Raises InvalidInput."""
    if text is None:
        return USUAL_GROUPS
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in allowed]
    if unknown or not names:
        listed, received = ", ".join(allowed), ", ".join(unknown)[:80]
        message = f"group_by: some of {listed}; received {received or 'none'}"
        raise InvalidInput(message, param="group_by", limit=listed, received=received)
    return names


def read_limit(text: str | None, usual: int, most: int) -> int:
    """Raises InvalidInput."""
    if text is None:
        return usual
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0
    if not 1 <= number <= most:
        message = f"limit: a number from 1 to {most} is expected; received {text[:40]!r}"
        raise InvalidInput(message, param="limit", limit=most, received=text[:40])
    return number


def wants_csv(query: Mapping[str, str], accept: str) -> bool:
    """`format=csv` or json, over what the Accept header prefers. Raises InvalidInput."""
    said = query.get("format")
    if said not in (None, "csv", "json"):
        message = f"format: json or csv is expected; received {said[:40]!r}"
        raise InvalidInput(message, param="format", limit="json, csv", received=said[:40])
    return said == "csv" if said else "text/csv" in accept.lower() and "application/json" not in accept.lower()


def shown(row: Mapping[str, Any]) -> JsonObject:
    """A row with its numbers as numbers (PostgreSQL sums integers into decimals) and its names as plain texts."""
    plain = {str(name): int(value) if name in _NUMBERS else value for name, value in row.items()}
    return plain | {"amount_usd": usd(plain["amount_micros"])}


_NUMBERS = ("requests", "documents", "tokens", "amount_micros", "latency_ms", "created")


def totals(rows: Iterable[JsonObject]) -> JsonObject:
    sums = dict.fromkeys(("requests", "documents", "tokens", "amount_micros"), 0)
    for row in rows:
        for name in sums:
            sums[name] += row[name]
    return {**sums, "amount_usd": usd(sums["amount_micros"])}


def as_csv(rows: Sequence[JsonObject], columns: Sequence[str]) -> bytes:
    """RFC 4180, in UTF-8, with a line of names."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    return stream.getvalue().encode()


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would compute is made one that it shows."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
