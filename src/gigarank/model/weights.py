"""A checkpoint's tensors, strictly: the mapping from names to places, and the yes/no head.

Knows names and shapes; no text. Invariant: a checkpoint that loads had every tensor of its config, in the right shape, and
no other. Tensors are read memory-mapped; a weight that needs no conversion and no packing stays so.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from gigarank.errors import CheckpointError
from gigarank.model.config import ModelConfig
from gigarank.model.layers import in_pairs, stands_in_pairs
from gigarank.model.linear import Linear
from gigarank.model.tensor_file import MappedFile

_HEAD = "lm_head.weight"
_SHOWN = 5  # names listed in an error before it says how many more there are


class TensorSource(Protocol):
    """Named tensors, read one at a time."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...
    def get(self, name: str) -> Tensor: ...


class TensorDict:
    """Tensors that are in memory already."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    def get(self, name: str) -> Tensor:
        return self.tensors[name]


class TensorFiles:
    """The safetensors files of a folder, memory-mapped: one file, or the shards that an index lists."""

    def __init__(self, folder: Path) -> None:
        self._homes: dict[str, MappedFile] = {}
        for path in _weight_files(folder):
            file = MappedFile(path)
            for name in file.names():
                if name in self._homes:
                    raise CheckpointError(f"{path}: tensor {name} stands in two files", param=name)
                self._homes[name] = file

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {name: home.shape(name) for name, home in self._homes.items()}

    def get(self, name: str) -> Tensor:
        return self._homes[name].get(name)


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise CheckpointError(f"{index}: no usable weight_map: {error}", param="model") from error
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    if not names:
        raise CheckpointError(f"{folder}: no *.safetensors file", param="model", received=str(folder))
    if missing := [name for name in names if not (folder / name).exists()]:
        raise CheckpointError(f"{folder}: shards missing: {_list(missing)}", param="model", received=missing)
    return [folder / name for name in names]


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer. Norms are vectors; `query_norm` and `key_norm` (head_dim,) exist with QK-norm only."""

    input_norm: Tensor
    query: Linear
    key: Linear
    value: Linear
    output: Linear
    query_norm: Tensor | None
    key_norm: Tensor | None
    post_norm: Tensor
    gate: Linear
    up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class Weights:
    """A whole decoder. `embedding` (vocab_size, hidden_size) keeps the checkpoint's dtype; rows are converted when read."""

    embedding: Tensor
    layers: tuple[LayerWeights, ...]
    final_norm: Tensor
    head: Tensor  # (vocab_size, hidden_size), the embedding where tied; read a few rows at a time
    dtype: torch.dtype
    device: torch.device

    def embed(self, ids: Tensor) -> Tensor:
        """Rows (len(ids), hidden_size) in the compute dtype."""
        return self.embedding[ids.to(self.embedding.device)].to(self.device, self.dtype)

    def answer_vector(self, yes: int, no: int) -> Tensor:
        """w_yes - w_no (hidden_size,), in fp32 or better: the whole head of a yes/no reranker."""
        wide = torch.promote_types(self.dtype, torch.float32)
        return (self.head[yes].to(wide) - self.head[no].to(wide)).to(self.device)


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of the config by its name in transformers, with its shape."""
    hidden, inner = config.hidden_size, config.intermediate_size
    queries, pairs = config.query_size, config.key_value_size
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.k_proj.weight": (pairs, hidden),
        "self_attn.v_proj.weight": (pairs, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "post_attention_layernorm.weight": (hidden,),
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
    }
    if config.qk_norm:
        layer |= {"self_attn.q_norm.weight": (config.head_dim,), "self_attn.k_norm.weight": (config.head_dim,)}
    if config.qkv_bias:
        layer |= {f"self_attn.{p}_proj.bias": (size,) for p, size in (("q", queries), ("k", pairs), ("v", pairs))}
    if config.output_bias:
        layer["self_attn.o_proj.bias"] = (hidden,)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, hidden)}
    for index in range(config.num_hidden_layers):
        shapes |= {f"model.layers.{index}.{name}": shape for name, shape in layer.items()}
    shapes["model.norm.weight"] = (hidden,)
    if not config.tie_word_embeddings:
        shapes[_HEAD] = (config.vocab_size, hidden)
    return shapes


def random_tensors(config: ModelConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> TensorDict:
    """Random weights of a config, for tests and benchmarks: reproducible, and lively enough that errors show."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in expected_shapes(config).items():
        noise = torch.randn(shape, generator=generator)
        is_norm = len(shape) == 1 and name.endswith("weight")
        tensors[name] = (1.0 + 0.1 * noise if is_norm else noise.mul_(_scale(name, shape))).to(dtype)
    return TensorDict(tensors)


def _scale(name: str, shape: tuple[int, ...]) -> float:
    if name.endswith(("embed_tokens.weight", "lm_head.weight")):
        return 0.02 if shape[-1] > 512 else 0.2
    return 0.1 if len(shape) == 1 else float(shape[-1] ** -0.5)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how weights shall live: compute dtype, device, and the kernel that takes the matrices.

    `stored`, where it is set, takes a matrix by its name and a way to read it as the checkpoint has it, instead of `linear`:
    what is kept from an earlier time need not be read.
    """

    dtype: torch.dtype
    device: torch.device
    linear: Callable[[Tensor, Tensor | None], Linear]
    stored: "Stored | None" = None


Stored = Callable[[str, Callable[[], Tensor], Tensor | None], Linear]


def load_weights(source: TensorSource, config: ModelConfig, placement: Placement) -> Weights:
    """All weights of a source, checked against the config both ways. Raises CheckpointError that names what is wrong."""
    prefix = check_names(source.shapes(), config)
    reader = _Reader(source, prefix, placement)
    embedding = reader.raw("model.embed_tokens.weight").to(placement.device)
    return Weights(
        embedding=embedding,
        layers=tuple(_layer(reader, config, index) for index in range(config.num_hidden_layers)),
        final_norm=reader.vector("model.norm.weight"),
        head=_tied_head(reader, embedding) if config.tie_word_embeddings else reader.raw(_HEAD),
        dtype=placement.dtype,
        device=placement.device,
    )


def _tied_head(reader: "_Reader", embedding: Tensor) -> Tensor:
    """The embedding. A head that was saved all the same must equal it: else it is not known which of the two is meant."""
    if _HEAD in reader.source.shapes() and not torch.equal(reader.raw(_HEAD), embedding.cpu()):
        raise CheckpointError(f"{_HEAD} differs from the embedding, but config.json ties them", param=_HEAD)
    return embedding


def check_names(shapes: Mapping[str, tuple[int, ...]], config: ModelConfig) -> str:
    """The prefix of the decoder's names in the file: 'model.' (rerankers) or '' (embedding models).

    Raises CheckpointError for missing, extra and misshaped tensors, a quantised or converted checkpoint included.
    """
    expected = expected_shapes(config)
    prefix = "model." if any(name.startswith("model.") for name in shapes) else ""
    found = {name if name == _HEAD else _canonical(name, prefix): shape for name, shape in shapes.items()}
    if config.tie_word_embeddings and _HEAD in found:
        expected[_HEAD] = (config.vocab_size, config.hidden_size)  # some tools save the tied head once more
    problems = []
    if missing := [name for name in expected if name not in found]:
        problems.append(f"missing {len(missing)}: {_list(missing)}")
    if extra := [name for name in found if name not in expected]:
        problems.append(f"not part of a {config.model_type} decoder of this config, {len(extra)}: {_list(extra)}")
    if wrong := [name for name in expected if name in found and tuple(found[name]) != expected[name]]:
        shown = [f"{name} is {found[name]}, expected {expected[name]}" for name in wrong]
        problems.append(f"misshaped {len(wrong)}: {_list(shown)}")
    if problems:
        raise CheckpointError(f"checkpoint tensors do not fit config.json: {'; '.join(problems)}", param="model")
    return prefix


def _canonical(name: str, prefix: str) -> str:
    return name if prefix else f"model.{name}"


def _list(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


class _Reader:
    """Reads one tensor after the other into its place, so that never two copies of the whole model exist."""

    def __init__(self, source: TensorSource, prefix: str, placement: Placement) -> None:
        self.source = source
        self.prefix = prefix
        self.placement = placement

    def raw(self, name: str) -> Tensor:
        found = self.source.get(name if self.prefix else name.removeprefix("model."))
        if not found.is_floating_point() or found.element_size() < 2:
            raise CheckpointError(f"{name}: dtype {found.dtype} is not supported: fp32, bf16, fp16 or fp64", param=name)
        return found

    def vector(self, name: str) -> Tensor:
        return self.raw(name).to(self.placement.device, self.placement.dtype)

    def linear(self, name: str, bias: bool) -> Linear:
        return self._linear(name, bias, lambda rows: rows)

    def turned(self, name: str, bias: bool, head_dim: int) -> Linear:
        """A projection whose heads are turned by their positions."""
        return self._linear(name, bias, lambda rows: self._paired(rows, head_dim))

    def turned_vector(self, name: str) -> Tensor:
        """The weight of a norm of such a head, (head_dim,)."""
        found = self.vector(name)
        return self._paired(found, len(found))

    def _linear(self, name: str, bias: bool, order: Callable[[Tensor], Tensor]) -> Linear:
        added = order(self.vector(f"{name}.bias")) if bias else None
        if self.placement.stored is not None:
            return self.placement.stored(name, lambda: order(self.raw(f"{name}.weight")), added)
        return self.placement.linear(order(self.raw(f"{name}.weight")).to(self.placement.device, self.placement.dtype), added)

    def _paired(self, rows: Tensor, head_dim: int) -> Tensor:
        return in_pairs(rows, head_dim) if stands_in_pairs(self.placement.dtype, self.placement.device) else rows


def _layer(reader: _Reader, config: ModelConfig, index: int) -> LayerWeights:
    attention, mlp = f"model.layers.{index}.self_attn", f"model.layers.{index}.mlp"
    return LayerWeights(
        input_norm=reader.vector(f"model.layers.{index}.input_layernorm.weight"),
        query=reader.turned(f"{attention}.q_proj", config.qkv_bias, config.head_dim),
        key=reader.turned(f"{attention}.k_proj", config.qkv_bias, config.head_dim),
        value=reader.linear(f"{attention}.v_proj", config.qkv_bias),
        output=reader.linear(f"{attention}.o_proj", config.output_bias),
        query_norm=reader.turned_vector(f"{attention}.q_norm.weight") if config.qk_norm else None,
        key_norm=reader.turned_vector(f"{attention}.k_norm.weight") if config.qk_norm else None,
        post_norm=reader.vector(f"model.layers.{index}.post_attention_layernorm.weight"),
        gate=reader.linear(f"{mlp}.gate_proj", False),
        up=reader.linear(f"{mlp}.up_proj", False),
        down=reader.linear(f"{mlp}.down_proj", False),
    )
