"""One pair at an official shape against transformers, layer by layer: for models whose fp32 weights no memory here holds.

Both read the same bf16 checkpoint, and compute in fp32. Ours is the whole engine, only that each product reads its matrix when
it is asked and forgets it then; transformers' decoder layers are its own modules, built, filled and dropped one after the
other. Knows no speed. Invariant: at no time is more than one layer in memory in fp32.
"""

import dataclasses
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gigarank.bench.qwen_tokenizer import qwen_tokenizer
from gigarank.engine.loading import Loaded, pair_limit, read_config
from gigarank.engine.numerics import choose_numerics, placement
from gigarank.engine.plan import Limits
from gigarank.engine.reranker import Reranker
from gigarank.engine.runner import Runner
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer
from gigarank.model.config import ModelConfig
from gigarank.model.decoder import Decoder
from gigarank.model.linear import Linear, Operand
from gigarank.model.weights import TensorFiles, load_weights
from gigarank.prompt import PromptFormat
from gigarank.types import EngineOptions

TOLERANCE = 1e-4
"""How far two raw logits in fp32 may be apart."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Both raw logits of one pair, and the number of its tokens."""

    ours: float
    theirs: float
    tokens: int

    @property
    def difference(self) -> float:
        return abs(self.ours - self.theirs)


class ReadLinear:
    """A product whose matrix is read and packed for every use, and forgotten then."""

    def __init__(self, make: Callable[[], Linear]) -> None:
        self._make = make

    def prepare(self, x: Tensor) -> Operand:
        return x

    def __call__(self, x: Operand) -> Tensor:
        return self._make()(x)

    def silu(self, x: Operand) -> Tensor:
        return self._make().silu(x)

    def times(self, x: Operand, factor: Tensor) -> Tensor:
        return self._make().times(x, factor)

    def plus(self, x: Operand, residual: Tensor) -> Tensor:
        return self._make().plus(x, residual)


def streamed(folder: Path, prompt: PromptFormat) -> Reranker:
    """Our engine on a checkpoint folder, in fp32, with matrices that are read when they are needed."""
    config, options, numerics = read_config(folder), EngineOptions(), choose_numerics("cpu", "fp32")
    place = placement(numerics)

    def stored(_: str, read: Callable[[], Tensor], bias: Tensor | None) -> Linear:
        return ReadLinear(lambda: place.linear(read().to(place.dtype), bias))

    weights = load_weights(TensorFiles(folder), config, dataclasses.replace(place, stored=stored))
    longest = pair_limit(options, config)
    limits = Limits(options.max_batch_tokens, options.max_kept_tokens)
    runner = Runner(Decoder(config, weights, longest), limits)
    text = TextTokenizer(qwen_tokenizer(config.vocab_size).to_str())
    return Reranker(Loaded(folder.name, config, numerics, runner, longest), PromptTokenizer(text, prompt, longest))


def reference_logit(folder: Path, config: ModelConfig, ids: list[int], answers: tuple[int, int]) -> float:
    """logit(yes) - logit(no) at the last of `ids` by transformers' modules; `answers` are the ids of yes and no."""
    from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm, Qwen3RotaryEmbedding  # noqa: PLC0415 - of the extra

    source, theirs = TensorFiles(folder), _their_config(config)
    with torch.inference_mode():
        hidden = source.get("model.embed_tokens.weight")[torch.tensor([ids])].float()  # (1, tokens, hidden_size)
        turns = Qwen3RotaryEmbedding(theirs)(hidden, torch.arange(len(ids))[None])
        for layer in _their_layers(theirs, source):
            hidden = layer(hidden, position_embeddings=turns, attention_mask=None)
        norm = Qwen3RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        norm.load_state_dict({"weight": source.get("model.norm.weight").float()})
        head = source.get("model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight")
        yes, no = (head[list(answers)].float() @ norm(hidden[0, -1])).tolist()
    return float(yes - no)


def _their_config(config: ModelConfig) -> Any:
    from transformers import Qwen3Config  # noqa: PLC0415 - of the extra, and seconds long

    given = config.to_json()
    theirs = Qwen3Config(**{name: value for name, value in given.items() if name not in ("model_type", "torch_dtype")})
    theirs._attn_implementation = "sdpa"
    return theirs


def _their_layers(theirs: Any, source: TensorFiles) -> Iterator[Any]:
    from transformers.initialization import no_init_weights  # noqa: PLC0415 - of the extra
    from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer  # noqa: PLC0415

    for index in range(theirs.num_hidden_layers):
        with no_init_weights():
            layer = Qwen3DecoderLayer(theirs, index).eval()
        own = f"model.layers.{index}."
        layer.load_state_dict({name: source.get(own + name).float() for name in layer.state_dict()})
        yield layer
        del layer
        gc.collect()


def compare(folder: Path, prompt: PromptFormat, query: str, document: str) -> Agreement:
    """One pair by both, from one checkpoint folder of a Qwen3 shape."""
    ours = streamed(folder, prompt)
    (score,) = ours.score([(query, document)])
    text = ours.tokenizer.text
    (body,) = text.plain([prompt.body(None, query, document)], "body")
    ids = [*text.template(prompt.prefix), *body, *text.template(prompt.suffix)]
    answers = (text.single(prompt.yes), text.single(prompt.no))
    return Agreement(score.logit, reference_logit(folder, ours.config, ids, answers), len(ids))
