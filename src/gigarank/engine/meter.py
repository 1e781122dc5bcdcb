"""What a worker tells of itself: counters since its start, and how fast it is now.

Pure arithmetic: no clock of its own. Invariant: the counters are replaced whole, so that a reader on another thread never
sees half of a batch.
"""

from dataclasses import dataclass, replace

_FORGETS = 0.9  # the weight of what was measured before, at each batch: the rate follows the last ten or so


@dataclass(frozen=True, slots=True)
class Counters:
    """`room_tokens`: what the batches could have held; `interruptions`: batches that ran in another's pause;
    `failed_batches` ended in an exception; `busy_s`: seconds in which the model computed. `score_hits`, `score_misses`: prompts
    whose score was kept from before, and those that were looked for in vain."""

    batches: int = 0
    interruptions: int = 0
    failed_batches: int = 0
    tokens: int = 0
    room_tokens: int = 0
    busy_s: float = 0.0
    score_hits: int = 0
    score_misses: int = 0

    @property
    def batch_fill(self) -> float:
        """From 0 to 1, or above where single prompts were longer than a batch."""
        return self.tokens / self.room_tokens if self.room_tokens else 0.0


class Meter:
    """`room`: the tokens that a batch can hold."""

    def __init__(self, room: int) -> None:
        self.counters = Counters()
        self._room = room
        self._tokens = 0.0
        self._seconds = 0.0

    def batch(self, tokens: int, seconds: float, *, interrupting: bool) -> None:
        """A batch that took `seconds` of the model's time."""
        self._tokens = _FORGETS * self._tokens + tokens
        self._seconds = _FORGETS * self._seconds + seconds
        was = self.counters
        self.counters = replace(
            was,
            batches=was.batches + 1,
            interruptions=was.interruptions + interrupting,
            tokens=was.tokens + tokens,
            room_tokens=was.room_tokens + self._room,
            busy_s=was.busy_s + seconds,
        )

    def failed(self) -> None:
        self.counters = replace(self.counters, failed_batches=self.counters.failed_batches + 1)

    def tokens_per_second(self) -> float:
        """Of the last batches; 0 before the first."""
        return self._tokens / self._seconds if self._seconds else 0.0

    def seconds_for(self, tokens: int) -> float:
        """How long `tokens` take, from 0.05 to 120 s; 1 s while nothing is measured."""
        rate = self.tokens_per_second()
        return min(120.0, max(0.05, tokens / rate)) if rate else 1.0
