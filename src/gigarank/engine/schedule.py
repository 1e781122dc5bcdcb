"""Whose pieces are computed next: requests in order of urgency, packed to one token budget.

Pure integers: no torch, no text, no clock; time is counted in computed tokens. The order: tier, then priority (lower first),
then the fewest tokens served so far, then the fewest tokens left, where four computed since a request came weigh as one
fewer left: similar requests take turns as they come. A request that is served nothing while `_AGE_BATCHES` batches' worth of
tokens are computed rises by one priority, until it is served; so within a tier nobody starves, and the batch tier runs when
nothing of the default tier waits.

Invariants: every wanted piece is taken exactly once; a batch exceeds the budget only where one wanted piece and its context
alone do; a batch holds one tier; behind requests that end with it, larger ones take at most as many tokens as those.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gigarank.engine.plan import Batch, Feed, Limits, Piece
from gigarank.engine.work import Tier

_AGE_BATCHES = 8
_SIMILAR = 2  # requests of up to so many times the first one's size are computed with it whole
_MUCH_SMALLER = 4  # a request interrupts those that are at least so many times its size; see also `_order`


@dataclass(frozen=True, slots=True)
class Take:
    """What request `number` puts into a batch."""

    number: int
    batch: Batch
    tokens: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One batch. `rank` is the most urgent, `smallest` the smallest request in it (tokens of the whole request)."""

    takes: tuple[Take, ...]
    rank: tuple[int, int]
    smallest: int

    @property
    def tokens(self) -> int:
        return sum(take.tokens for take in self.takes)


class _Entry:
    """A request that has pieces left."""

    def __init__(self, number: int, pieces: Sequence[Piece], tier: Tier, priority: int, now: int) -> None:
        self.number = number
        self.feed = Feed(pieces)
        self.pieces = pieces
        self.rank = (0 if tier == "default" else 1, priority)
        self.size = self.feed.left_tokens
        self.served = 0
        self.served_at = self.came_at = now


class Schedule:
    """The requests that wait. `limits.kept_tokens` bounds what all of them keep between batches."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._entries: dict[int, _Entry] = {}
        self._now = 0  # tokens computed for anyone
        self._kept = 0  # tokens that all entries together keep

    def add(self, number: int, pieces: Sequence[Piece], tier: Tier = "default", priority: int = 0) -> None:
        """A new request; one without wanted pieces has nothing to wait for and is not kept."""
        entry = _Entry(number, pieces, tier, priority, self._now)
        if not entry.feed.done:
            self._entries[number] = entry

    def remove(self, number: int) -> None:
        """Drops what has not been taken; unknown numbers are no error."""
        entry = self._entries.pop(number, None)
        self._kept -= 0 if entry is None else entry.feed.kept_tokens

    def __contains__(self, number: int) -> bool:
        """Whether the request has pieces that were not taken."""
        return number in self._entries

    def left_tokens(self, number: int) -> int:
        """What the request still costs; 0 for unknown numbers."""
        return self._entries[number].feed.left_tokens if number in self._entries else 0

    def next(self) -> Turn | None:
        """The next batch."""
        return self._compose(self._entries.values(), self.limits.batch_tokens, at_least_one=True)

    def interruption(self, running: Turn, spent: int) -> Turn | None:
        """A batch worth pausing `running` for: of a better rank, or of much smaller requests of the same rank.

        Of the same tier at most as many tokens as `running` has, `spent` included, so that it takes at most twice as long; a
        better tier goes first however much it is.
        """
        better = [entry for entry in self._entries.values() if entry.rank[0] < running.rank[0]]
        if better:
            return self._compose(better, self.limits.batch_tokens, at_least_one=True)
        others = [  # of those in `running` itself none has a better rank than its best, nor is any smaller than its smallest
            entry
            for entry in self._entries.values()
            if entry.rank < running.rank or (entry.rank == running.rank and entry.size * _MUCH_SMALLER <= running.smallest)
        ]
        room = min(self.limits.batch_tokens, running.tokens - spent)
        return self._compose(others, room, at_least_one=False)

    def _order(self, entry: _Entry) -> tuple[int, int, int, int, int]:
        tier, priority = entry.rank
        age = (self._now - entry.served_at) // (_AGE_BATCHES * self.limits.batch_tokens)
        patience = entry.came_at + _MUCH_SMALLER * entry.feed.left_tokens
        return (tier, priority - age, entry.served, patience, entry.number)

    def _compose(self, entries: Iterable[_Entry], budget: int, *, at_least_one: bool) -> Turn | None:
        takes: list[Take] = []
        members: list[_Entry] = []
        ending = filling = 0
        for entry in sorted(entries, key=self._order):
            if members and entry.rank[0] != members[0].rank[0]:
                break
            room, left = budget - ending - filling, entry.feed.left_tokens
            fills = bool(ending) and left > min(room, _SIMILAR * members[0].size)
            take = self._take(entry, min(room, ending - filling) if fills else room, at_least_one=at_least_one and not takes)
            if take is None:
                continue
            takes.append(take)
            members.append(entry)
            if entry.feed.done and not fills:
                ending += take.tokens
            else:
                filling += take.tokens
        return self._serve(members, takes) if takes else None

    def _take(self, entry: _Entry, room: int, *, at_least_one: bool) -> Take | None:
        if room <= 0 and not at_least_one:
            return None
        others = self._kept - entry.feed.kept_tokens
        batch = entry.feed.take(room, self.limits.kept_tokens - others, at_least_one=at_least_one)
        if batch is None:
            return None
        self._kept = others + entry.feed.kept_tokens
        return Take(entry.number, batch, sum(entry.pieces[piece].length for piece in batch.pieces))

    def _serve(self, members: Sequence[_Entry], takes: Sequence[Take]) -> Turn:
        turn = Turn(tuple(takes), min(entry.rank for entry in members), min(entry.size for entry in members))
        self._now += turn.tokens
        for entry, take in zip(members, takes, strict=True):
            entry.served += take.tokens
            entry.served_at = self._now
            if entry.feed.done:
                del self._entries[entry.number]
        return turn
