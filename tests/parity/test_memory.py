"""Memory is bounded by the token budget and the longest pair, not by the number of documents: weights + 2 GiB.

Each case runs in a process of its own, from texts to scores, at the 0.6B shape with fewer layers: what a forward holds does
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

documents, words, limit = map(int, sys.argv[1:])
config = dataclasses.replace(ModelConfig.from_shape(RERANKER_0_6B.shape), num_hidden_layers=2)
loaded = assemble("x", config, random_tensors(config), EngineOptions(limit), choose_numerics("cpu", "fp32"))
reranker = Reranker(loaded, PromptTokenizer(tiny.qwen_text(), QWEN3_V1, loaded.max_pair_tokens))
texts = [f"{number} " + "mars " * words for number in range(documents)]

def status(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
ranking = reranker.rank("Which planet is red?", texts)
print(json.dumps({"scored": len(ranking), "tokens": ranking.usage.total_tokens, "grown": status("VmHWM") - before}))
"""
GIB = 2**30


def grown(documents: int, words: int, limit: int = 32_768) -> tuple[int, int]:
    """Bytes that ranking grew the process by over what it held with the weights loaded, and the tokens it computed."""
    command = [sys.executable, "-c", _RUN, str(documents), str(words), str(limit)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    result = json.loads(done.stdout)
    assert result["scored"] == documents
    return int(result["grown"]), int(result["tokens"])


def kept_bytes(layers: int) -> int:
    """What a kept prefix of 75 tokens takes over `layers` layers, in fp32."""
    return 75 * layers * 2 * RERANKER_0_6B.shape.num_key_value_heads * RERANKER_0_6B.shape.head_dim * 4


def test_one_pair_of_32768_tokens() -> None:
    memory, tokens = grown(1, 40_000)
    assert tokens == 32_768
    assert memory < 2 * GIB


def test_ten_thousand_documents() -> None:
    few, many = grown(400, 1)[0], grown(10_000, 1)[0]
    rest_of_the_layers = kept_bytes(RERANKER_0_6B.shape.num_hidden_layers) - kept_bytes(2)
    assert many + rest_of_the_layers < 2 * GIB
    assert many - few < GIB // 8


def test_long_documents_that_are_cut_do_not_wait_whole() -> None:
    """20 million tokens, of which 3 a document are read."""
    assert grown(2_000, 10_000, limit=80)[0] < GIB
