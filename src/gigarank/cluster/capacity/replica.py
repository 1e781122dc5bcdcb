"""One replica in simulated time: the engine's own schedule, driven as engine/worker.py drives it, with costs for a model.

The loop is the worker's: the next batch; between two layers, where something came, what may interrupt; then the answers. What
has no part here: deadlines, requests that are cancelled, failures. Invariant: what is accepted is answered once.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gigarank.cluster.capacity.costs import Costs, size_of_takes
from gigarank.engine.meter import Meter
from gigarank.engine.plan import Limits, Piece
from gigarank.engine.schedule import Schedule, Turn

_T = TypeVar("_T")
_Steps = Generator[Any, Any, _T]  # simpy's events, and what comes out in the end
_ROUNDING = 1e-12  # seconds; less than this of a layer is left over by arithmetic


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a replica computes together, and accepts: the defaults of `gigarank serve`."""

    batch_tokens: int = 1_024
    kept_tokens: int = 2_048
    waiting_requests: int = 512
    waiting_tokens: int = 4_000_000

    @property
    def limits(self) -> Limits:
        return Limits(self.batch_tokens, self.kept_tokens)


SERVED = Bounds()


class Machine:
    """The processors that some replicas share: the more of them compute, the slower each is."""

    def __init__(self, speeds: Sequence[float]) -> None:
        self._speeds = speeds
        self._busy: set[Replica] = set()

    def speed(self) -> float:
        return self._speeds[min(max(1, len(self._busy)), len(self._speeds)) - 1]

    def turn(self, replica: "Replica", *, busy: bool) -> None:
        """The replica begins to compute, or ends; the others learn of it where it changes their speed."""
        before = self.speed()
        (self._busy.add if busy else self._busy.discard)(replica)
        if self.speed() != before:
            for other in self._busy - {replica}:
                other.wake()


class Replica:
    """`environment` is simpy's; `answered` gets a request's number. `tokens`: accepted and not answered, as balancers count."""

    def __init__(
        self, environment: Any, machine: Machine, costs: Costs, bounds: Bounds, answered: Callable[[int], None]
    ) -> None:
        self._environment = environment
        self._machine = machine
        self._costs = costs
        self._bounds = bounds
        self._answered = answered
        self._schedule = Schedule(bounds.limits)
        self._meter = Meter(bounds.batch_tokens)
        self._pieces: dict[int, Sequence[Piece]] = {}  # by key: whatever is accepted and not answered
        self._numbers: dict[int, int] = {}  # the request that a key is part of
        self._bell = environment.event()
        self._news = False  # whether something came that a pause may act upon
        self.tokens = 0
        self.busy_s = 0.0
        self.rows = 0
        environment.process(self._work())

    @property
    def counters(self) -> Any:
        return self._meter.counters

    def has_room(self, tokens: int) -> bool:
        """As engine/backlog.py admits: an empty queue takes anything."""
        if len(self._pieces) >= self._bounds.waiting_requests:
            return False
        return not self._pieces or self.tokens + tokens <= self._bounds.waiting_tokens

    def accept(self, key: int, number: int, pieces: Sequence[Piece]) -> None:
        """From now on these pieces of request `number` count; `join` puts them into the schedule once they are tokens."""
        self._pieces[key] = pieces
        self._numbers[key] = number
        self.tokens += sum(piece.length for piece in pieces)

    def join(self, key: int) -> None:
        self._schedule.add(key, self._pieces[key])
        self._news = True
        self.wake()

    def wake(self) -> None:
        if not self._bell.triggered:
            self._bell.succeed()

    def _work(self) -> _Steps[None]:
        while True:
            turn = self._schedule.next()
            if turn is None:
                yield self._rung()
                continue
            self._machine.turn(self, busy=True)
            yield from self._compute(turn, inside=False)
            self._machine.turn(self, busy=False)

    def _compute(self, turn: Turn, *, inside: bool) -> _Steps[None]:
        """One batch; `inside` another's pause it is not interrupted again."""
        size = size_of_takes(turn.takes, self._pieces)
        work = self._costs.seconds(size)
        left, spent, computed_s = work, 0, 0.0
        self._news = True  # the first pause asks, whatever came
        while left > _ROUNDING:
            was = self.busy_s
            left = yield from self._advance(left, stops=not inside)
            if left > _ROUNDING:  # there is news
                rest = self._to_pause(work, left)
                yield from self._advance(rest, stops=False)
                left -= rest
            computed_s += self.busy_s - was
            while left > _ROUNDING and (urgent := self._interruption(turn, spent)) is not None:
                spent += urgent.tokens
                yield from self._compute(urgent, inside=True)
        self.rows += size.rows
        self._meter.batch(turn.tokens, computed_s, interrupting=inside)
        self._answer(turn)

    def _to_pause(self, work: float, left: float) -> float:
        """Seconds' worth until the layer ends that is being computed, or, behind the last pause, until the batch does."""
        layer = work / self._costs.layers
        ended = int((work - left) / layer + 1e-9) + 1
        return left if ended >= self._costs.layers else ended * layer - (work - left)

    def _interruption(self, turn: Turn, spent: int) -> Turn | None:
        self._news = False
        return self._schedule.interruption(turn, spent)

    def _advance(self, work: float, *, stops: bool) -> _Steps[float]:
        """Computes `work` seconds' worth at the machine's speed; returns what is left, not 0 where it `stops` for news."""
        while work > _ROUNDING and not (stops and self._news):
            started, speed = self._environment.now, self._machine.speed()
            yield self._environment.timeout(work / speed) | self._rung()
            elapsed = self._environment.now - started
            self.busy_s += elapsed
            work -= elapsed * speed
        return max(0.0, work)

    def _rung(self) -> Any:
        if self._bell.triggered:
            self._bell = self._environment.event()
        return self._bell

    def _answer(self, turn: Turn) -> None:
        for take in turn.takes:
            if take.number not in self._schedule and take.number in self._pieces:
                self.tokens -= sum(piece.length for piece in self._pieces.pop(take.number))
                self._answered(self._numbers.pop(take.number))
