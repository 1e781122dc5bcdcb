"""What `--backend` says: which kind of server scores, and where its copies are.

Knows text only. Invariant: an address that exists was checked, and none stands twice.
"""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from gigarank.errors import InvalidInput

Kind = Literal["vllm", "rerank"]
KINDS: tuple[Kind, ...] = ("vllm", "rerank")
RERANK_PATH = "/v1/rerank"


@dataclass(frozen=True, slots=True)
class Upstreams:
    """`urls`: without a slash at the end; of a rerank server with its path."""

    kind: Kind
    urls: tuple[str, ...]


def parse_upstreams(text: str) -> Upstreams:
    """vllm=http://a:8000,http://b:8000 or rerank=https://host/v1/rerank. Raises InvalidInput."""
    kind, _, listed = text.partition("=")
    if kind not in KINDS:
        known = ", ".join(KINDS)
        raise InvalidInput(f"backend: {kind!r} is none of {known}", param="backend", limit=known, received=kind)
    urls = [url.strip().rstrip("/") for url in listed.split(",")]
    for place, url in enumerate(urls):
        _check(url, again=url in urls[:place])
    if kind == "rerank":
        urls = [url if urlsplit(url).path else url + RERANK_PATH for url in urls]
    return Upstreams(kind, tuple(urls))


def _check(url: str, *, again: bool) -> None:
    shown = without_secret(url)
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.query
    except ValueError:
        whole = False
    if not whole:
        raise InvalidInput(
            f"backend: {shown!r} is no address of a server, such as http://10.0.0.7:8000",
            param="backend",
            limit="http://HOST:PORT",
            received=shown,
        )
    if again:
        raise InvalidInput(f"backend: {shown} stands twice", param="backend", received=shown)


def without_secret(url: str) -> str:
    """The address as it may be logged: what stands before an @ is a password."""
    scheme, marks, rest = url.partition("://")
    return f"{scheme}{marks}{rest.rpartition('@')[2]}"
