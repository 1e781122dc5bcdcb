"""One request and its answer, as log, metrics and traces see them.

Invariant: no text of a query or a document is in here, and nothing of a key.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gigarank.engine.work import Timing


@dataclass(frozen=True, slots=True)
class Exchange:
    """`route` is the path's template, or "unmatched"; `error` the code of an error; `defect` where an unforeseen one arose."""

    request_id: str
    method: str
    route: str
    status: int
    total_ms: float
    client: str = ""
    agent: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    model: str = ""
    documents: int = 0
    tokens: int = 0
    timing: Timing = field(default_factory=Timing)
    error: str = ""
    defect: str = ""

    def stages(self) -> Iterator[tuple[str, float]]:
        """(stage, milliseconds); `other` is what HTTP, parsing and rendering took."""
        timing = self.timing
        yield "queue", timing.queued_ms
        yield "tokenize", timing.tokenize_ms
        yield "inference", timing.inference_ms
        yield "other", max(0.0, self.total_ms - timing.queued_ms - timing.tokenize_ms - timing.inference_ms)
