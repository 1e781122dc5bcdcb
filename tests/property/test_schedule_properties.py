"""The schedule, over random arrivals, departures and pauses: every piece once, budgets kept, contexts at hand."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from gigarank.engine.plan import Limits, Piece, ancestors
from gigarank.engine.schedule import Schedule, Turn
from gigarank.engine.work import Tier

LENGTHS = st.integers(1, 60)
LIMITS = st.builds(Limits, st.integers(1, 200), st.integers(0, 100))


@dataclass
class Request:
    pieces: list[Piece]
    tier: Tier
    priority: int
    computed: list[int] = field(default_factory=list)
    kept: set[int] = field(default_factory=set)
    cancelled: bool = False

    def wanted(self) -> list[int]:
        return [index for index, piece in enumerate(self.pieces) if piece.wanted]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    pieces = [Piece(draw(LENGTHS), None, wanted=False)]
    for _ in range(draw(st.integers(1, 3))):
        pieces.append(Piece(draw(LENGTHS), 0, wanted=False))
        query = len(pieces) - 1
        pieces += [Piece(length, query) for length in draw(st.lists(LENGTHS, max_size=6))]
    return Request(pieces, draw(st.sampled_from(["default", "batch"])), draw(st.integers(-2, 2)))


STEPS = st.lists(st.sampled_from(["arrive", "batch", "pause", "cancel"]), max_size=30)


class Run:
    """Plays steps on a schedule and checks every batch as it comes."""

    def __init__(self, limits: Limits, waiting: list[Request]) -> None:
        self.limits, self.all, self.queue = limits, waiting, Schedule(limits)
        self.arrived = 0
        self.running: Turn | None = None
        self.spent = 0

    def step(self, what: str) -> None:
        if what == "arrive" and self.arrived < len(self.all):
            request = self.all[self.arrived]
            self.queue.add(self.arrived, request.pieces, request.tier, request.priority)
            self.arrived += 1
        elif what == "batch":
            self.running, self.spent = self.queue.next(), 0
            self.check(self.running, self.limits.batch_tokens)
        elif what == "pause" and self.running is not None:
            turn = self.queue.interruption(self.running, self.spent)
            if turn is not None:
                assert not {take.number for take in turn.takes} & {take.number for take in self.running.takes}
                assert turn.rank[0] <= self.running.rank[0]
                self.spent += turn.tokens
                if turn.rank[0] == self.running.rank[0]:
                    assert self.spent <= self.running.tokens
            self.check(turn, self.limits.batch_tokens)
        elif what == "cancel" and self.arrived:
            self.all[self.arrived - 1].cancelled = True
            self.queue.remove(self.arrived - 1)

    def check(self, turn: Turn | None, budget: int) -> None:
        if turn is None:
            return
        wanted = 0
        assert len({self.all[take.number].tier for take in turn.takes}) == 1
        for take in turn.takes:
            request, batch = self.all[take.number], take.batch
            assert not request.cancelled
            seen = set(request.kept)
            for index in batch.pieces:
                assert set(ancestors(request.pieces, index)) <= seen
                seen.add(index)
            assert batch.release <= request.kept
            request.kept = (request.kept - batch.release) | batch.keep
            request.computed += [index for index in batch.pieces if request.pieces[index].wanted]
            wanted += sum(request.pieces[index].wanted for index in batch.pieces)
            assert take.tokens == sum(request.pieces[index].length for index in batch.pieces)
        assert turn.tokens <= budget or wanted == 1
        held = [r.pieces[index].length for r in self.all if not r.cancelled for index in r.kept]
        assert sum(held) <= self.limits.kept_tokens


@given(LIMITS, st.lists(requests(), min_size=1, max_size=6), STEPS)
@settings(max_examples=400)
def test_every_piece_is_computed_once_whoever_comes_goes_and_interrupts(
    limits: Limits, waiting: list[Request], steps: list[str]
) -> None:
    run = Run(limits, waiting)
    for step in steps:
        run.step(step)
    while run.arrived < len(waiting):
        run.step("arrive")
    for _ in range(sum(len(request.pieces) for request in waiting) + 1):
        run.step("batch")
    assert run.running is None
    for request in waiting:
        if request.cancelled:
            assert len(request.computed) == len(set(request.computed))
        else:
            assert sorted(request.computed) == request.wanted()
            assert not request.kept


@given(LIMITS, st.lists(requests(), min_size=1, max_size=5))
@settings(max_examples=200)
def test_the_order_of_arrival_does_not_change_what_is_computed(limits: Limits, waiting: list[Request]) -> None:
    for order in (waiting, waiting[::-1]):
        queue = Schedule(limits)
        for number, request in enumerate(order):
            request.computed.clear()
            queue.add(number, request.pieces, request.tier, request.priority)
        while (turn := queue.next()) is not None:
            for take in turn.takes:
                order[take.number].computed += [i for i in take.batch.pieces if order[take.number].pieces[i].wanted]
        assert all(sorted(request.computed) == request.wanted() for request in order)
