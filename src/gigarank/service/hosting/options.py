"""How a host runs: one frozen value. Imports no torch.

Invariant: every field has a unit in its name or its line, and a default that serves one model on one machine.
"""

from dataclasses import dataclass

from gigarank.errors import InvalidInput
from gigarank.service.hosting.specs import ModelSpec


@dataclass(frozen=True, slots=True)
class HostOptions:
    """`memory_bytes` None: 80 percent of what the machine has for models (a container's limit counts).

    `idle_s`: a model unused that long sleeps; 0 is never. `retry_failed_s`: after a failed load or self-test the reason is
    answered that long, and the next request then tries anew. `fresh_s`: a model that was loaded for a client that was told to
    come back is kept at least that long. `patience_s`: a model that waits that long for room makes the longest unused one
    that is busy finish what it has and sleep.
    """

    models: tuple[ModelSpec, ...]
    memory_bytes: int | None = None
    idle_s: float = 0.0
    retry_failed_s: float = 60.0
    fresh_s: float = 10.0
    patience_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("idle_s", "retry_failed_s", "fresh_s", "patience_s"):
            value = getattr(self, name)
            if not value >= 0.0:
                raise InvalidInput(f"{name}: must be at least 0, not {value}", param=name, limit=0, received=value)
        if self.memory_bytes is not None and self.memory_bytes < 1:
            raise InvalidInput(
                f"memory_bytes: must be at least 1, not {self.memory_bytes}",
                param="memory_bytes",
                limit=1,
                received=self.memory_bytes,
            )
