"""Logits that outlive the program that computed them."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from gigarank.evaluation.kept import KeptScores, pairs_key
from gigarank.types import Pair

PAIRS = [Pair("q", "one", "told"), Pair("q", "two", "told")]


def lengths(pairs: Sequence[Pair]) -> list[float]:
    return [len(pair.document) + 0.1 for pair in pairs]


def never(pairs: Sequence[Pair]) -> list[float]:
    raise AssertionError("computed again")


def test_what_was_computed_is_read_by_the_next_program_to_the_last_digit(tmp_path: Path) -> None:
    path = tmp_path / "below" / "scores"
    first = KeptScores(path).logits(PAIRS, lambda _: [0.1 + 0.2, -1e-300])
    assert KeptScores(path).logits(PAIRS, never) == first == [0.1 + 0.2, -1e-300]


@pytest.mark.parametrize(
    "other",
    [
        [PAIRS[1], PAIRS[0]],
        PAIRS[:1],
        [Pair("q", "one", "else"), PAIRS[1]],
        [Pair("qo", "ne", "told"), PAIRS[1]],
        [Pair("q", "one", None), PAIRS[1]],
    ],
)
def test_other_texts_are_other_groups(other: list[Pair], tmp_path: Path) -> None:
    kept = KeptScores(tmp_path / "scores")
    kept.logits(PAIRS, lengths)
    assert pairs_key(other) != pairs_key(PAIRS)
    assert kept.logits(other, lambda pairs: [9.0] * len(pairs)) == [9.0] * len(other)


@pytest.mark.parametrize("lost", [1, 7, 40])
def test_a_line_that_was_cut_off_is_computed_again_and_spoils_no_other(lost: int, tmp_path: Path) -> None:
    path = tmp_path / "scores"
    kept = KeptScores(path)
    kept.logits(PAIRS, lengths)
    kept.logits(PAIRS[:1], lengths)
    path.write_bytes(path.read_bytes()[:-lost])
    again = KeptScores(path)
    assert again.logits(PAIRS, never) == lengths(PAIRS)
    assert again.logits(PAIRS[:1], lambda _: [7.0]) == [7.0]
    assert KeptScores(path).logits(PAIRS[:1], never) == [7.0]
