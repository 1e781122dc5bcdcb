"""What a drill found, and whether that is as it must be.

Invariant: a verdict without `faults` says that every answer was right and paid for once, that nothing else was paid for, that
nothing was lost where somebody served, that the ledger adds up and that nothing is held.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from drills.load import Asked, Load, quantile
from houses import House


@dataclass(frozen=True)
class Verdict:
    """`lost`: requests that nobody answered, in the end. `refused`: tries by their status, 0 where the connection broke.
    `charged`: rows of usage. Times in ms: undisturbed, and from the fault on."""

    drill: str
    requests: int
    lost: int
    refused: dict[str, int]
    charged: int
    held: int
    calm_p99_ms: float
    fault_p99_ms: float
    longest_ms: float
    note: str
    faults: tuple[str, ...]

    def but(self, *faults: str) -> "Verdict":
        """With these faults too; an empty one is none."""
        return replace(self, faults=(*self.faults, *filter(None, faults)))

    @property
    def line(self) -> dict[str, Any]:
        return {**asdict(self), "sound": not self.faults}

    @property
    def row(self) -> str:
        refused = ", ".join(
            f"{count} of {status}" if status != "0" else f"{count} cut" for status, count in self.refused.items()
        )
        times = f"{self.calm_p99_ms:.0f} and {self.fault_p99_ms:.0f} ms"
        cells = (self.drill, self.requests, self.lost, refused or "none", self.charged, times, self.note or "-")
        return "| " + " | ".join(map(str, (*cells, "; ".join(self.faults) or "as it must be"))) + " |"


HEAD = (
    "| drill | requests | lost | tries refused | paid | p99 before and after | | verdict |\n|---|---|---|---|---|---|---|---|"
)


def judge(
    drill: str,
    house: House,
    load: Load,
    calm: Sequence[Asked],
    *,
    cut: int = 0,
    also: int = 0,
    losing: bool = False,
    note: str = "",
    patience_s: float = 10.0,
) -> Verdict:
    """After the load has ended, while a server of the house runs or none. `cut`: requests that were running when their server
    was killed: each may have been paid for without its answer. `also`: what else was answered and is to be paid for. `losing`:
    for a while nobody serves, so that requests are lost."""
    undisturbed = set(calm)
    after = [one for one in load.done if one not in undisturbed]
    answered, lost = (sum(one.answered is wanted for one in load.done) for wanted in (True, False))
    refused = {str(status): count for status, count in sorted(load.statuses().items()) if status != 200}
    held = _held(house, patience_s)
    faults = [] if house.admin("check")["sound"] else ["the ledger does not add up"]
    charged = int(house.rows("SELECT count(*) FROM usage WHERE batch_id IS NULL")[0][0])
    spent = house.rows("SELECT coalesce(sum(amount_micros), 0) FROM usage")[0][0]
    debits = house.rows("SELECT coalesce(-sum(amount_micros), 0) FROM ledger WHERE kind = 'debit'")[0][0]
    if not answered + also <= charged <= answered + also + cut:
        faults.append(f"{answered + also} answers, and {charged} were paid for")
    if lost and not losing:
        faults.append(f"{lost} requests were lost")
    if spent != debits:
        faults.append(f"usage says {spent}, the ledger {debits}")
    if load.wrong:
        faults.append(f"{len(load.wrong)} answers have other scores than the engine's")
    if held:
        faults.append(f"{held} holds are left")
    calm_ms, fault_ms, longest_ms = (round(one, 1) for one in (quantile(calm, 0.99), quantile(after, 0.99), quantile(after, 1)))
    counts = (len(load.done), lost, refused, charged, held)
    return Verdict(drill, *counts, calm_ms, fault_ms, longest_ms, note, tuple(faults))


def _held(house: House, timeout_s: float) -> int:
    """Holds that are there still after a while in which nobody asks: what a server owes, it gives back by itself."""
    end = time.monotonic() + timeout_s
    while (held := int(house.rows("SELECT count(*) FROM reservations")[0][0])) and time.monotonic() < end:
        time.sleep(0.1)
    return held
