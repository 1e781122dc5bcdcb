"""Tiny models for tests: random weights in real architectures, ours and transformers' own, and the model card's code.

The reference is transformers with its modules as they are, but for one thing: in float64 its RMSNorm and rotary table would
fall back to fp32, so that logic could not be tested to more than seven digits. There the norm is replaced by the same
formula in float64; the rotary table is fp32 in both.
"""

import dataclasses
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.catalogue import Shape
from gigarank.engine.loading import assemble
from gigarank.engine.numerics import TORCH_DTYPES, choose_numerics
from gigarank.engine.reranker import Reranker
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer
from gigarank.model.config import ModelConfig
from gigarank.model.weights import TensorDict, random_tensors
from gigarank.prompt import QWEN3_V1, PromptFormat
from gigarank.types import EngineOptions

_SHAPE = Shape("qwen3", 64, 3, 4, 2, 32, 96, 151_669, True, 1e6, 1e-6, 8_192)
_QWEN3 = ModelConfig.from_shape(_SHAPE)

CONFIGS: dict[str, ModelConfig] = {
    "qwen3": _QWEN3,
    "qwen3-untied": dataclasses.replace(_QWEN3, tie_word_embeddings=False, num_attention_heads=6, num_key_value_heads=3),
    "qwen2": ModelConfig.from_shape(dataclasses.replace(_SHAPE, model_type="qwen2", head_dim=16)),
    "llama": ModelConfig.from_shape(
        dataclasses.replace(_SHAPE, model_type="llama", head_dim=16, rope_theta=1e5, rms_norm_eps=1e-5)
    ),
    "llama-biased": dataclasses.replace(
        ModelConfig.from_shape(dataclasses.replace(_SHAPE, model_type="llama", num_key_value_heads=4, head_dim=16)),
        qkv_bias=True,
        output_bias=True,
    ),
}


@cache
def qwen_json() -> str:
    """Qwen3's tokenizer.json."""
    text: str = qwen_tokenizer().to_str()
    return text


@cache
def qwen_text() -> TextTokenizer:
    return TextTokenizer(qwen_json())


@cache
def tensors_of(name: str) -> TensorDict:
    return random_tensors(CONFIGS[name], seed=len(name))


def reranker(
    name: str = "qwen3",
    dtype: str = "fp32",
    options: EngineOptions | None = None,
    prompt: PromptFormat = QWEN3_V1,
    **numerics: Any,
) -> Reranker:
    """Ours on random weights; `numerics` replaces fields of the chosen Numerics, such as linear='plain'."""
    chosen = dataclasses.replace(choose_numerics(numerics.get("device", "cpu"), dtype), **numerics)
    loaded = assemble(name, CONFIGS[name], tensors_of(name), options or EngineOptions(), chosen)
    return Reranker(loaded, PromptTokenizer(qwen_text(), prompt, loaded.max_pair_tokens))


def reference(config: ModelConfig, tensors: TensorDict, dtype: str = "fp32", *, shared: bool = False) -> Any:
    """transformers' model of the same weights; `shared`: of the tensors themselves, which must be in `dtype`."""
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415 - seconds long, and not for every test
    from transformers.initialization import no_init_weights  # noqa: PLC0415

    raw = config.to_json()
    model_type = raw.pop("model_type")
    raw.pop("torch_dtype")
    if model_type == "llama":
        raw["attention_bias"] = config.output_bias
    theirs = AutoConfig.for_model(model_type, **raw)
    with no_init_weights(), torch.device("meta" if shared else "cpu"):  # all of them are given
        model = AutoModelForCausalLM.from_config(theirs, attn_implementation="sdpa", dtype=TORCH_DTYPES[dtype]).eval()  # type: ignore[index]
    model.tie_weights()  # which the initialisation that is left out would do
    state = dict(tensors.tensors)
    state.setdefault("lm_head.weight", state["model.embed_tokens.weight"])
    model.load_state_dict(state, assign=shared)
    if shared:
        model.model.rotary_emb = type(model.model.rotary_emb)(theirs)  # which is computed, not given
    if dtype == "fp64":
        for module in model.modules():
            if type(module).__name__.endswith("RMSNorm"):
                module.forward = _wide_norm(module)
    return model


def _wide_norm(module: Any) -> Any:
    def forward(x: Tensor) -> Tensor:
        scaled: Tensor = module.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + module.variance_epsilon)
        return scaled

    return forward


def card_ids(prompt: PromptFormat, instruction: str | None, query: str, document: str, max_length: int = 8_192) -> list[int]:
    """The ids that the model card's code makes: prefix, body cut to what is left, suffix."""
    text = qwen_text()
    prefix, suffix = text.template(prompt.prefix), text.template(prompt.suffix)
    (body,) = text.plain([prompt.body(instruction, query, document)], "body")
    return prefix + body[: max_length - len(prefix) - len(suffix)] + suffix


@torch.no_grad()
def card_logit(model: Any, ids: list[int], prompt: PromptFormat = QWEN3_V1) -> float:
    """logit(yes) - logit(no) at the last position, as the model card reads it, from the model's own logits."""
    yes, no = (qwen_text().single(word) for word in (prompt.yes, prompt.no))
    logits = model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1]
    return float(logits[yes] - logits[no])
