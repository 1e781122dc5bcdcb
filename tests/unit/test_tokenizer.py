"""The tokenizer: special tokens only where templates put them, the truncation rule, windows, errors, both cores."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny
from gigarank.engine.tokenizer import Part, PromptTokenizer, TextTokenizer, cut, windows
from gigarank.errors import CheckpointError, InvalidInput, QueryTooLong
from gigarank.prompt import QWEN3_V1, PromptFormat

_BUSY_THREADS = """
import os, pathlib, sys, tiny
text = tiny.qwen_text()
text.plain(["The quick brown fox jumps over the lazy dog, said nobody. " * 60] * 1000, "documents")
ticks = [sum(map(int, (task / "stat").read_text().rsplit(") ", 1)[1].split()[11:13]))
         for task in pathlib.Path("/proc/self/task").iterdir() if task.name != str(os.getpid())]
print(*sorted(ticks, reverse=True))
"""


def test_template_text_has_special_tokens_and_user_text_has_none() -> None:
    text = tiny.qwen_text()
    assert text.template("<|im_end|><think>") == [151645, 151667]
    (ids,) = text.plain(["<|im_end|><think>"], "documents")
    assert max(ids) < 151_643
    assert text._plain.decode(ids, skip_special_tokens=False) == "<|im_end|><think>"


@pytest.mark.skipif(not os.path.isdir("/proc/self/task") or (os.cpu_count() or 1) < 2, reason="needs Linux and two cores")  # noqa: PTH112
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this process may use one core only")
def test_a_thousand_documents_are_tokenised_on_more_than_one_core() -> None:
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(tiny.__file__)}  # noqa: PTH120
    done = subprocess.run([sys.executable, "-c", _BUSY_THREADS], capture_output=True, text=True, env=environment, check=True)
    busiest = [int(ticks) for ticks in done.stdout.split()]
    assert busiest[0] > 0
    assert busiest[1] >= 0.3 * busiest[0], busiest


@pytest.mark.parametrize("word", ["yes and no", ""])
def test_an_answer_must_be_one_token(word: str) -> None:
    with pytest.raises(CheckpointError, match="but the prompt format needs it to be one"):
        PromptTokenizer(tiny.qwen_text(), PromptFormat("x", "a", "b", yes=word), 100)


def test_a_lone_surrogate_is_named_with_its_place() -> None:
    with pytest.raises(InvalidInput, match=r"documents\[1\]: not valid Unicode, a lone surrogate at character 2") as caught:
        tiny.qwen_text().plain(["fine", "ab\ud800"], "documents")
    assert caught.value.param == "documents[1]"


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"model": 1}', "null"])
def test_a_broken_tokenizer_file_is_a_checkpoint_error(broken: str) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: cannot be read"):
        TextTokenizer(broken)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: cannot be read"):
        TextTokenizer.from_folder(tmp_path)


def test_truncation_and_padding_saved_in_the_file_are_switched_off() -> None:
    raw = json.loads(tiny.qwen_json())
    raw["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    raw["padding"] = {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0,
                      "pad_type_id": 0, "pad_token": "!"}  # fmt: skip
    text = TextTokenizer(json.dumps(raw))
    assert len(text.plain(["one two three four five six seven"], "documents")[0]) == 7
    assert len(text.template("one")) == 1


def test_room_is_what_the_template_leaves_and_an_error_says_the_numbers() -> None:
    tokenizer = PromptTokenizer(tiny.qwen_text(), QWEN3_V1, 100)
    assert tokenizer.room(80) == 100 - 80 - 9
    assert tokenizer.room(90) == 1
    with pytest.raises(QueryTooLong, match=r"take 100 tokens, which leaves no room .* limit of 100 tokens") as caught:
        tokenizer.room(91)
    assert (caught.value.limit, caught.value.received, caught.value.param) == (100, 100, "query")


@pytest.mark.parametrize(("length", "room", "stop"), [(5, 10, 5), (10, 10, 10), (11, 10, 10), (1, 1, 1)])
def test_the_end_of_a_document_is_cut(length: int, room: int, stop: int) -> None:
    assert cut(length, room) == [Part(0, stop)]


def test_windows_by_hand() -> None:
    assert windows(25, 10, 2, None) == [Part(0, 10), Part(8, 18), Part(16, 25)]
    assert windows(25, 10, 2, 2) == [Part(0, 10), Part(8, 18)]
    assert windows(10, 10, 5, None) == windows(10, 10, 256, None) == [Part(0, 10)]
    with pytest.raises(InvalidInput, match=r"overlap_tokens: 6 must be at most half a window, which holds 10"):
        windows(25, 10, 6, None)


@given(st.integers(1, 500), st.integers(2, 60), st.data())
def test_windows_cover_the_document_and_overlap(length: int, room: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, room // 2))
    parts = windows(length, room, overlap, None)
    assert sum(part.stop - part.start for part in parts) <= 2 * length + room
    assert parts[0].start == 0
    assert parts[-1].stop == length
    assert all(part.stop - part.start <= room for part in parts)
    for left, right in pairwise(parts):
        assert left.stop - right.start == overlap
        assert left.stop - left.start == room
