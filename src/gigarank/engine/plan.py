"""What is computed together: pieces of token sequences, grouped by what they share and packed to a token budget.

Pure integers: no torch, no text. Invariants: every wanted piece is computed exactly once; a piece's context is in its batch,
before it, or kept from an earlier one; a batch exceeds the budget only where one wanted piece and its context alone do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of tokens that follows its `parent` piece (an index into the same list, smaller than its own) or nothing.

    `wanted`: its last token's hidden state is asked for. Only pieces that are not wanted may be parents.
    """

    length: int
    parent: int | None = None
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """`batch_tokens`: computed together. `kept_tokens`: shared pieces kept from one batch to the next."""

    batch_tokens: int
    kept_tokens: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Piece indices in row order, each after its parent; those to keep after it, and those kept that no later batch reads."""

    pieces: tuple[int, ...]
    keep: frozenset[int]
    release: frozenset[int]


def ancestors(pieces: Sequence[Piece], index: int) -> tuple[int, ...]:
    """The pieces that `index` follows, the first first."""
    chain: list[int] = []
    parent = pieces[index].parent
    while parent is not None:
        chain.append(parent)
        parent = pieces[parent].parent
    return tuple(reversed(chain))


def make_plan(pieces: Sequence[Piece], limits: Limits) -> list[Batch]:
    """Batches that compute every wanted piece. Pieces with the same parents stand together, long ones first."""
    chains = {index: ancestors(pieces, index) for index, piece in enumerate(pieces) if piece.wanted}
    order = sorted(chains, key=lambda index: (chains[index], -pieces[index].length, index))
    return list(_pack(pieces, chains, order, limits))


def _pack(pieces: Sequence[Piece], chains: dict[int, tuple[int, ...]], order: Sequence[int], limits: Limits) -> Iterator[Batch]:
    batch: dict[int, None] = {}  # an ordered set
    kept: frozenset[int] = frozenset()
    tokens = 0
    for index in order:
        added = _missing(index, chains[index], batch, kept)
        cost = sum(pieces[piece].length for piece in added)
        if batch and tokens + cost > limits.batch_tokens:
            still = _kept(pieces, [piece for piece in chains[index] if piece in batch or piece in kept], limits)
            yield Batch(tuple(batch), keep=still - kept, release=kept - still)
            batch, kept, tokens = {}, still, 0
            added = _missing(index, chains[index], batch, kept)
            cost = sum(pieces[piece].length for piece in added)
        batch |= dict.fromkeys(added)
        tokens += cost
    if batch:
        yield Batch(tuple(batch), keep=frozenset(), release=kept)


def _missing(index: int, chain: tuple[int, ...], batch: dict[int, None], kept: frozenset[int]) -> list[int]:
    return [piece for piece in (*chain, index) if piece not in batch and piece not in kept]


def _kept(pieces: Sequence[Piece], candidates: Sequence[int], limits: Limits) -> frozenset[int]:
    """The candidates that fit the limit, outermost first: they are shared by the most."""
    kept: set[int] = set()
    room = limits.kept_tokens
    for index in candidates:
        if pieces[index].length <= room:
            kept.add(index)
            room -= pieces[index].length
    return frozenset(kept)
