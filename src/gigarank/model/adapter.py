"""LoRA as algebra: an adapter's low-rank factors added to the weights that they were trained for.

    plain   W + s·B·A                          s = alpha / rank, or alpha / sqrt(rank) for rank-stabilised LoRA
    DoRA    m · (W + s·B·A) / |W + s·B·A|      norms by row; m is the trained magnitude

Source: peft's format (adapter_config.json) and the arithmetic of its merge_and_unload. Knows tensors, no files. Invariant: a
merged weight is computed in fp32 or better from whole tensors; an adapter of which any part would be left out is refused.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gigarank.errors import CheckpointError, UnsupportedArchitecture
from gigarank.model.config import ModelConfig
from gigarank.model.layer_stack import KEY, stack_of
from gigarank.model.weights import TensorDict, TensorSource, expected_shapes

_ROOT = "base_model.model."
_PARTS = {
    ".lora_A.weight": "a",
    ".lora_B.weight": "b",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
}
_UNDERSTOOD = {
    *("peft_type", "r", "lora_alpha", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "target_modules"),
    *("exclude_modules", "layers_to_transform", "layers_pattern", "init_lora_weights", "bias", KEY),
}
_WITHOUT_EFFECT = {
    *("base_model_name_or_path", "revision", "task_type", "inference_mode", "lora_dropout", "auto_mapping", "peft_version"),
    *("megatron_core", "qalora_group_size", "loftq_config", "eva_config", "corda_config", "lora_ga_config"),
    *("runtime_config", "ensure_weight_tying"),
}
_INITS_THAT_KEEP_THE_BASE = (True, False, "gaussian", "eva", "orthogonal")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What an adapter_config.json says of a LoRA adapter. `targets`: the names' ends, or one regular expression; `layers`
    None is every layer; the patterns give single modules another rank or alpha. `stack`: the base's layers that it was made
    for, in their order, in which all else counts them. None: the base as it is."""

    rank: int
    alpha: float
    rank_stabilised: bool
    dora: bool
    targets: tuple[str, ...] | str
    excluded: tuple[str, ...] | str
    layers: tuple[int, ...] | None
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    stack: tuple[int, ...] | None = None

    def rank_of(self, module: str) -> int:
        return int(_by_pattern(self.rank_pattern, module, self.rank))

    def scale_of(self, module: str) -> float:
        rank = self.rank_of(module)
        alpha = _by_pattern(self.alpha_pattern, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)

    def takes(self, module: str) -> bool:
        """Whether the adapter is for this module, by peft's rules."""
        if not _named(self.targets, module) or _named(self.excluded, module):
            return False
        layer = re.search(r"(?:^|\.)layers\.(\d+)\.", module)
        return self.layers is None or (layer is not None and int(layer[1]) in self.layers)


def parse_adapter(raw: Mapping[str, Any]) -> AdapterConfig:
    """Raises UnsupportedArchitecture for whatever would make other weights than this module computes, CheckpointError for
    values that make no sense; both name the key."""
    _refuse_others(raw)
    layers = raw.get("layers_to_transform")
    return AdapterConfig(
        rank=_positive(raw.get("r"), "r"),
        alpha=_number(raw.get("lora_alpha"), "lora_alpha"),
        rank_stabilised=bool(raw.get("use_rslora")),
        dora=bool(raw.get("use_dora")),
        targets=_names(raw.get("target_modules"), "target_modules"),
        excluded=_names(raw.get("exclude_modules") or [], "exclude_modules"),
        layers=None if layers is None else _indices(layers),
        rank_pattern={key: _positive(value, "rank_pattern") for key, value in (raw.get("rank_pattern") or {}).items()},
        alpha_pattern={key: _number(value, "alpha_pattern") for key, value in (raw.get("alpha_pattern") or {}).items()},
        stack=stack_of(raw.get(KEY)),
    )


@dataclass(frozen=True, slots=True)
class Factors:
    """One module's part: `a` (rank, in), `b` (out, rank), `magnitude` (out,) with DoRA only."""

    a: Tensor
    b: Tensor
    scale: float
    magnitude: Tensor | None = None

    def merged(self, weight: Tensor) -> Tensor:
        """The weight (out, in) with this part in it, in fp32 or better."""
        wide = torch.promote_types(weight.dtype, torch.float32)
        changed: Tensor = torch.addmm(weight.to(wide), self.b.to(wide), self.a.to(wide), alpha=self.scale)
        if self.magnitude is None:
            return changed
        norms: Tensor = torch.linalg.vector_norm(changed, dim=1)
        return changed * (self.magnitude.to(wide) / norms)[:, None]


class MergedTensors:
    """A checkpoint's tensors with an adapter's added as each is read: never two copies of the whole model."""

    def __init__(self, source: TensorSource, factors: Mapping[str, Factors]) -> None:
        """`factors` by the module's name, 'model.' before it whatever the source's names are."""
        self._source = source
        self._factors = factors

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self._source.shapes()

    def get(self, name: str) -> Tensor:
        found = self._source.get(name)
        part = self._factors.get(canonical(name.removesuffix(".weight"))) if name.endswith(".weight") else None
        return found if part is None else part.merged(found)


def read_factors(tensors: TensorDict, adapter: AdapterConfig, config: ModelConfig) -> dict[str, Factors]:
    """An adapter's tensors by module, checked both ways against what its config says and what the model has.

    Raises CheckpointError that names missing, extra and misshaped tensors: an adapter of another base ends here.
    """
    found = _by_module(tensors)
    sizes = _modules(config)
    problems = []
    unknown = [f"{module}{part}" for module, parts in found.items() if not _belongs(module, adapter, sizes) for part in parts]
    if unknown:
        problems.append(f"not part of this model or not in target_modules, {len(unknown)}: {_list(unknown)}")
    wanted = [module for module in sizes if adapter.takes(module) or adapter.takes(module.removeprefix("model."))]
    known = {module: {_PARTS[part]: tensor for part, tensor in found.get(module, {}).items()} for module in wanted}
    if missing := [f"{module}.{part}" for module in wanted for part in _needed(adapter) if part not in known[module]]:
        problems.append(f"missing {len(missing)}: {_list(missing)}")
    wrong = [text for module in wanted for text in _misshaped(module, known[module], adapter, sizes[module])]
    if wrong:
        problems.append(f"misshaped {len(wrong)}: {_list(wrong)}")
    if not wanted and not problems:
        problems.append("no module of this model is among its target_modules")
    if problems:
        raise CheckpointError(f"the adapter does not fit the model: {'; '.join(problems)}", param="adapter")
    return {
        module: Factors(parts["a"], parts["b"], adapter.scale_of(module), parts.get("magnitude"))
        for module, parts in known.items()
    }


def canonical(name: str) -> str:
    """A decoder's name with 'model.' before it, as rerankers have it and embedding models do not."""
    return name if name.startswith("model.") else f"model.{name}"


def _by_module(tensors: TensorDict) -> dict[str, dict[str, Tensor]]:
    """Tensors by module and part; what is no part of any module stands under its own name."""
    found: dict[str, dict[str, Tensor]] = {}
    for name in tensors.shapes():
        part = next((part for part in sorted(_PARTS, key=len, reverse=True) if name.endswith(part)), "")
        module = name.removeprefix(_ROOT).removesuffix(part)
        key = canonical(module) if part and name.startswith(_ROOT) else name
        found.setdefault(key, {})[part] = tensors.get(name)
    return found


def _modules(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The linear modules of the layers, with their weights' shapes (out, in)."""
    shapes = expected_shapes(config).items()
    return {name.removesuffix(".weight"): shape for name, shape in shapes if len(shape) == 2 and ".layers." in name}


def _belongs(module: str, adapter: AdapterConfig, sizes: Mapping[str, Any]) -> bool:
    return module in sizes and (adapter.takes(module) or adapter.takes(module.removeprefix("model.")))


def _needed(adapter: AdapterConfig) -> tuple[str, ...]:
    return ("a", "b", "magnitude") if adapter.dora else ("a", "b")


def _misshaped(module: str, parts: Mapping[str, Tensor], adapter: AdapterConfig, size: tuple[int, ...]) -> list[str]:
    rank = adapter.rank_of(module)
    expected = {"a": (rank, size[1]), "b": (size[0], rank)} | ({"magnitude": (size[0],)} if adapter.dora else {})
    return [
        f"{module}.{part} is {tuple(tensor.shape)}, expected {expected.get(part, 'none')}"
        for part, tensor in parts.items()
        if tuple(tensor.shape) != expected.get(part)
    ]


def _refuse_others(raw: Mapping[str, Any]) -> None:
    if raw.get("peft_type") != "LORA":
        raise _unsupported("peft_type", raw.get("peft_type"), "LORA")
    if raw.get("bias", "none") != "none":
        raise _unsupported("bias", raw["bias"], "none")
    init = raw.get("init_lora_weights", True)
    if init not in _INITS_THAT_KEEP_THE_BASE:  # the others move a part of the base's weights into the adapter
        raise _unsupported("init_lora_weights", init, list(_INITS_THAT_KEEP_THE_BASE))
    for key, value in raw.items():
        if key not in _UNDERSTOOD | _WITHOUT_EFFECT and value not in (None, False, [], {}, ""):
            raise _unsupported(key, value, None)


def _unsupported(key: str, received: Any, limit: Any) -> UnsupportedArchitecture:
    return UnsupportedArchitecture(
        f"adapter_config.json: {key} {received!r} is not supported: this engine would compute other scores than peft",
        param=key,
        limit=limit,
        received=received,
    )


def _named(names: tuple[str, ...] | str, module: str) -> bool:
    if isinstance(names, str):
        return re.fullmatch(names, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in names)


def _by_pattern(pattern: Mapping[str, float], module: str, default: float) -> float:
    return next((value for key, value in pattern.items() if re.match(rf"(.*\.)?({key})$", module)), default)


def _names(value: Any, key: str) -> tuple[str, ...] | str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise _senseless(key, value, "names of modules")


def _indices(value: Any) -> tuple[int, ...]:
    indices = [value] if isinstance(value, int) else value
    if isinstance(indices, list) and all(isinstance(index, int) and index >= 0 for index in indices):
        return tuple(indices)
    raise _senseless("layers_to_transform", value, "layers, counted from 0")


def _positive(value: Any, key: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise _senseless(key, value, "a whole number above 0")


def _number(value: Any, key: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise _senseless(key, value, "a number")


def _senseless(key: str, received: Any, limit: str) -> CheckpointError:
    return CheckpointError(
        f"adapter_config.json: {key} must be {limit}, not {received!r}", param=key, limit=limit, received=received
    )


def _list(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
