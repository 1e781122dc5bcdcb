"""A number of replicas under given requests, in simulated time: who answers what, and when.

Each request, or each group of its documents, goes to the replica with the fewest tokens on their way, as
service/upstream/balance.py chooses. Events are simpy's. Invariants: every request is answered once or refused once; the same
arguments give the same run.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gigarank.cluster.capacity.costs import Costs
from gigarank.cluster.capacity.replica import SERVED, Bounds, Machine, Replica
from gigarank.cluster.capacity.traffic import Arrival
from gigarank.engine.plan import Piece
from gigarank.errors import InvalidInput

try:
    import simpy
except ImportError as error:
    raise InvalidInput("plan needs the package simpy: pip install 'gigarank[cluster]'", param="plan") from error


@dataclass(frozen=True, slots=True)
class Load:
    """What one replica did: seconds of computing, rows, batches and their fill, batches in another's pause."""

    busy_s: float
    rows: int
    batches: int
    batch_fill: float
    interruptions: int


@dataclass(frozen=True, slots=True)
class Run:
    """`latencies_s[i]` belongs to request i: infinity where it was refused, NaN where the run was given up before.
    `seconds`: from the start to the last answer."""

    latencies_s: tuple[float, ...]
    seconds: float
    loads: tuple[Load, ...]
    given_up: bool = False

    @property
    def refused(self) -> int:
        return sum(math.isinf(latency) for latency in self.latencies_s)

    @property
    def utilisation(self) -> float:
        """The share of their time in which the replicas computed."""
        return sum(load.busy_s for load in self.loads) / (len(self.loads) * self.seconds) if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Patience:
    """When a run is given up: after more than `most_late` answers that took longer than `limit_s`, the first `skip` requests
    left out."""

    limit_s: float = math.inf
    most_late: int = 0
    skip: int = 0


@dataclass(slots=True)
class _Answers:
    """What is known of every request. `parts[i]`: how many of its parts are not answered yet."""

    asked: Sequence[Arrival]
    environment: Any
    patience: Patience
    latencies: list[float] = field(init=False)
    parts: list[int] = field(init=False)
    done: Any = field(init=False)
    left: int = field(init=False)
    late: int = 0

    def __post_init__(self) -> None:
        self.latencies = [math.nan] * len(self.asked)
        self.parts = [0] * len(self.asked)
        self.done = self.environment.event()
        self.left = len(self.asked)

    def part(self, number: int) -> None:
        self.parts[number] -= 1
        if not self.parts[number]:
            self.take(number, self.environment.now - self.asked[number].at)

    def take(self, number: int, latency: float) -> None:
        self.latencies[number] = latency
        self.left -= 1
        self.late += latency > self.patience.limit_s and number >= self.patience.skip
        if (not self.left or self.late > self.patience.most_late) and not self.done.triggered:
            self.done.succeed()


@dataclass(frozen=True, slots=True)
class Fleet:
    """`replicas` of one kind. `split_tokens`: a request's documents go out in groups of at most so many tokens, each with the
    query before it; None sends every request whole."""

    costs: Costs
    replicas: int
    bounds: Bounds = SERVED
    split_tokens: int | None = None

    def groups(self, pieces: Sequence[Piece]) -> list[Sequence[Piece]]:
        return [pieces] if self.split_tokens is None else split(pieces, self.split_tokens)

    def alone(self, arrival: Arrival) -> float:
        """A request's seconds with as many idle replicas as it has groups."""
        outside = self.costs.outside(arrival.documents)
        return outside + max(self.costs.model_s(group, self.bounds.limits) for group in self.groups(arrival.pieces))


def split(pieces: Sequence[Piece], tokens: int) -> list[Sequence[Piece]]:
    """Groups of the documents in their order, each of at most `tokens` with what stands before them, or of one document."""
    shared = [piece for piece in pieces if not piece.wanted]
    before = sum(piece.length for piece in shared)
    groups: list[list[Piece]] = []
    room = 0
    for piece in pieces:
        if not piece.wanted:
            continue
        if not groups or piece.length > room:
            groups.append([*shared])
            room = tokens - before
        groups[-1].append(piece)
        room -= piece.length
    return list(groups)


def simulate(asked: Sequence[Arrival], fleet: Fleet, patience: Patience | None = None) -> Run:
    """Raises InvalidInput for less than one replica."""
    if fleet.replicas < 1:
        raise InvalidInput(f"replicas: at least 1, not {fleet.replicas}", param="replicas", limit=1, received=fleet.replicas)
    environment = simpy.Environment()
    answers = _Answers(asked, environment, patience or Patience(most_late=len(asked)))
    common = Machine(fleet.costs.speeds)
    own = len(fleet.costs.speeds) == 1
    replicas = [
        Replica(environment, Machine(fleet.costs.speeds) if own else common, fleet.costs, fleet.bounds, answers.part)
        for _ in range(fleet.replicas)
    ]
    environment.process(_dispatch(environment, fleet, replicas, answers))
    environment.run(until=answers.done)
    return Run(tuple(answers.latencies), environment.now, tuple(map(_load, replicas)), given_up=bool(answers.left))


def _dispatch(environment: Any, fleet: Fleet, replicas: Sequence[Replica], answers: _Answers) -> Any:
    """Sends every request at its time; it joins a schedule once it has been read and is in tokens."""
    keys = itertools.count()
    for number, arrival in enumerate(answers.asked):
        yield environment.timeout(max(0.0, arrival.at - environment.now))
        if not _least(replicas).has_room(arrival.tokens):
            answers.take(number, math.inf)
            continue
        joins = []
        for group in fleet.groups(arrival.pieces):
            replica, key = _least(replicas), next(keys)
            replica.accept(key, number, group)
            answers.parts[number] += 1
            joins.append(partial(replica.join, key))
        joining = environment.timeout(fleet.costs.outside(arrival.documents))
        joining.callbacks.append(partial(_all, joins))


def _least(replicas: Sequence[Replica]) -> Replica:
    return min(replicas, key=lambda one: one.tokens)


def _all(joins: Sequence[Callable[[], None]], _: object) -> None:
    for join in joins:
        join()


def _load(replica: Replica) -> Load:
    counted = replica.counters
    return Load(replica.busy_s, replica.rows, counted.batches, counted.batch_fill, counted.interruptions)
