"""What is computed together: pieces of token sequences, grouped by what they share and packed to a token budget.

Pure integers: no torch, no text. Invariants: every wanted piece is computed exactly once; a piece's context is in its batch,
before it, or kept from an earlier one; a batch exceeds the budget only where one wanted piece and its context alone do.
"""

from collections.abc import Iterable, Sequence
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


class Feed:
    """Gives a request's pieces batch by batch, each time as many as there is room for.

    Pieces with the same parents stand together, long ones first. `kept` are the shared pieces that the next batch may read.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = pieces
        self._chains = {index: ancestors(pieces, index) for index, piece in enumerate(pieces) if piece.wanted}
        self._order = sorted(self._chains, key=lambda index: (self._chains[index], -pieces[index].length, index))
        self._next = 0
        self._unread = set(self._order).union(*self._chains.values())
        self.kept: frozenset[int] = frozenset()
        self._unread_tokens = self._sum(self._unread)

    @property
    def left_tokens(self) -> int:
        """What the rest costs in one batch, shared pieces that were not kept included."""
        again = () if self.done else self._chains[self._order[self._next]]
        return self._unread_tokens + self._sum(piece for piece in again if piece not in self.kept and piece not in self._unread)

    @property
    def done(self) -> bool:
        return self._next == len(self._order)

    @property
    def kept_tokens(self) -> int:
        return self._sum(self.kept)

    def take(self, room: int, kept_room: int, *, at_least_one: bool) -> Batch | None:
        """The next pieces, of at most `room` tokens, keeping at most `kept_room`; None where nothing fits.

        `at_least_one` gives the first wanted piece and its context however long they are.
        """
        batch: dict[int, None] = {}  # an ordered set
        while not self.done:
            index = self._order[self._next]
            added = [piece for piece in (*self._chains[index], index) if piece not in batch and piece not in self.kept]
            cost = self._sum(added)
            if cost > room and (batch or not at_least_one):
                break
            batch |= dict.fromkeys(added)
            room -= cost
            self._next += 1
        return self._close(batch, kept_room) if batch else None

    def _close(self, batch: dict[int, None], kept_room: int) -> Batch:
        self._unread_tokens -= self._sum(self._unread.intersection(batch))
        self._unread.difference_update(batch)
        chain = () if self.done else self._chains[self._order[self._next]]
        still = _kept(self.pieces, [piece for piece in chain if piece in batch or piece in self.kept], kept_room)
        made = Batch(tuple(batch), keep=still - self.kept, release=self.kept - still)
        self.kept = still
        return made

    def _sum(self, pieces: Iterable[int]) -> int:
        return sum(self.pieces[piece].length for piece in pieces)


def make_plan(pieces: Sequence[Piece], limits: Limits) -> list[Batch]:
    """Batches that compute every wanted piece of one request."""
    feed = Feed(pieces)
    batches = []
    while (batch := feed.take(limits.batch_tokens, limits.kept_tokens, at_least_one=True)) is not None:
        batches.append(batch)
    return batches


def _kept(pieces: Sequence[Piece], candidates: Sequence[int], room: int) -> frozenset[int]:
    """The candidates that fit, outermost first: they are shared by the most."""
    kept: set[int] = set()
    for index in candidates:
        if pieces[index].length <= room:
            kept.add(index)
            room -= pieces[index].length
    return frozenset(kept)
