"""Requests and costs that the tests of the capacity plan share: plain ones, whose queueing is known on paper."""

from collections.abc import Sequence
from itertools import accumulate
from random import Random

from gigarank.cluster.capacity.costs import Costs
from gigarank.cluster.capacity.replica import Bounds
from gigarank.cluster.capacity.traffic import PROMPTS, Arrival, Traffic
from gigarank.engine.plan import Piece

ONE_AT_A_TIME = Bounds(batch_tokens=1, waiting_requests=10**9, waiting_tokens=10**9)
"""Every batch is one request of one piece, for it is over the budget by itself."""
MILLISECOND_A_TOKEN = Costs(layers=1, batch_s=0.0, token_s=0.001)


def single_pieces(rate: float, lengths: Sequence[int], seed: int = 0) -> list[Arrival]:
    """Poisson arrivals of one piece each."""
    random = Random(seed)
    moments = accumulate(random.expovariate(rate) for _ in lengths)
    return [Arrival(at, (Piece(length),)) for at, length in zip(moments, lengths, strict=True)]


def ranking(rate: float = 10.0, documents: int = 10, tokens: int = 40, **more: float) -> Traffic:
    return Traffic(rate, documents, tokens, PROMPTS["qwen3-v1"], burst=more.get("burst", 1.0), seed=int(more.get("seed", 0)))


def request(*documents: int, root: int = 20, query: int = 10) -> tuple[Piece, ...]:
    return (Piece(root, None, wanted=False), Piece(query, 0, wanted=False), *(Piece(length, 1) for length in documents))
