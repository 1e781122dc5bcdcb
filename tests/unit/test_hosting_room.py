"""Who sleeps for whom, and what is refused from the start: integers only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gigarank.errors import InvalidInput
from gigarank.service.hosting.room import Demand, Resident, require_room, to_sleep

RESIDENTS = [
    Resident("young", 30, 9.0, True),
    Resident("old", 30, 1.0, True),
    Resident("pinned", 30, 0.0, False),
]


@pytest.mark.parametrize(
    ("needed", "expected"),
    [(10, []), (11, ["old"]), (40, ["old"]), (41, ["old", "young"]), (70, ["old", "young"]), (71, None)],
)
def test_as_few_sleep_as_it_takes_longest_unused_first(needed: int, expected: list[str] | None) -> None:
    assert to_sleep(RESIDENTS, needed, 100) == expected


residents = st.lists(st.builds(Resident, st.uuids().map(str), st.integers(1, 50), st.floats(0, 100), st.booleans()), max_size=8)


@given(residents, st.integers(1, 100), st.integers(1, 200))
def test_what_is_chosen_fits_and_no_less_would_do(held: list[Resident], needed: int, budget: int) -> None:
    chosen = to_sleep(held, needed, budget)
    left = sum(one.memory_bytes for one in held if not one.may_sleep)
    if chosen is None:
        assert left + needed > budget
        return
    by_name = {one.name: one for one in held}
    assert all(by_name[name].may_sleep for name in chosen)
    awake = sum(one.memory_bytes for one in held if one.name not in chosen)
    assert awake + needed <= budget
    if chosen:
        assert awake + by_name[chosen[-1]].memory_bytes + needed > budget
        latest = by_name[chosen[-1]].last_used
        assert all(one.last_used >= latest for one in held if one.may_sleep and one.name not in chosen)


def test_demands_that_fit_beside_the_pinned_ones_pass() -> None:
    require_room([Demand("p", 40, True), Demand("x", 60, False), Demand("y", 60, False)], 100)


@pytest.mark.parametrize(
    ("demands", "said"),
    [
        ([Demand("x", 101, False)], "x takes 101 bytes of memory and the pinned models beside it 0: 101 of a budget of 100"),
        ([Demand("p", 50, True), Demand("x", 51, False)], "x takes 51 bytes of memory and the pinned models beside it 50: 101"),
        ([Demand("p", 51, True), Demand("q", 51, True)], "p takes 51 bytes of memory and the pinned models beside it 51: 102"),
    ],
)
def test_what_can_never_fit_is_refused_with_the_numbers(demands: list[Demand], said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        require_room(demands, 100)
    assert caught.value.param == "memory_bytes"
    assert caught.value.limit == 100
