"""Requests as they come: when, with how many documents, and how long these are. Seeded; knows no costs.

The pieces are the engine's own: a root that all requests share, a query, and documents that end in the prompt's suffix.
Invariant: the same traffic gives the same requests, and the first n of more requests are those of n.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from gigarank.engine.plan import Piece
from gigarank.errors import InvalidInput

SPREAD = 0.4
"""Documents and their tokens lie between 1 - SPREAD and 1 + SPREAD times what is asked, as in `gigarank bench engine`."""
BURST_REQUESTS = 100
_BURST_SHARE = 0.1
QUERY_TOKENS = 12


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """What a prompt format adds to texts: the root's tokens, those around a query, and a document's suffix."""

    root: int
    around_query: int
    suffix: int


PROMPTS = {
    "qwen3-v1": PromptTokens(root=60, around_query=3, suffix=9),
    "nano-v1": PromptTokens(root=62, around_query=5, suffix=6),
}
"""With the default instruction; tests/unit/test_capacity_traffic.py counts them with the tokenizers."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """`rate`: requests a second, as a Poisson process. `burst` above 1: in a tenth of the time the rate is so many times the
    mean, in bursts of about BURST_REQUESTS requests, and in the rest as much lower as keeps the mean."""

    rate: float
    documents: int
    tokens: int
    prompt: PromptTokens
    query_tokens: int = QUERY_TOKENS
    burst: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("documents", "tokens", "query_tokens"):
            if getattr(self, name) < 1:
                raise _refused(name, "at least 1", 1, getattr(self, name))
        if not 0.0 < self.rate < math.inf:
            raise _refused("rate", "requests a second, more than 0", 0, self.rate)
        if not 1.0 <= self.burst <= 1.0 / _BURST_SHARE:
            raise _refused("burst", f"from 1 to {1 / _BURST_SHARE:g}", 1 / _BURST_SHARE, self.burst)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request: when it comes, in seconds from the start, and its pieces."""

    at: float
    pieces: tuple[Piece, ...]

    @property
    def documents(self) -> int:
        return sum(piece.wanted for piece in self.pieces)

    @property
    def tokens(self) -> int:
        return sum(piece.length for piece in self.pieces)


def arrivals(traffic: Traffic, count: int) -> list[Arrival]:
    """The first `count` requests."""
    if count < 1:
        raise _refused("requests", "at least 1", 1, count)
    moments = _moments(traffic, random.Random(f"moments {traffic.seed}"))
    sizes = random.Random(f"sizes {traffic.seed}")
    return [Arrival(next(moments), _pieces(traffic, sizes)) for _ in range(count)]


def _moments(traffic: Traffic, rng: random.Random) -> Iterator[float]:
    """A Poisson process in the time that its intensity measures, carried over to seconds spell by spell."""
    now, left, bursting = 0.0, math.inf, False
    high = traffic.rate * traffic.burst
    low = traffic.rate * (1.0 - _BURST_SHARE * traffic.burst) / (1.0 - _BURST_SHARE)
    spell = BURST_REQUESTS / high  # seconds that a burst lasts in the mean
    if traffic.burst > 1.0:
        left = rng.expovariate(_BURST_SHARE / (spell * (1.0 - _BURST_SHARE)))
    while True:
        need = rng.expovariate(1.0)
        while need > left * (rate := high if bursting else low if traffic.burst > 1.0 else traffic.rate):
            need -= left * rate
            now += left
            bursting = not bursting
            left = rng.expovariate(1.0 / spell if bursting else _BURST_SHARE / (spell * (1.0 - _BURST_SHARE)))
        now += need / rate
        left -= need / rate
        yield now


def _pieces(traffic: Traffic, rng: random.Random) -> tuple[Piece, ...]:
    prompt = traffic.prompt
    shared = [Piece(prompt.root, None, wanted=False), Piece(prompt.around_query + traffic.query_tokens, 0, wanted=False)]
    count = _about(traffic.documents, rng)
    return (*shared, *(Piece(_about(traffic.tokens, rng) + prompt.suffix, 1) for _ in range(count)))


def _about(value: int, rng: random.Random) -> int:
    return max(1, round(value * rng.uniform(1.0 - SPREAD, 1.0 + SPREAD)))


def _refused(name: str, rule: str, limit: float, received: float) -> InvalidInput:
    return InvalidInput(f"{name}: {rule}, not {received:g}", param=name, limit=limit, received=received)
