"""What is asked of a worker and what it answers: texts in, an outcome for every document out.

Values only: no torch, no HTTP. Invariant: a result holds one outcome for every document of every search, in the order of the
request, whatever became of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gigarank.errors import GigarankError
from gigarank.types import Score, Usage, Windows

MOST_CHARACTERS_PER_TOKEN = 8
"""A request with more characters than this for each token that may wait is refused before it is encoded."""
Tier = Literal["default", "batch"]
"""`batch` is the flexible tier: it runs when nothing of the default tier waits."""


Admit = Callable[[Usage], None]
"""Asked once the tokens of a request are counted and before anything is computed, with what it costs if all of it is; not on
the caller's thread, and it may wait. A GigarankError that it raises ends the request."""


@dataclass(frozen=True, slots=True)
class Search:
    """One query and its documents. `instruction` None is the prompt format's default."""

    query: str
    documents: tuple[str, ...]
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """Searches to score together.

    `priority`: lower runs earlier. `deadline`: time.monotonic() seconds; what is not scored by then is answered as Unscored.
    `max_document_tokens`, `max_query_tokens`: longer ones are cut at their end. `truncate` False: a document that does not
    fit fails instead of being cut. `windows`: see types.Windows. `admit`: see Admit; None lets everything in.
    """

    searches: tuple[Search, ...]
    priority: int = 0
    tier: Tier = "default"
    deadline: float | None = None
    max_document_tokens: int | None = None
    max_query_tokens: int | None = None
    truncate: bool = True
    windows: Windows | None = None
    admit: Admit | None = None


@dataclass(frozen=True, slots=True)
class Turns:
    """A prompt in pieces, each (text, template?): special tokens count in what a template wrote, and in nothing else.

    Its ids are those of the pieces, each encoded by itself, put together.
    """

    pieces: tuple[tuple[str, bool], ...]


Prompt = str | Sequence[int] | Turns
"""A whole prompt: text in which special tokens count, token ids, or pieces."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Document `index` of its search could not be scored; the others could."""

    index: int
    error: GigarankError


@dataclass(frozen=True, slots=True)
class Unscored:
    """The deadline passed before document `index` of its search was scored."""

    index: int


Outcome = Score | Failure | Unscored


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds: waiting for the model's first batch, making tokens, from the first batch's start to the last one's end."""

    queued_ms: float = 0.0
    tokenize_ms: float = 0.0
    inference_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """`outcomes[s][d]` belongs to document d of search s. `usage` counts what was computed, and what was kept from before as
    if it had been computed."""

    outcomes: tuple[tuple[Outcome, ...], ...]
    usage: Usage
    timing: Timing = field(default_factory=Timing)
