"""The planner, over random requests: every wanted piece once, contexts at hand, budgets kept, prefixes shared."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gigarank.engine.plan import Limits, Piece, ancestors, make_plan


@st.composite
def requests(draw: st.DrawFn) -> list[Piece]:
    """Roots, queries under them, documents under those, in an order as a request could have."""
    pieces: list[Piece] = []
    lengths = st.integers(1, 60)
    for _ in range(draw(st.integers(1, 3))):
        pieces.append(Piece(draw(lengths), None, wanted=False))
        root = len(pieces) - 1
        for _ in range(draw(st.integers(1, 3))):
            pieces.append(Piece(draw(lengths), root, wanted=False))
            query = len(pieces) - 1
            pieces += [Piece(length, query) for length in draw(st.lists(lengths, max_size=6))]
    return pieces + [Piece(length) for length in draw(st.lists(lengths, max_size=4))]


LIMITS = st.builds(Limits, st.integers(1, 200), st.integers(0, 100))


@given(requests(), LIMITS)
@settings(max_examples=400)
def test_every_wanted_piece_is_computed_once(pieces: list[Piece], limits: Limits) -> None:
    computed = [index for batch in make_plan(pieces, limits) for index in batch.pieces if pieces[index].wanted]
    assert sorted(computed) == [index for index, piece in enumerate(pieces) if piece.wanted]


@given(requests(), LIMITS)
@settings(max_examples=400)
def test_a_context_is_before_its_piece_or_kept(pieces: list[Piece], limits: Limits) -> None:
    kept: set[int] = set()
    for batch in make_plan(pieces, limits):
        seen = set(kept)
        for index in batch.pieces:
            assert set(ancestors(pieces, index)) <= seen
            assert index not in seen
            seen.add(index)
        assert batch.release <= kept
        assert batch.keep <= set(batch.pieces)
        kept = (kept - batch.release) | batch.keep
    assert not kept


@given(requests(), LIMITS)
@settings(max_examples=400)
def test_budgets_are_kept_unless_one_piece_alone_exceeds_them(pieces: list[Piece], limits: Limits) -> None:
    kept: set[int] = set()
    for batch in make_plan(pieces, limits):
        wanted = [index for index in batch.pieces if pieces[index].wanted]
        assert sum(pieces[index].length for index in batch.pieces) <= limits.batch_tokens or len(wanted) == 1
        kept = (kept - batch.release) | batch.keep
        assert sum(pieces[index].length for index in kept) <= limits.kept_tokens


@given(requests(), st.integers(1, 200))
@settings(max_examples=200)
def test_with_room_to_keep_no_prefix_is_computed_twice(pieces: list[Piece], batch_tokens: int) -> None:
    plan = make_plan(pieces, Limits(batch_tokens, kept_tokens=10_000))
    computed = [index for batch in plan for index in batch.pieces]
    assert len(computed) == len(set(computed))


@given(requests(), LIMITS)
@settings(max_examples=200)
def test_the_order_of_documents_does_not_change_what_is_computed_together(pieces: list[Piece], limits: Limits) -> None:
    """Batches hold the same lengths whichever order equal queries' documents arrive in."""
    last = len(pieces) - 1
    flipped = list(pieces)
    if last > 0 and pieces[last].wanted and pieces[last - 1].wanted and pieces[last].parent == pieces[last - 1].parent:
        flipped[last], flipped[last - 1] = pieces[last - 1], pieces[last]
    shapes = [[sorted(p[i].length for i in batch.pieces) for batch in make_plan(p, limits)] for p in (pieces, flipped)]
    assert shapes[0] == shapes[1]


def test_nothing_wanted_plans_nothing() -> None:
    assert make_plan([Piece(5, None, wanted=False)], Limits(10, 10)) == []


def test_documents_of_a_query_stand_together_long_ones_first() -> None:
    pieces = [Piece(2, None, wanted=False), Piece(1, 0, wanted=False), Piece(1, 0, wanted=False)]
    pieces += [Piece(3, 1), Piece(4, 2), Piece(9, 1)]
    (batch,) = make_plan(pieces, Limits(100, 100))
    assert batch.pieces == (0, 1, 5, 3, 2, 4)


def test_a_shared_prefix_that_is_too_long_to_keep_comes_again() -> None:
    pieces = [Piece(8, None, wanted=False), Piece(5, 0), Piece(5, 0)]
    plan = make_plan(pieces, Limits(batch_tokens=14, kept_tokens=7))
    assert [batch.pieces for batch in plan] == [(0, 1), (0, 2)]
    kept = make_plan(pieces, Limits(batch_tokens=14, kept_tokens=8))
    assert [batch.pieces for batch in kept] == [(0, 1), (2,)]
    assert kept[0].keep == {0} == kept[1].release
