"""One long pair, and what its arithmetic alone takes: the products, and attention's operations at the rate of torch's kernel.

The products are timed whole. Attention grows with the square of the length, so its rate is measured at a length that takes
seconds, with keys and values for every head, and its operations are counted: two products over half of the square. Knows no
peers. Invariant: `ratio` is the pair's time over the sum of both, measured in the same run.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

from gigarank.bench.checkpoint import shape_of
from gigarank.bench.gemm import BatchRows, GemmLimit
from gigarank.bench.memory import PeakMemory
from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.bench.sizes import weight_bytes
from gigarank.bench.workloads import Workload, request
from gigarank.engine.reranker import Reranker
from gigarank.model.config import ModelConfig
from gigarank.types import JsonObject

RATE_TOKENS = 4_096
"""The length at which attention's rate is measured."""


def measure(folder: Path, shape: str, tokens: int, rate_tokens: int = RATE_TOKENS) -> JsonObject:
    """Ranks one pair of `tokens` tokens in fp32 with the checkpoint in `folder`, which has `shape`."""
    known, prompt = shape_of(shape)
    texts = request(Workload("long pair", 1, tokens, whole_pair=True), qwen_tokenizer(known.vocab_size), prompt)
    reranker = Reranker.load(folder, device="cpu", dtype="fp32")
    config, weights = reranker.config, reranker.runner.decoder.weights
    reranker.score([(texts.query, "warm")])
    with PeakMemory() as peak:
        started = time.perf_counter()
        reranker.rank(texts.query, texts.documents)
        whole_s = time.perf_counter() - started
    products_s = _seconds(GemmLimit(weights.layers, config, [BatchRows(tokens, 1)]).run)
    rate = attention_rate(config, rate_tokens)
    attention_s = attention_operations(config, tokens) / rate
    return {
        "layers": config.num_hidden_layers,
        "tokens": texts.read_tokens,
        "whole_s": round(whole_s, 2),
        "products_s": round(products_s, 2),
        "attention_s": round(attention_s, 2),
        "attention_gflop_per_s": round(rate / 1e9, 1),
        "ratio": round(whole_s / (products_s + attention_s), 3),
        "weights_bytes": weight_bytes(reranker),
        "peak_bytes": peak.peak_bytes,
    }


def attention_operations(config: ModelConfig, tokens: int) -> float:
    """Multiplications and additions of causal attention over `tokens`: q k and p v, each over half of the square, in all layers
    but the last, which has one query."""
    width = config.num_attention_heads * config.head_dim
    return 4.0 * width * (tokens * tokens / 2 * (config.num_hidden_layers - 1) + tokens)


@torch.inference_mode()
def attention_rate(config: ModelConfig, tokens: int) -> float:
    """Operations a second of torch's own causal kernel: the second of two runs."""
    query, key, value = torch.randn(3, 1, config.num_attention_heads, tokens, config.head_dim).unbind()
    one_layer = 4.0 * config.num_attention_heads * config.head_dim * tokens * tokens / 2
    times = [_seconds(lambda: F.scaled_dot_product_attention(query, key, value, is_causal=True)) for _ in range(2)]
    return one_layer / times[-1]


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
