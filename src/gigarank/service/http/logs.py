"""The log: one JSON object a line on standard error, one line a request.

Knows an Exchange and Python's logging. Invariant: no text of a query or a document, no key, and no exception's message is
written, for a message may quote what it stumbled over; of an exception there is its type, and where it arose.
"""

import logging
import time
import traceback
from pathlib import PurePath
from typing import Any

import orjson

from gigarank.service.http.exchange import Exchange

ACCESS = logging.getLogger("gigarank.access")


class JsonLines(logging.Formatter):
    """A record as one JSON object; what stands in its `fields` becomes the object's own."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"time": _utc(record.created), "level": record.levelname.lower(), "logger": record.name}
        fields = getattr(record, "fields", None)
        line |= fields if fields is not None else {"message": record.getMessage().strip()}
        if record.exc_info and record.exc_info[1] is not None:
            line["defect"] = where(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e3):03d}Z"


def where(error: BaseException) -> str:
    """`KeyError at request.py:12 parse < routes.py:40 rerank`: the type and the innermost frames, no message."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = [f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
    return f"{type(error).__name__} at {' < '.join(places) or 'an unknown place'}"


def log_exchange(exchange: Exchange) -> None:
    level = logging.ERROR if exchange.defect else logging.INFO
    if not ACCESS.isEnabledFor(level):
        return
    timing = exchange.timing
    fields: dict[str, Any] = {
        "event": "request",
        "request_id": exchange.request_id,
        "method": exchange.method,
        "route": exchange.route,
        "status": exchange.status,
        "total_ms": round(exchange.total_ms, 3),
        "client": exchange.client,
        "agent": exchange.agent,
        "bytes_in": exchange.bytes_in,
        "bytes_out": exchange.bytes_out,
    }
    if exchange.model:
        fields |= {"model": exchange.model, "documents": exchange.documents, "tokens": exchange.tokens}
        fields |= {"queue_ms": round(timing.queued_ms, 3), "tokenize_ms": round(timing.tokenize_ms, 3)}
        fields["inference_ms"] = round(timing.inference_ms, 3)
    fields |= {name: value for name, value in (("error", exchange.error), ("defect", exchange.defect)) if value}
    ACCESS.log(level, "request", extra={"fields": fields})


def log_to_stderr(level: str) -> None:
    """Everything that is logged in this process, as JSON lines on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("uvicorn.error", "uvicorn.access", "asyncio", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
