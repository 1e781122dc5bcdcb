"""How parts become one batch: keys, positions, and what several requests begin with alike, laid out once."""

import torch

import tiny
from gigarank.engine.batch import Part, pack, shared
from gigarank.engine.plan import Batch, Piece
from gigarank.model.packed import PackedBatch

CPU = torch.device("cpu")
PIECES = (Piece(3, None, wanted=False), Piece(2, 0, wanted=False), Piece(2, 1), Piece(1, 1))
"""An instruction, a query behind it, and two documents behind both."""


def part(
    query: int, *, instruction: int = 7, pieces: tuple[int, ...] = (0, 1, 2, 3), keep: frozenset[int] = frozenset()
) -> Part:
    ids = [[instruction] * 3, [query] * 2, [20, 21], [22]]
    return Part(Batch(pieces, keep, frozenset()), PIECES, ids, {})


def laid(batch: PackedBatch) -> list[tuple[int, int, tuple[int, ...]]]:
    return [(segment.key, segment.length, segment.context) for segment in batch.segments]


def test_one_part_is_laid_out_as_it_is() -> None:
    batch = pack([part(8)], CPU)
    assert laid(batch) == [(0, 3, ()), (1, 2, (0,)), (2, 2, (0, 1)), (3, 1, (0, 1))]
    assert batch.ids.tolist()[:8] == [7, 7, 7, 8, 8, 20, 21, 22]
    assert batch.positions.tolist()[:8] == [0, 1, 2, 3, 4, 5, 6, 5]
    assert batch.outputs.tolist() == [6, 7]
    assert len(batch.ids) % 16 == 0


def test_a_common_instruction_is_laid_out_once() -> None:
    batch = pack([part(8), part(9)], CPU)
    assert laid(batch)[4:] == [(5, 2, (0,)), (6, 2, (0, 5)), (7, 1, (0, 5))]
    assert batch.positions.tolist()[8:13] == [3, 4, 5, 6, 5]
    assert batch.outputs.tolist() == [6, 7, 11, 12]


def test_the_same_query_too_but_never_a_document() -> None:
    batch = pack([part(8), part(8), part(8)], CPU)
    assert shared([part(8), part(8), part(8)]) == {4: 0, 5: 1, 8: 0, 9: 1}
    assert laid(batch)[4:] == [(key, length, (0, 1)) for key, length in ((6, 2), (7, 1), (10, 2), (11, 1))]


def test_the_same_query_behind_another_instruction_is_another_one() -> None:
    assert shared([part(8), part(8, instruction=6)]) == {}


def test_a_piece_whose_beginning_was_kept_from_before_is_its_own() -> None:
    """What stands before it is in another batch: that it is the same is not known here."""
    assert shared([part(8), part(8, pieces=(1, 2))]) == {}


def test_whoever_keeps_a_shared_piece_it_is_kept() -> None:
    assert pack([part(8), part(9, keep=frozenset({0, 1}))], CPU).keep == {0, 5}


def test_every_part_finds_what_it_keeps_and_goes_on_from_it() -> None:
    """Two requests whose instruction is shared in the first batch, and their second documents in batches of their own:
    the hidden states are those of each request alone, bitwise."""
    runner = tiny.reranker("qwen3", "fp32").runner
    alone = [torch.cat(runner.compute([part(query)])) for query in (8, 9)]
    firsts = [part(query, pieces=(0, 1, 2), keep=frozenset({0, 1})) for query in (8, 9)]
    first = runner.compute(firsts)
    for query, done, before, expected in zip((8, 9), first, firsts, alone, strict=True):
        rest = Part(Batch((3,), frozenset(), frozenset({0, 1})), PIECES, part(query).ids, before.kept)
        assert torch.equal(torch.cat((done, *runner.compute([rest]))), expected)
        assert before.kept == {}


def test_what_one_request_releases_stays_with_the_other() -> None:
    runner = tiny.reranker("qwen3", "fp32").runner
    parts = [part(query, pieces=(0, 1, 2), keep=frozenset({0})) for query in (8, 9)]
    runner.compute(parts)
    del parts[0].kept[0]
    assert [sorted(each.kept) for each in parts] == [[], [0]]
