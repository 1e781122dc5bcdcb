"""Whose turn it is: tiers, priorities, who was served least, who is nearly done, and who may interrupt whom."""

import pytest

from gigarank.engine.plan import Limits, Piece
from gigarank.engine.schedule import Schedule, Turn


def request(documents: int, length: int, prefix: int = 10) -> list[Piece]:
    return [Piece(prefix, None, wanted=False)] + [Piece(length, 0)] * documents


def schedule(batch_tokens: int = 1_000, kept_tokens: int = 500) -> Schedule:
    return Schedule(Limits(batch_tokens, kept_tokens))


def shares(turn: Turn | None) -> dict[int, int]:
    """Tokens by request."""
    assert turn is not None
    return {take.number: take.tokens for take in turn.takes}


def drain(queue: Schedule, most: int = 1_000) -> list[dict[int, int]]:
    turns = []
    while (turn := queue.next()) is not None:
        turns.append(shares(turn))
        assert len(turns) < most
    return turns


def test_small_requests_share_one_batch() -> None:
    queue = schedule()
    for number in range(4):
        queue.add(number, request(5, 20))
    assert drain(queue) == [{0: 110, 1: 110, 2: 110, 3: 110}]
    assert queue.next() is None


def test_a_request_without_wanted_pieces_is_not_kept() -> None:
    queue = schedule()
    queue.add(0, [Piece(5, None, wanted=False)])
    assert 0 not in queue
    assert queue.left_tokens(0) == 0


def test_who_was_served_least_goes_first_and_a_large_one_fills_at_most_as_much() -> None:
    queue = schedule()
    queue.add(0, request(1_000, 99))
    assert shares(queue.next()) == {0: 10 + 99 * 10}
    queue.add(1, request(5, 38))
    assert shares(queue.next()) == {1: 200, 0: 198}
    assert shares(queue.next()) == {0: 99 * 10}


def test_of_two_large_requests_the_newcomer_catches_up_though_it_has_more_left() -> None:
    queue = schedule(100)
    queue.add(0, request(20, 90))
    assert [shares(queue.next()) for _ in range(3)] == [{0: 100}, {0: 90}, {0: 90}]
    queue.add(1, request(40, 90))
    assert [set(shares(queue.next())) for _ in range(6)] == [{1}, {1}, {1}, {0}, {1}, {0}]


def test_the_end_of_a_larger_request_fills_as_its_middle_does() -> None:
    queue = schedule()
    queue.add(0, request(70, 10))
    queue.add(1, request(5, 10))
    assert shares(queue.next()) == {1: 60, 0: 60}


def test_requests_of_about_one_size_are_computed_whole_together() -> None:
    queue = schedule()
    queue.add(0, request(5, 30))
    queue.add(1, request(5, 60))
    assert shares(queue.next()) == {0: 160, 1: 310}


def test_priority_goes_before_who_came_first() -> None:
    queue = schedule(100)
    queue.add(0, request(3, 80))
    queue.add(1, request(3, 80), priority=-1)
    queue.add(2, request(3, 80), priority=1)
    assert [next(iter(turn)) for turn in drain(queue)] == [1, 1, 1, 0, 0, 0, 2, 2, 2]


def test_the_batch_tier_waits_until_nothing_else_does_whatever_its_priority() -> None:
    queue = schedule()
    queue.add(0, request(3, 80), tier="batch", priority=-100)
    queue.add(1, request(30, 80), priority=100)
    turns = drain(queue)
    assert [set(turn) for turn in turns] == [{1}, {1}, {1}, {0}]


def test_a_low_priority_rises_while_it_is_not_served() -> None:
    """A priority for every 8 batches of others: the third lifts it above the others'; then it waits anew."""
    queue = schedule(100)
    queue.add(0, request(50, 80), priority=2)
    served = []
    for number in range(1, 60):
        queue.add(number, request(1, 90))
        served.append(0 in shares(queue.next()))
    assert [index for index, was in enumerate(served) if was] == [24, 49]


def test_among_similar_requests_the_slightly_larger_one_is_not_overtaken_for_long() -> None:
    """As with clients that ask again as soon as they are answered: there is always a smaller one that just came."""
    queue = schedule(300)
    queue.add(0, request(1, 110))
    for number in range(1, 30):
        queue.add(number, request(1, 90))
        queue.add(100 + number, request(1, 90))
        queue.add(200 + number, request(1, 90))
        if 0 in shares(queue.next()):
            break
    assert number <= 2


def test_a_large_request_is_served_however_many_small_ones_come() -> None:
    queue = schedule(100)
    queue.add(0, request(1_000, 80))
    got = 0
    for number in range(1, 200):
        queue.add(number, request(1, 90))
        got += shares(queue.next()).get(0, 0)
    assert got >= 199 * 100 // 20


def test_what_was_removed_never_comes() -> None:
    queue = schedule(100)
    queue.add(0, request(5, 80))
    queue.add(1, request(5, 80))
    first = shares(queue.next())
    assert first == {0: 90}
    queue.remove(0)
    queue.remove(7)
    assert [set(turn) for turn in drain(queue)] == [{1}] * 5


def test_prefixes_that_are_kept_share_one_budget() -> None:
    queue = schedule(100, kept_tokens=15)
    queue.add(0, request(3, 80))
    queue.add(1, request(3, 80), priority=-1)
    (first,) = (queue.next() or pytest.fail()).takes
    assert (first.number, first.batch.keep) == (1, frozenset({0}))
    queue.add(2, request(2, 80), priority=-2)
    (second,) = (queue.next() or pytest.fail()).takes
    assert (second.number, second.batch.keep) == (2, frozenset())  # request 1 holds 10 of the 15
    (third,) = (queue.next() or pytest.fail()).takes
    assert third.batch.pieces[0] == 0  # so its prefix comes again


def test_what_a_removed_request_kept_is_free_again() -> None:
    queue = schedule(100, kept_tokens=15)
    queue.add(0, request(3, 80))
    assert (queue.next() or pytest.fail()).takes[0].batch.keep == {0}
    queue.remove(0)
    queue.add(1, request(3, 80))
    assert (queue.next() or pytest.fail()).takes[0].batch.keep == {0}


class TestInterruption:
    """What may run in the pause of a running batch."""

    @pytest.fixture
    def queue(self) -> Schedule:
        """A large request with priority 0 is first."""
        queue = schedule()
        queue.add(0, request(1_000, 99))
        return queue

    def running(self, queue: Schedule) -> Turn:
        turn = queue.next()
        assert turn is not None
        return turn

    def test_a_much_smaller_request_does_and_the_large_one_adds_nothing(self, queue: Schedule) -> None:
        running = self.running(queue)
        queue.add(1, request(5, 40))
        assert shares(queue.interruption(running, 0)) == {1: 210}
        assert queue.interruption(running, 210) is None

    def test_a_request_of_a_similar_size_does_not(self, queue: Schedule) -> None:
        running = self.running(queue)
        queue.add(1, request(300, 99))
        assert queue.interruption(running, 0) is None

    def test_together_no_more_than_the_batch_itself(self, queue: Schedule) -> None:
        running = self.running(queue)
        for number in range(1, 9):
            queue.add(number, request(5, 40))
        spent = 0
        while (turn := queue.interruption(running, spent)) is not None:
            spent += turn.tokens
        assert 0 < spent <= running.tokens
        assert any(number in queue for number in range(1, 9))

    def test_a_better_priority_does_whatever_its_size_but_within_the_bound(self, queue: Schedule) -> None:
        running = self.running(queue)
        queue.add(1, request(2_000, 99), priority=-1)
        turn = queue.interruption(running, 300)
        assert shares(turn) == {1: 10 + 99 * 6}

    def test_a_worse_priority_does_not_however_small(self, queue: Schedule) -> None:
        running = self.running(queue)
        queue.add(1, request(1, 5), priority=1)
        assert queue.interruption(running, 0) is None

    def test_the_default_tier_interrupts_the_batch_tier_without_a_bound(self) -> None:
        queue = schedule()
        queue.add(0, request(100, 99), tier="batch", priority=-5)
        running = self.running(queue)
        queue.add(1, request(100, 99), priority=5)
        spent = 0
        while (turn := queue.interruption(running, spent)) is not None:
            assert set(shares(turn)) == {1}
            spent += turn.tokens
        assert spent == 10 + 100 * 99

    def test_the_batch_tier_never_interrupts(self, queue: Schedule) -> None:
        running = self.running(queue)
        queue.add(1, request(1, 5), tier="batch", priority=-9)
        assert queue.interruption(running, 0) is None

    def test_an_aged_batch_can_be_interrupted_all_the_same(self) -> None:
        queue = schedule(100)
        queue.add(0, request(1_000, 80))
        number = 1
        queue.add(number, request(1, 90))
        while 0 not in shares(aged := queue.next()):
            number += 1
            queue.add(number, request(1, 90))
        queue.remove(number)
        queue.add(99, request(1, 5))
        assert aged is not None
        assert shares(queue.interruption(aged, 0)).keys() >= {99}


@pytest.mark.parametrize("documents", [1, 5, 12])
@pytest.mark.parametrize("length", [10, 35, 90, 200, 450])
def test_a_small_request_beside_a_large_one_takes_at_most_3_times_its_solo_work(documents: int, length: int) -> None:
    """In layers times tokens, of 28 layers, wherever in the large one's first three batches it arrives."""
    small, layers = request(documents, length, 70), 28
    alone = schedule(1_024, 2_048)
    alone.add(0, small)
    solo = layers * sum(sum(turn.values()) for turn in drain(alone))
    for arrival in range(1, 3 * layers, 5):
        assert _beside(request(1_000, length, 70), small, arrival, layers) <= 3 * solo


def _beside(large: list[Piece], small: list[Piece], arrival: int, layers: int) -> int:
    """Layers times tokens computed from the small request's arrival in layer number `arrival` until it is done."""
    queue = schedule(1_024, 2_048)
    queue.add(0, large)
    layer = work = 0
    while (turn := queue.next()) is not None:
        spent = 0
        for _ in range(layers):
            if layer >= arrival:
                work += turn.tokens
            layer += 1
            if layer == arrival:
                queue.add(1, small)
            while (urgent := queue.interruption(turn, spent)) is not None:
                spent += urgent.tokens
                work += urgent.tokens * layers
                if 1 not in queue:
                    return work
        if layer >= arrival and 1 not in queue:
            return work
    raise AssertionError
