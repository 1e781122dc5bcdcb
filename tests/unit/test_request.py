"""From pairs to pieces: what is shared becomes one piece, and documents are encoded a portion at a time."""

import pytest

import tiny
from gigarank.engine import request
from gigarank.engine.plan import ancestors
from gigarank.engine.request import Encoded, Reads, encode
from gigarank.engine.tokenizer import PromptTokenizer
from gigarank.errors import InvalidInput
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


def test_limits_cut_documents_before_windows_are_made(tokenizer: PromptTokenizer) -> None:
    pairs = [Pair("a?", "word " * 200)]
    (cut,) = encode(pairs, tokenizer, Reads(max_document_tokens=7)).readings.values()
    assert (cut.part.start, cut.part.stop, cut.truncated) == (0, 7, True)
    readings = list(encode(pairs, tokenizer, Reads(Windows(overlap_tokens=4), max_document_tokens=60)).readings.values())
    assert len(readings) > 1
    assert readings[-1].part.stop == 60
    assert all(reading.truncated for reading in readings)


@pytest.mark.parametrize(
    ("reads", "limit"),
    [
        (Reads(truncate=False, max_document_tokens=5), 5),
        (Reads(Windows(4, 1), truncate=False), None),
        (Reads(truncate=False), None),
    ],
)
def test_what_may_not_be_cut_fails_alone(tokenizer: PromptTokenizer, reads: Reads, limit: int | None) -> None:
    encoded = encode([Pair("a?", "x"), Pair("a?", "word " * 200)], tokenizer, reads, numbers=[4, 0])
    assert [reading.pair for reading in encoded.readings.values()] == [0]
    (error,) = encoded.failures.values()
    assert (error.param, error.received) == ("documents[0]", 201)
    assert error.limit == (limit or tokenizer.room(sum(piece.length for piece in encoded.pieces if not piece.wanted)))


def test_windows_that_reach_the_end_cut_nothing(tokenizer: PromptTokenizer) -> None:
    encoded = encode([Pair("a?", "word " * 200)], tokenizer, Reads(Windows(4), truncate=False))
    assert not encoded.failures
    assert len(encoded.readings) > 1


def test_documents_that_are_not_unicode_fail_alone_and_a_query_does_not(tokenizer: PromptTokenizer) -> None:
    encoded = encode([Pair("a?", "x\udfff"), Pair("a?", "y")], tokenizer, Reads())
    assert [error.param for error in encoded.failures.values()] == ["documents[0]"]
    assert [reading.pair for reading in encoded.readings.values()] == [1]
    with pytest.raises(InvalidInput, match=r"query\[0\]: not valid Unicode"):
        encode([Pair("a\udfff", "x")], tokenizer, Reads())


def test_a_cut_query_keeps_the_label_of_the_document(tokenizer: PromptTokenizer) -> None:
    pairs = [Pair("one two three four", "x"), Pair("one two", "x")]
    encoded = encode(pairs, tokenizer, Reads(max_query_tokens=2))
    cut, whole = encoded.readings.values()
    assert (cut.truncated, whole.truncated) == (True, False)
    assert prompts(encoded)[0] == prompts(encoded)[1] == tiny.card_ids(QWEN3_V1, None, "one two", "x", 100)


def test_usage_counts_only_what_was_computed(tokenizer: PromptTokenizer) -> None:
    encoded = encode([Pair("a?", "x y"), Pair("b?", "z")], tokenizer, Reads())
    whole = encoded.usage(len(tokenizer.suffix_ids))
    assert (whole.documents, whole.document_tokens) == (2, 3)
    root, first, _, document, _ = range(5)
    part = encoded.usage(len(tokenizer.suffix_ids), {root, first, document})
    prefix = encoded.pieces[root].length + encoded.pieces[first].length
    assert (part.documents, part.prefix_tokens, part.document_tokens) == (1, prefix, 2)
    assert part.total_tokens == prefix + encoded.pieces[document].length
    assert encoded.usage(5, ()).total_tokens == 0
