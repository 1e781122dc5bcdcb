"""`gigarank embed`: the same reading, vectors as JSONL or as a NumPy file, in the order of the texts."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

import tiny
from gigarank import Embedder

Program = Callable[..., CompletedProcess[str]]

TEXTS = "one two\nthree\n"


def test_a_json_object_a_line_with_index_source_and_embedding(overlap: Program) -> None:
    done = overlap("embed", stdin=TEXTS)
    assert done.returncode == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"index": 0, "source": {"file": "-", "line": 1}, "embedding": [7.0, 2.0, 0.0]},
        {"index": 1, "source": {"file": "-", "line": 2}, "embedding": [5.0, 1.0, 0.0]},
    ]


def test_queries_and_dimensions(overlap: Program) -> None:
    as_query = overlap("embed", "--query", "--task", "Find", stdin=TEXTS)
    assert [json.loads(line)["embedding"][2] for line in as_query.stdout.splitlines()] == [1.0, 1.0]
    short = overlap("embed", "--dimensions", "1", stdin=TEXTS)
    assert [json.loads(line)["embedding"] for line in short.stdout.splitlines()] == [[7.0], [5.0]]


def test_a_numpy_file(overlap: Program, tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    done = overlap("embed", "--output", str(path), stdin=TEXTS)
    assert (done.returncode, done.stdout) == (0, "")
    vectors = np.load(path, allow_pickle=False)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[7.0, 2.0, 0.0], [5.0, 1.0, 0.0]]


def test_a_jsonl_file_holds_what_the_pipe_would(overlap: Program, tmp_path: Path) -> None:
    path = tmp_path / "vectors.jsonl"
    assert overlap("embed", "-o", str(path), stdin=TEXTS).stdout == ""
    assert path.read_text() == overlap("embed", stdin=TEXTS).stdout


@pytest.mark.parametrize("name", ["vectors.npy", "vectors.jsonl"])
def test_a_refused_input_leaves_the_old_file(overlap: Program, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("old")
    assert overlap("embed", "--format", "jsonl", "-o", str(path), stdin="no json\n").returncode == 2
    assert path.read_text() == "old"


def test_the_footer_says_what_was_made_and_quiet_drops_it(overlap: Program) -> None:
    first, second = overlap("embed", stdin=TEXTS).stderr.splitlines()
    assert first.startswith("lengths: 2 vectors of 3 dimensions in ")
    assert second == "fp32 on cpu: words are counted, not computed"
    assert overlap("embed", "-q", stdin=TEXTS).stderr == ""


AS_IN_THE_LIBRARY: list[tuple[list[str], str, dict[str, Any]]] = [
    ([], "documents", {}),
    (["--dimensions", "5"], "documents", {"dimensions": 5}),
    (["--query", "--task", "Find the same"], "queries", {"task": "Find the same"}),
]


@pytest.mark.parametrize(("more", "kind", "settings"), AS_IN_THE_LIBRARY)
def test_a_real_checkpoint_gives_what_the_library_gives(
    gigarank: Program, tmp_path: Path, more: list[str], kind: str, settings: dict[str, Any]
) -> None:
    tensors = tiny.tensors_of("qwen3").tensors
    save_file({name.removeprefix("model."): tensor for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(tiny.CONFIGS["qwen3"].to_json()))
    (tmp_path / "tokenizer.json").write_text(tiny.qwen_json())
    done = gigarank("embed", "--model", str(tmp_path), *more, stdin=TEXTS)
    asked: dict[str, Any] = {kind: TEXTS.splitlines(), **settings}
    expected = Embedder.load(tmp_path).embed(**asked)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["embedding"] for line in done.stdout.splitlines()] == expected.tolist()
