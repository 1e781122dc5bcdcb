"""Scores that are kept for when they are asked again: one logit for each sequence of tokens that a model has read.

A prompt's tokens, in its pieces, decide its logit (bit by bit where the numerics are deterministic); so the key is a digest of
them, of the model and of its numerics, and whatever texts, instructions and limits lead to the same tokens have the same key.
Holds no text and no token. Invariants: what is found is the number that was kept; there are never more scores than the limit,
and the least recently asked goes first.
"""

import hashlib
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from gigarank.engine.plan import Piece
from gigarank.engine.tokenizer import require_whole
from gigarank.errors import InvalidInput

_DIGEST_BYTES = 32


class ScoreCache:
    """At most `max_scores` logits, of any number of models together. Thread-safe.

    Raises InvalidInput for a limit that is no whole number, or below 1.
    """

    def __init__(self, max_scores: int) -> None:
        require_whole(max_scores, "score_cache")
        if max_scores < 1:
            raise InvalidInput(
                f"score_cache: must be at least 1, not {max_scores}", param="score_cache", limit=1, received=max_scores
            )
        self.max_scores = max_scores
        self._logits: OrderedDict[bytes, float] = OrderedDict()  # the least recently asked first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:  # `keep` has one too many for a moment
            return len(self._logits)

    def find(self, keys: Iterable[bytes]) -> list[float | None]:
        """The logits, None for those that are not there; what is found counts as asked now."""
        found = []
        with self._lock:
            for key in keys:
                logit = self._logits.get(key)
                if logit is not None:
                    self._logits.move_to_end(key)
                found.append(logit)
        return found

    def keep(self, logits: Iterable[tuple[bytes, float]]) -> None:
        with self._lock:
            for key, logit in logits:
                self._logits[key] = logit
                self._logits.move_to_end(key)
                if len(self._logits) > self.max_scores:
                    self._logits.popitem(last=False)


class KeptScores:
    """One model's part of a cache. `identity` says whose scores they are: weights and numerics. `hits` and `misses` count
    prompts since this was made; of a document read in windows, each window is one."""

    def __init__(self, cache: ScoreCache, identity: str) -> None:
        self.cache = cache
        self.hits = 0
        self.misses = 0
        self._identity = _digest(b"", identity.encode())
        self._counting = threading.Lock()

    def keys(self, pieces: Sequence[Piece], ids: Sequence[Sequence[int]]) -> list[bytes]:
        """For each piece the digest of all that is read up to its end, and of where the pieces before it end: attention
        chooses its kernel by the pieces' lengths."""
        keys: list[bytes] = []
        for piece, own in zip(pieces, ids, strict=True):
            before = self._identity if piece.parent is None else keys[piece.parent]
            keys.append(_digest(before, array("I", own).tobytes()))
        return keys

    def find(self, keys: Sequence[bytes]) -> list[float | None]:
        """The logits that are kept, None for the others."""
        found = self.cache.find(keys)
        missing = found.count(None)
        with self._counting:
            self.hits += len(found) - missing
            self.misses += missing
        return found

    def keep(self, logits: Iterable[tuple[bytes, float]]) -> None:
        self.cache.keep(logits)


def _digest(before: bytes, own: bytes) -> bytes:
    return hashlib.blake2b(before + own, digest_size=_DIGEST_BYTES).digest()
