"""From pairs to pieces: what is shared becomes one piece, and documents are encoded a portion at a time."""

import pytest

import tiny
from gigarank.engine import request
from gigarank.engine.plan import ancestors
from gigarank.engine.request import Encoded, Reads, encode
from gigarank.engine.tokenizer import PromptTokenizer
from gigarank.prompt import QWEN3_V1
from gigarank.types import Pair, Windows


@pytest.fixture(scope="module")
def tokenizer() -> PromptTokenizer:
    return PromptTokenizer(tiny.qwen_text(), QWEN3_V1, 100)


def prompts(encoded: Encoded) -> list[list[int]]:
    """The whole prompt of every reading, put together again."""
    return [
        [token for piece in (*ancestors(encoded.pieces, index), index) for token in encoded.ids[piece]]
        for index in encoded.readings
    ]


def test_pieces_add_up_to_the_model_cards_prompts(tokenizer: PromptTokenizer) -> None:
    pairs = [Pair("a?", "x"), Pair("b?", "y"), Pair("a?", "z", "Find code"), Pair("a?", "word " * 200)]
    wanted = [tiny.card_ids(QWEN3_V1, pair.instruction, pair.query, pair.document, 100) for pair in pairs]
    assert prompts(encode(pairs, tokenizer, Reads())) == wanted


def test_an_instruction_and_a_query_are_one_piece_each(tokenizer: PromptTokenizer) -> None:
    pairs = [Pair(query, str(number)) for number in range(5) for query in ("a?", "b?")]
    encoded = encode(pairs, tokenizer, Reads())
    shared = [piece for piece in encoded.pieces if not piece.wanted]
    assert [piece.parent for piece in shared] == [None, 0, 0]
    assert len(encoded.pieces) == 3 + 10


def test_readings_know_their_pair_and_their_window(tokenizer: PromptTokenizer) -> None:
    encoded = encode([Pair("a?", "x"), Pair("a?", "word " * 60)], tokenizer, Reads(Windows(overlap_tokens=4)))
    first, *rest = encoded.readings.values()
    assert (first.pair, first.window, first.truncated) == (0, None, False)
    assert {reading.pair for reading in rest} == {1}
    assert [reading.window.index for reading in rest if reading.window] == list(range(len(rest)))


@pytest.mark.parametrize("characters", [1, 7, 10_000])
def test_portions_change_nothing(tokenizer: PromptTokenizer, characters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [Pair("a?", "word " * length) for length in (3, 0, 1, 9, 2)]
    wanted = encode(pairs, tokenizer, Reads())
    monkeypatch.setattr(request, "_PORTION_CHARACTERS", characters)
    got = encode(pairs, tokenizer, Reads())
    assert (got.pieces, got.readings, prompts(got)) == (wanted.pieces, wanted.readings, prompts(wanted))


def test_portions_hold_what_fits_and_a_longer_document_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "_PORTION_CHARACTERS", 10)
    pairs = [Pair("q", "x" * length) for length in (4, 6, 1, 50, 3)]
    assert [list(portion) for portion in request._portions(pairs)] == [[0, 1], [2], [3], [4]]
    assert [list(portion) for portion in request._portions([])] == [[]]
