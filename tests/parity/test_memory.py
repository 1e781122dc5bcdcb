"""Memory is bounded by the token budget and the longest pair, not by the number of documents: weights + 2 GiB.

Each test runs in a process of its own, from texts to scores, at the 0.6B shape with fewer layers: what a forward holds does
not depend on their number, since no layer's keys and values outlive it, but for the shared prefix, which is counted in full
below.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gigarank.catalogue import RERANKER_0_6B

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")]  # noqa: PTH110

_RUN = """
import dataclasses, json, re, sys
from pathlib import Path
import tiny
from gigarank.catalogue import RERANKER_0_6B
from gigarank.engine.loading import assemble
from gigarank.engine.numerics import choose_numerics
from gigarank.engine.reranker import Reranker
from gigarank.engine.tokenizer import PromptTokenizer
from gigarank.model.config import ModelConfig
from gigarank.model.weights import random_tensors
from gigarank.prompt import QWEN3_V1
from gigarank.types import EngineOptions

words, limit, *counts = map(int, sys.argv[1:])
config = dataclasses.replace(ModelConfig.from_shape(RERANKER_0_6B.shape), num_hidden_layers=2)
loaded = assemble("x", config, random_tensors(config), EngineOptions(limit), choose_numerics("cpu", "fp32"))
reranker = Reranker(loaded, PromptTokenizer(tiny.qwen_text(), QWEN3_V1, loaded.max_pair_tokens))
texts = [f"{number} " + "mars " * words for number in range(max(counts))]

def status(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

before = status("VmRSS")
for count in counts:
    Path("/proc/self/clear_refs").write_text("5")
    ranking = reranker.rank("Which planet is red?", texts[:count])
    print(json.dumps({"scored": len(ranking), "tokens": ranking.usage.total_tokens, "grown": status("VmHWM") - before}))
"""
GIB = 2**30


def grown(words: int, *documents: int, limit: int = 32_768) -> list[tuple[int, int]]:
    """By number of documents, ranked one after the other: the bytes that the process had more at its highest than with the
    weights loaded and nothing ranked, and the tokens that were computed."""
    command = [sys.executable, "-c", _RUN, str(words), str(limit), *map(str, documents)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["scored"] for result in results] == list(documents)
    return [(int(result["grown"]), int(result["tokens"])) for result in results]


def kept_bytes(layers: int) -> int:
    """What a kept prefix of 75 tokens takes over `layers` layers, in fp32."""
    return 75 * layers * 2 * RERANKER_0_6B.shape.num_key_value_heads * RERANKER_0_6B.shape.head_dim * 4


def test_one_pair_of_32768_tokens() -> None:
    ((memory, tokens),) = grown(40_000, 1)
    assert tokens == 32_768
    assert memory < 2 * GIB


def test_ten_thousand_documents() -> None:
    (few, _), (many, _) = grown(1, 400, 10_000)
    rest_of_the_layers = kept_bytes(RERANKER_0_6B.shape.num_hidden_layers) - kept_bytes(2)
    assert many + rest_of_the_layers < 2 * GIB
    assert many - few < GIB // 8


def test_long_documents_that_are_cut_do_not_wait_whole() -> None:
    """20 million tokens, of which 3 a document are read."""
    ((memory, _),) = grown(10_000, 2_000, limit=80)
    assert memory < GIB
