"""The values that cross every border: what goes in, what comes out.

Knows nothing of tensors, files or HTTP. Invariant: every value here is frozen, and a field name means the same in Python,
in JSON and in the API.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

Dtype = Literal["fp32", "bf16", "fp16", "fp64", "int8"]
DTYPES: tuple[Dtype, ...] = ("fp32", "bf16", "fp16", "fp64", "int8")
"""`int8`: the matrices of the layers in 8 bits, all else in fp32; on a CPU only."""
Device = Literal["cpu", "cuda"]

Progress = Callable[[int, int], None]
"""Called as `progress(done, total)` after every batch; both count pairs."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One query and one document. `instruction` None means the prompt format's default instruction."""

    query: str
    document: str
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class Windows:
    """Read a document that does not fit as overlapping windows, and give it the score of its best window.

    Neighbouring windows share `overlap_tokens` tokens; `max_windows` None reads the whole document, however long.
    """

    overlap_tokens: int = 256
    max_windows: int | None = None


@dataclass(frozen=True, slots=True)
class FirstStage:
    """Documents, and what the search that found them thinks of them: `scores`, one each, in any unit, higher is better.

    Both scores are standardised over these documents, and the search's counts `weight` times the model's.
    """

    documents: Sequence[str]
    scores: Sequence[float]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a document a score is for: window `index` of `count`, tokens [start, stop) of the document."""

    index: int
    count: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Score:
    """How relevant one document is.

    `index` is its place in the request. `logit` is logit(yes) - logit(no), in fp32 and unbounded; `relevance_score` is its
    sigmoid, the model's probability of yes. Order by `logit`: probabilities saturate at 1.0. `tokens` counts the tokens of
    the document that were read, `truncated` says that some were not. `window` is set only where windows were asked for and
    the document needed more than one. `fused` is set only where the first stage's scores were given: order by it then.
    """

    index: int
    relevance_score: float
    logit: float
    tokens: int
    truncated: bool
    window: Window | None = None
    fused: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request cost. A prefix (instruction and query) that documents share is counted once.

    `total_tokens` = `prefix_tokens` + `document_tokens` + the template's closing tokens, once a scored document or window.
    """

    documents: int
    prefix_tokens: int
    document_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class Ranking(Sequence[Score]):
    """The scores of one query's documents, best first; equal logits keep the order of the request."""

    model: str
    query: str
    results: tuple[Score, ...]
    usage: Usage

    def __len__(self) -> int:
        return len(self.results)

    @overload
    def __getitem__(self, index: int) -> Score: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Score, ...]: ...
    def __getitem__(self, index: int | slice) -> Score | tuple[Score, ...]:
        return self.results[index]

    def __iter__(self) -> Iterator[Score]:
        return iter(self.results)


@dataclass(frozen=True, slots=True)
class Numerics:
    """Device, precision and kernels, decided once when a model is loaded, each with its reason.

    `deterministic` True promises that a pair's logit is bitwise independent of the request around it; where it is False,
    logits agree within `tolerance`.
    """

    device: Device
    dtype: Dtype
    linear: str
    attention: str
    deterministic: bool
    tolerance: float
    reasons: tuple[str, ...]


DEFAULT_PAIR_TOKENS = 32_768
"""The longest prompt by default: what the makers of Qwen3-Reranker advertise."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine runs. Token counts; `prompt` None takes the checkpoint's own format.

    `max_pair_tokens` bounds one prompt, template included; None is DEFAULT_PAIR_TOKENS, or the model's own limit where that
    is smaller. `max_batch_tokens` bounds the tokens computed together, and with
    them the memory; a single longer pair still runs, alone. `max_kept_tokens` bounds the shared prefixes kept from one batch
    to the next; a longer prefix is computed again with every batch. `keep_quantized`: a model loaded in int8 leaves its
    quantised matrices in the cache folder, and the next loading takes them from there. `score_cache`: so many scores of a
    reranker are kept in memory for pairs that are asked again, the least recently asked dropped first; 0 keeps none.
    """

    max_pair_tokens: int | None = None
    max_batch_tokens: int = 4_096
    max_kept_tokens: int = 2_048
    prompt: str | None = None
    keep_quantized: bool = False
    score_cache: int = 0


JsonObject = dict[str, Any]
