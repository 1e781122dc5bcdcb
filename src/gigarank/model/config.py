"""What a decoder looks like: config.json read strictly, or refused with the reason.

Knows no tensors. Reads the keys of transformers 4 (`rope_theta`, `torch_dtype`) and 5 (`rope_parameters`, `dtype`).
Invariant: a ModelConfig describes a model that this engine computes exactly; all others never become one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gigarank.catalogue import Shape
from gigarank.errors import CheckpointError, UnsupportedArchitecture

MODEL_TYPES = ("qwen3", "qwen2", "llama")
_DEFAULT_ROPE_THETA = 10_000.0
_MOST, _MOST_LAYERS = 2**31 - 1, 10_000  # beyond any model: the names of so many tensors would fill the memory


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A pre-norm decoder with grouped-query attention, rotary positions and a SiLU-gated MLP.

    `qk_norm`: RMSNorm over each query and key head (qwen3). `qkv_bias`, `output_bias`: biases of the attention's projections
    (qwen2 has the first, llama may have both).
    """

    model_type: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    tie_word_embeddings: bool
    rope_theta: float
    rms_norm_eps: float
    max_position_embeddings: int
    qk_norm: bool
    qkv_bias: bool
    output_bias: bool

    @property
    def query_size(self) -> int:
        return self.num_attention_heads * self.head_dim

    @property
    def key_value_size(self) -> int:
        return self.num_key_value_heads * self.head_dim

    @classmethod
    def from_shape(cls, shape: Shape) -> "ModelConfig":
        """The config of a catalogue entry."""
        fields = {name: getattr(shape, name) for name in Shape.__dataclass_fields__}
        return cls(**fields, qk_norm=shape.model_type == "qwen3", qkv_bias=shape.model_type == "qwen2", output_bias=False)

    def to_json(self) -> dict[str, Any]:
        """The config.json that transformers reads for this model."""
        kept = {name: getattr(self, name) for name in Shape.__dataclass_fields__}
        architecture = {"qwen3": "Qwen3ForCausalLM", "qwen2": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM"}
        return kept | {
            "architectures": [architecture[self.model_type]],
            "hidden_act": "silu",
            "attention_bias": self.output_bias,
            "torch_dtype": "bfloat16",
        }


def parse_config(raw: Mapping[str, Any]) -> ModelConfig:
    """The config of a checkpoint's config.json.

    Raises UnsupportedArchitecture where this engine would compute something else than the model, CheckpointError where a
    key is missing or makes no sense.
    """
    model_type = raw.get("model_type")
    if model_type not in MODEL_TYPES:
        raise UnsupportedArchitecture(
            f"config.json: model_type {model_type!r} is not supported; supported: {', '.join(MODEL_TYPES)}",
            param="model_type",
            limit=list(MODEL_TYPES),
            received=model_type,
        )
    _refuse_unknown_variants(raw)
    heads = _positive(raw, "num_attention_heads")
    hidden = _positive(raw, "hidden_size")
    config = ModelConfig(
        model_type=model_type,
        hidden_size=hidden,
        num_hidden_layers=_positive(raw, "num_hidden_layers", most=_MOST_LAYERS),
        num_attention_heads=heads,
        num_key_value_heads=_positive(raw, "num_key_value_heads", default=heads),
        head_dim=_positive(raw, "head_dim", default=hidden // heads),
        intermediate_size=_positive(raw, "intermediate_size"),
        vocab_size=_positive(raw, "vocab_size"),
        tie_word_embeddings=_flag(raw, "tie_word_embeddings"),
        rope_theta=_rope_theta(raw),
        rms_norm_eps=_number(raw.get("rms_norm_eps", 1e-6), "rms_norm_eps"),
        max_position_embeddings=_positive(raw, "max_position_embeddings"),
        qk_norm=model_type == "qwen3",
        qkv_bias=model_type == "qwen2" or _flag(raw, "attention_bias"),
        output_bias=model_type != "qwen2" and _flag(raw, "attention_bias"),
    )
    _check_dimensions(config)
    return config


def _positive(raw: Mapping[str, Any], key: str, default: int | None = None, most: int = _MOST) -> int:
    value = raw.get(key)
    if value is None:
        value = default
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise CheckpointError(
            f"config.json: {key} must be a whole number from 1 to {most:,}, not {value!r}",
            param=key,
            limit=most,
            received=value,
        )
    return value


def _flag(raw: Mapping[str, Any], key: str, default: bool = False) -> bool:
    value = raw.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise CheckpointError(f"config.json: {key} must be true or false, not {value!r}", param=key, received=value)
    return value


def _layer_types(raw: Mapping[str, Any]) -> set[str]:
    kinds = raw.get("layer_types") or []
    if not isinstance(kinds, list):
        raise CheckpointError(f"config.json: layer_types must be a list, not {kinds!r}", param="layer_types", received=kinds)
    return {str(kind) for kind in kinds}


def _check_dimensions(config: ModelConfig) -> None:
    if config.num_attention_heads % config.num_key_value_heads:
        raise CheckpointError(
            f"config.json: num_attention_heads {config.num_attention_heads} is no multiple of num_key_value_heads "
            f"{config.num_key_value_heads}",
            param="num_key_value_heads",
            received=config.num_key_value_heads,
        )
    if config.head_dim % 2:
        raise CheckpointError(
            f"config.json: head_dim must be even for rotary positions, not {config.head_dim}",
            param="head_dim",
            received=config.head_dim,
        )


def _number(value: object, key: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise CheckpointError(f"config.json: {key} must be a number above 0, not {value!r}", param=key, received=value)
    return float(value)


def _rope(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rotary settings of transformers 5 (`rope_parameters`) and 4 (`rope_scaling`), together: a file may hold both, and
    each can change the angles. Empty where there are none."""
    settings: dict[str, Any] = {}
    for key in ("rope_parameters", "rope_scaling"):
        found = raw.get(key) or {}
        if not isinstance(found, Mapping):
            raise CheckpointError(f"config.json: {key} must be an object, not {found!r}", param=key, received=found)
        settings |= found
    return settings


def _rope_theta(raw: Mapping[str, Any]) -> float:
    theta = _rope(raw).get("rope_theta") or raw.get("rope_theta") or _DEFAULT_ROPE_THETA
    return _number(theta, "rope_theta")


def _refuse_unknown_variants(raw: Mapping[str, Any]) -> None:
    rope = _rope(raw)
    per_layer_rope = ", ".join(sorted(key for key, value in rope.items() if isinstance(value, Mapping)))
    slides = raw.get("model_type") != "qwen3" and bool(raw.get("sliding_window"))  # unless the file says that it does not
    rotated = next((found for place in (rope, raw) if (found := place.get("partial_rotary_factor")) is not None), 1.0)
    refused: dict[str, tuple[Any, list[Any]]] = {
        "rope_scaling": (str(rope.get("rope_type") or rope.get("type") or "default"), ["default"]),
        "rope_parameters": (per_layer_rope, [""]),
        "partial_rotary_factor": (rotated, [1.0]),
        "hidden_act": (raw.get("hidden_act", "silu"), ["silu", "swish"]),
        "use_sliding_window": (_flag(raw, "use_sliding_window", slides), [False]),
        "layer_types": (", ".join(sorted(_layer_types(raw) - {"full_attention"})), [""]),
        "mlp_bias": (_flag(raw, "mlp_bias"), [False]),
        "quantization_config": (bool(raw.get("quantization_config")), [False]),
        "pretraining_tp": (raw.get("pretraining_tp") or 1, [1]),
    }
    for key, (value, allowed) in refused.items():
        if value not in allowed:
            raise UnsupportedArchitecture(
                f"config.json: {key} {value!r} is not supported: this engine would compute other scores than the model",
                param=key,
                limit=allowed,
                received=value,
            )
