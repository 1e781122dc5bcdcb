"""A part of a request that travels: what is shared is in it once, and computed elsewhere it gives what the whole gives."""

import math
from array import array
from collections.abc import Iterator

import pytest

from gigarank.engine.plan import Piece
from gigarank.engine.portion import Portion, portion
from gigarank.engine.request import Encoded, Reads, encode
from gigarank.engine.worker import Worker
from gigarank.errors import InvalidInput
from gigarank.types import Pair
from tiny import reranker

MODEL = reranker()
PAIRS = [Pair("which planet is red", text) for text in ("Mars is red.", "Venus is bright.", "a cake")]
PAIRS += [Pair("cake", text, "Find recipes") for text in ("a cake " * 30, "a car")]


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(MODEL)
    yield made
    made.close()


def tokens(*lengths_and_parents: tuple[int, int | None]) -> Encoded:
    """Pieces of so many tokens, each a number of its own; whoever is no parent is wanted."""
    parents = {parent for _, parent in lengths_and_parents}
    made = Encoded()
    for place, (length, parent) in enumerate(lengths_and_parents):
        made.pieces.append(Piece(length, parent, wanted=place not in parents))
        made.ids.append([place] * length)
    return made


class TestAPortion:
    SHARED = tokens((4, None), (3, 0), (2, 1), (5, 1), (1, 0), (6, 4))

    def test_holds_once_what_its_pieces_share(self) -> None:
        made = portion(self.SHARED, [2, 3])
        assert [list(ids) for ids in made.ids] == [[0] * 4, [1] * 3, [2] * 2, [3] * 5]
        assert (made.parents, made.wanted, made.tokens) == ((None, 0, 1, 1), (2, 3), 14)

    def test_holds_nothing_of_pieces_that_are_elsewhere(self) -> None:
        made = portion(self.SHARED, [5])
        assert [list(ids) for ids in made.ids] == [[0] * 4, [4], [5] * 6]
        assert (made.parents, made.wanted) == ((None, 0, 1), (2,))

    def test_keeps_the_order_that_was_asked(self) -> None:
        assert portion(self.SHARED, [5, 2]).wanted == (2, 4)

    def test_travels_in_four_bytes_a_token(self) -> None:
        assert all(isinstance(ids, array) and ids.itemsize == 4 for ids in portion(self.SHARED, [2]).ids)


class TestAWorker:
    def test_gives_bitwise_the_logits_of_the_whole(self, worker: Worker) -> None:
        encoded = encode(PAIRS, MODEL.tokenizer, Reads())
        readings = list(encoded.readings)
        expected = [score.logit for score in MODEL.score(PAIRS)]
        for groups in ([readings], [readings[:2], readings[2:]], [[piece] for piece in readings], [readings[::-1]]):
            found: dict[int, float] = {}
            for group in groups:
                found.update(zip(group, worker.logits(portion(encoded, group)).future.result(30.0), strict=True))
            assert [found[piece] for piece in readings] == expected

    def test_gives_nothing_for_nothing(self, worker: Worker) -> None:
        assert worker.logits(Portion((), (), ())).future.result(30.0) == []

    def test_tells_a_logit_that_is_no_number(self) -> None:
        broken = reranker()
        broken.answer = broken.answer * math.nan
        made = Worker(broken)
        try:
            encoded = encode(PAIRS, broken.tokenizer, Reads())
            found = made.logits(portion(encoded, list(encoded.readings))).future.result(30.0)
        finally:
            made.close()
        assert len(found) == len(PAIRS) and all(map(math.isnan, found))

    @pytest.mark.parametrize(
        ("asked", "what"),
        [
            (Portion(([1, 2], [3]), (None, 1), (1,)), r"portion\[1\].parent"),
            (Portion(([1, 2], [3]), (None, -1), (1,)), r"portion\[1\].parent"),
            (Portion(([],), (None,), (0,)), r"portion\[0\].ids"),
            (Portion(([1, -1],), (None,), (0,)), r"portion\[0\].ids"),
            (Portion(([MODEL.config.vocab_size],), (None,), (0,)), rf"at most {MODEL.config.vocab_size}"),
            (Portion(([1] * 5_000, [1] * 5_000), (None, 0), (1,)), f"received {10_000}"),
            (Portion(([1], [2], [3]), (None, 0, 0), (1,)), "portion.wanted"),
            (Portion(([1], [2]), (None, 0), (0, 1)), "portion.wanted"),
        ],
    )
    def test_refuses_what_is_no_portion_of_its_model_s(self, worker: Worker, asked: Portion, what: str) -> None:
        with pytest.raises(InvalidInput, match=what) as caught:
            worker.logits(asked)
        assert caught.value.param == "portion"
