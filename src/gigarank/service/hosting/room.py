"""Who has to sleep so that another model fits: integers in, names out.

Pure: no torch, no clock, no threads. Invariant: models that may not sleep are never chosen, and of the others none is chosen
while a longer unused one stays awake.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gigarank.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Resident:
    """What takes memory now. `last_used`: seconds of any clock, larger is later."""

    name: str
    memory_bytes: int
    last_used: float
    may_sleep: bool


@dataclass(frozen=True, slots=True)
class Demand:
    """A model that is offered and what it will take."""

    name: str
    memory_bytes: int
    pinned: bool


def to_sleep(residents: Sequence[Resident], needed_bytes: int, budget_bytes: int) -> list[str] | None:
    """The models to put to sleep, longest unused first and no more than it takes; None where all that may would not do."""
    over = sum(resident.memory_bytes for resident in residents) + needed_bytes - budget_bytes
    chosen = []
    for resident in sorted(residents, key=lambda one: one.last_used):
        if over <= 0:
            break
        if resident.may_sleep:
            over -= resident.memory_bytes
            chosen.append(resident.name)
    return chosen if over <= 0 else None


def require_room(demands: Sequence[Demand], budget_bytes: int) -> None:
    """Raises InvalidInput, with the numbers, where some model could never be served beside the pinned ones."""
    pinned = sum(demand.memory_bytes for demand in demands if demand.pinned)
    for demand in demands:
        together = pinned if demand.pinned else pinned + demand.memory_bytes
        if together > budget_bytes:
            beside = pinned - demand.memory_bytes if demand.pinned else pinned
            raise InvalidInput(
                f"models: {demand.name} takes {demand.memory_bytes:,} bytes of memory and the pinned models beside it "
                f"{beside:,}: {together:,} of a budget of {budget_bytes:,}",
                param="memory_bytes",
                limit=budget_bytes,
                received=together,
            )
