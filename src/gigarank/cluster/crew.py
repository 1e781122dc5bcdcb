"""How many engines a cluster holds, and with how many threads each: one division over what every machine has.

Knows numbers only. Invariant: no machine gets more engines than it has processors, or graphics cards where these are used,
and by default none holds more copies of the weights than fit into half of its memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gigarank.errors import InvalidInput

_SHARE = 2  # weights take at most one part in two of a machine's memory; the rest is for batches and everybody else


@dataclass(frozen=True, slots=True)
class Machine:
    """What one machine offers. `memory` in bytes."""

    cpus: int
    memory: int
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Crew:
    """`actors` engines in all, each with so many threads and cards."""

    actors: int
    threads: int
    gpus: int = 0


def crew(machines: Sequence[Machine], weight_bytes: int, asked: int | None, with_gpus: bool) -> Crew:
    """`asked` is the number of engines that the user wants, None as many as fit. Raises InvalidInput."""
    usable = [one for one in machines if one.cpus > 0]
    if not usable:
        raise InvalidInput("cluster: none of its machines has a free processor", param="cluster", limit=1, received=0)
    if with_gpus and any(one.gpus for one in usable):
        most = sum(min(one.gpus, one.cpus) for one in usable)
        return Crew(_within(asked, most, "graphics cards"), 1, 1)
    if asked is not None:
        actors = _within(asked, sum(one.cpus for one in usable), "processors")
        share = -(-actors // len(usable))  # of the machine that gets most
        return Crew(actors, max(1, min(one.cpus for one in usable) // share))
    fitting = [_fitting(one, weight_bytes) for one in usable]
    threads = min(one.cpus // own for one, own in zip(usable, fitting, strict=True))
    return Crew(sum(fitting), max(1, threads))


def _fitting(machine: Machine, weight_bytes: int) -> int:
    return max(1, min(machine.cpus, machine.memory // (_SHARE * max(1, weight_bytes))))


def _within(asked: int | None, most: int, what: str) -> int:
    if asked is not None and asked > most:
        raise InvalidInput(f"actors: {asked}, and the cluster has {most} {what}", param="actors", limit=most, received=asked)
    return most if asked is None else asked
