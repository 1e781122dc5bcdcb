"""The official shapes with random weights: whether each loads and ranks in the memory that its weights need, and how fast.

A checkpoint is written tensor by tensor from one block of random numbers, since a true random model of 8 billion would take
minutes to make. Every load runs in a process of its own. Knows no peers. Invariant: `bound_bytes` follows from the weights as
they are loaded, so that no second copy of a model fits into it.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gigarank.bench.checkpoint import shape_of
from gigarank.bench.memory import PeakMemory
from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.bench.workloads import request, select
from gigarank.engine.layout import write_json
from gigarank.engine.reranker import Reranker
from gigarank.model.config import ModelConfig
from gigarank.model.quantized import QuantizedLinear
from gigarank.model.tensor_file import write_tensors
from gigarank.model.weights import expected_shapes
from gigarank.prompt import PromptFormat
from gigarank.types import EngineOptions, JsonObject

FACTOR, ROOM_BYTES = 1.15, 2**30
"""Peak memory may be this many times the weights, plus this much."""
_BLOCK = 2**22


@dataclass(frozen=True, slots=True)
class Case:
    """One load. `keep` takes the quantised weights from the cache folder, or leaves them there."""

    shape: str
    dtype: str
    documents: int = 20
    keep: bool = False


class BlockTensors:
    """Random tensors of a config, each cut from one block of random numbers at a place of its own."""

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        self._shapes = expected_shapes(config)
        self._places = {name: place for place, name in enumerate(self._shapes)}
        self._block = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(seed)).to(torch.bfloat16)

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self._shapes

    def get(self, name: str) -> Tensor:
        shape = self._shapes[name]
        count = torch.Size(shape).numel()
        turned = self._block.roll(7_919 * self._places[name])
        noise = turned.repeat(-(-count // _BLOCK))[:count].view(shape)
        if len(shape) == 1:
            return 1.0 + 0.1 * noise if name.endswith("norm.weight") else 0.1 * noise
        is_table = name.endswith(("embed_tokens.weight", "lm_head.weight"))
        return noise * (0.02 if is_table else shape[-1] ** -0.5)


def write(folder: Path, shape_name: str, layers: int | None = None) -> PromptFormat:
    """A checkpoint in bf16, its tensors written one after the other."""
    shape, prompt = shape_of(shape_name, layers)
    config = ModelConfig.from_shape(shape)
    folder.mkdir(parents=True, exist_ok=True)
    source = BlockTensors(config)
    write_tensors(folder / "model.safetensors", source.shapes(), torch.bfloat16, source.get)
    write_json(folder / "config.json", config.to_json())
    write_json(folder / "gigarank.json", {"prompt": prompt.id})
    (folder / "tokenizer.json").write_text(qwen_tokenizer(shape.vocab_size).to_str(), encoding="utf-8")
    return prompt


def measure(folder: Path, case: Case) -> JsonObject:
    """Loads and ranks once, in this process."""
    documents = request(select("passages", case.documents)[0], qwen_tokenizer(), shape_of(case.shape)[1])
    started = time.perf_counter()
    with PeakMemory() as peak:
        reranker = Reranker.load(folder, device="cpu", dtype=case.dtype, options=EngineOptions(keep_quantized=case.keep))
        loaded_s = time.perf_counter() - started
        ranking = reranker.rank(documents.query, documents.documents)
    ranked_s = time.perf_counter() - started - loaded_s
    weights = weight_bytes(reranker)
    return {
        "shape": case.shape,
        "layers": reranker.config.num_hidden_layers,
        "dtype": case.dtype,
        "linear": reranker.numerics.linear,
        "kept": case.keep,
        "documents": len(ranking),
        "distinct_scores": len({score.logit for score in ranking}),
        "load_s": round(loaded_s, 1),
        "rank_s": round(ranked_s, 1),
        "weights_bytes": weights,
        "peak_bytes": peak.peak_bytes,
        "bound_bytes": int(FACTOR * weights) + ROOM_BYTES,
        "within": peak.peak_bytes <= FACTOR * weights + ROOM_BYTES,
    }


def weight_bytes(reranker: Reranker) -> int:
    """What the weights take as they are loaded: matrices as the products keep them, tables as stored."""
    weights = reranker.runner.decoder.weights
    tables = {id(table): table.numel() * table.element_size() for table in (weights.embedding, weights.head)}
    matrices = expected_shapes(reranker.config).items()
    numbers = sum(torch.Size(shape).numel() for name, shape in matrices if ".layers." in name and len(shape) == 2)
    item = 1 if isinstance(weights.layers[0].key, QuantizedLinear) else weights.dtype.itemsize
    return sum(tables.values()) + numbers * item


def in_own_process(folder: Path, case: Case) -> JsonObject:
    """`measure` in a process of its own, so that one load's memory is not the next one's."""
    program = "import sys, json; from gigarank.bench.sizes import Case, measure; from pathlib import Path; "
    program += "print(json.dumps(measure(Path(sys.argv[1]), Case(**json.loads(sys.argv[2])))))"
    given = json.dumps({name: getattr(case, name) for name in Case.__slots__})
    done = subprocess.run([sys.executable, "-c", program, str(folder), given], stdout=subprocess.PIPE, text=True, check=True)
    found: JsonObject = json.loads(done.stdout.splitlines()[-1])
    return found
