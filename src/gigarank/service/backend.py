"""What the server asks of whoever scores: the one seam between HTTP and models, where a test or a cluster puts its own.

Knows no HTTP and no torch. Invariant: every call ends in a result or a GigarankError; cancelling the awaiting task takes the
work out of the queue before it costs anything more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from gigarank.engine.work import Admit, Prompt, Result, Tier, Timing, Work
from gigarank.types import Usage

Vectors = npt.NDArray[np.float32]
Kind = Literal["reranker", "embedder"]
State = Literal["ready", "sleeping", "loading", "failed"]


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model that this server offers. `max_pair_tokens` bounds a prompt, template included (an embedder's text)."""

    name: str
    aliases: tuple[str, ...]
    kind: Kind
    state: State
    max_pair_tokens: int
    created: int  # Unix seconds
    description: str = ""
    repository: str = ""
    dtype: str = ""
    instruction: str = ""  # the default instruction
    pinned: bool = False
    prompt: str = "qwen3-v1"  # the prompt format's id, a key of prompt.FORMATS; an embedder's says nothing
    failure: str = ""  # why `state` is failed
    ready_in_s: float | None = None  # an estimate, while `state` is loading
    retires: int | None = None  # Unix seconds, from when on it is not served


@dataclass(frozen=True, slots=True)
class Urgency:
    """How long a call may wait, and who is asked before it is computed. `deadline`: time.monotonic() seconds. `wait_s`: how
    long to wait for a sleeping model."""

    priority: int = 0
    tier: Tier = "default"
    deadline: float | None = None
    wait_s: float = 0.0
    admit: Admit | None = None  # of embed and answer; Work has its own


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors (n, dimensions) of length 1, in the order of the texts."""

    vectors: Vectors
    usage: Usage
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True, slots=True)
class Answered:
    """For one prompt: the natural logarithms of the exact probabilities, over the whole vocabulary, of the answer words."""

    yes: str
    no: str
    yes_logprob: float
    no_logprob: float
    prompt_tokens: int
    timing: Timing = field(default_factory=Timing)  # of all prompts that were asked together


@dataclass(frozen=True, slots=True)
class QueueState:
    """What waits and what runs in one model's queue."""

    model: str
    waiting_requests: int
    waiting_pairs: int
    waiting_tokens: int


class ScoringBackend(Protocol):
    """`model` is any name or alias in `models()`; another raises UnknownModel. Also raised: InvalidInput, ModelLoading,
    ModelUnavailable, Overloaded, RequestTooLarge, ShuttingDown, WorkerFailed; of `embed` and `answer` DeadlineExceeded."""

    def models(self) -> Sequence[ModelState]: ...

    def queues(self) -> Sequence[QueueState]: ...

    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result: ...

    async def embed(
        self, model: str, texts: Sequence[str], *, task: str | None, dimensions: int | None, urgency: Urgency
    ) -> Embedded:
        """`task` None: the texts are documents; else they are queries of that task, and "" is the default task."""
        ...

    async def answer(self, model: str, prompts: Sequence[Prompt], urgency: Urgency) -> list[Answered]:
        """Whole prompts, read as they are; one that does not fit raises InvalidInput."""
        ...

    def ready(self) -> bool:
        """Whether every pinned model is loaded and has passed its self-test."""
        ...

    async def start(self) -> None: ...

    async def drain(self, timeout_s: float) -> None:
        """Accepts nothing more and returns when what was accepted is answered, or after `timeout_s`."""
        ...
