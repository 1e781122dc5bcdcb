"""Between HTTP headers and values: what a request's say, and what an answer's shall say.

Invariant: a header that makes no sense is as one that was not sent; nothing a client sent gets into a header, or a log
line, unchecked.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from gigarank.engine.work import Tier, Timing
from gigarank.service.backend import Urgency
from gigarank.service.call import Answer

RawHeaders = list[tuple[bytes, bytes]]

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_MAX_PRIORITY = 1_000_000
_MAX_WAIT_S = 600.0


def readable(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names in lower case; of several headers of one name, the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}


def request_id(headers: Mapping[str, str]) -> str:
    """The client's own where it is a plain word, so that its logs and ours meet; else a new one."""
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"


def urgency(headers: Mapping[str, str], received: float) -> Urgency:
    """X-Priority (lower runs earlier), X-Tier: batch, X-Deadline-Ms since the request came (`received`, monotonic seconds),
    Prefer: wait=SECONDS (RFC 7240)."""
    deadline_ms = _number(headers.get("x-deadline-ms"))
    tier: Tier = "batch" if headers.get("x-tier", "").strip().lower() in ("batch", "flex") else "default"
    return Urgency(
        priority=int(max(-_MAX_PRIORITY, min(_MAX_PRIORITY, _number(headers.get("x-priority")) or 0.0))),
        tier=tier,
        deadline=None if deadline_ms is None else received + deadline_ms / 1e3,
        wait_s=_preferred_wait(headers.get("prefer", "")),
    )


def _number(text: str | None) -> float | None:
    found = re.fullmatch(r"\s*(-?\d{1,12}(\.\d{1,6})?)\s*", text or "")
    return float(found[1]) if found else None


def _preferred_wait(text: str) -> float:
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", text, re.IGNORECASE)
    return min(_MAX_WAIT_S, float(found[1])) if found else 0.0


def accepts_html(headers: Mapping[str, str]) -> bool:
    """Whether a browser's window asks: programs say */* or name JSON."""
    return "text/html" in headers.get("accept", "").lower()


def timing_headers(answer: Answer) -> dict[str, str]:
    """What a scored answer cost; nothing for one without tokens."""
    if not answer.tokens and answer.timing == Timing():
        return {}
    return {
        "x-gigarank-queue-ms": f"{answer.timing.queued_ms:.3f}",
        "x-gigarank-tokenize-ms": f"{answer.timing.tokenize_ms:.3f}",
        "x-gigarank-inference-ms": f"{answer.timing.inference_ms:.3f}",
        "x-gigarank-tokens": str(answer.tokens),
    }


def raw(headers: Mapping[str, str]) -> RawHeaders:
    return [(name.lower().encode("latin-1"), _one_line(value)) for name, value in headers.items()]


def _one_line(value: str) -> bytes:
    """No character that would end a header, or the answer's head."""
    return re.sub(rb"[\x00-\x1f\x7f]", b" ", value.encode("latin-1", "replace"))


def query(text: str) -> dict[str, str]:
    """A URL's parameters; of several of one name, the last."""
    return dict(parse_qsl(text, keep_blank_values=True)) if text else {}
