"""Memory is bounded by the token budget and the longest pair, not by the number of documents: weights + 2 GiB.

Each case runs in a process of its own at the 0.6B shape with fewer layers: what a forward holds does not depend on their
number, since no layer's keys and values outlive it, but for the shared prefix, which is counted in full below.
"""

import json
import os
import subprocess
import sys

import pytest

from gigarank.catalogue import RERANKER_0_6B

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")]  # noqa: PTH110

_RUN = """
import dataclasses, json, re, sys
from pathlib import Path
import torch
from gigarank.catalogue import RERANKER_0_6B
from gigarank.engine.loading import assemble
from gigarank.engine.numerics import choose_numerics
from gigarank.engine.plan import Piece
from gigarank.model.config import ModelConfig
from gigarank.model.weights import random_tensors
from gigarank.types import EngineOptions

layers, lengths = json.loads(sys.argv[1]), json.loads(sys.argv[2])
config = dataclasses.replace(ModelConfig.from_shape(RERANKER_0_6B.shape), num_hidden_layers=layers, vocab_size=1_000)
loaded = assemble("x", config, random_tensors(config), EngineOptions(), choose_numerics("cpu", "fp32"))

def status(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
pieces = [Piece(75, None, wanted=False)] + [Piece(length, 0) for length in lengths]
ids = [[index % 1_000] * piece.length for index, piece in enumerate(pieces)]
scored = sum(len(wanted) for wanted, hidden in loaded.runner.run(pieces, ids))
print(json.dumps({"scored": scored, "grown": status("VmHWM") - before}))
"""
GIB = 2**30


def grown(layers: int, lengths: list[int]) -> int:
    """Bytes that the process grew by over what it held with the weights loaded."""
    command = [sys.executable, "-c", _RUN, json.dumps(layers), json.dumps(lengths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["scored"] == len(lengths)
    return int(result["grown"])


def kept_bytes(layers: int) -> int:
    """What a kept prefix of 75 tokens takes over `layers` layers, in fp32."""
    return 75 * layers * 2 * RERANKER_0_6B.shape.num_key_value_heads * RERANKER_0_6B.shape.head_dim * 4


def test_one_pair_of_32768_tokens() -> None:
    assert grown(2, [32_768 - 75]) < 2 * GIB


def test_ten_thousand_documents() -> None:
    few, many = grown(2, [12] * 400), grown(2, [12] * 10_000)
    rest_of_the_layers = kept_bytes(RERANKER_0_6B.shape.num_hidden_layers) - kept_bytes(2)
    assert many + rest_of_the_layers < 2 * GIB
    assert many - few < GIB // 8
