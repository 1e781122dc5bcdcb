"""Where the time of a ranking goes: products, quantising, attention, norms, rotary positions, copies, head, text, the rest.

The engine's own functions are timed while they run, each without what it calls that is timed itself, so that the parts add up
to the whole. Knows the names of the functions that make up a part. Invariant: outside `parts_of` nothing is changed.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gigarank.engine import reranker as engine
from gigarank.engine import scoring
from gigarank.model import decoder
from gigarank.model.layers import HalfTurn, PairTurn
from gigarank.model.linear import PackedLinear, PlainLinear
from gigarank.model.packed import Context
from gigarank.model.quantized import QuantizedLinear
from gigarank.model.weights import Weights

REST = "rest: Python, planning, allocation"
_FOLLOWING = ("silu", "times", "plus")
_TIMED: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("products", PlainLinear, ("__call__",)),
    ("products", PackedLinear, ("_run", "_run_binary")),
    ("products", QuantizedLinear, ("_product",)),
    ("quantising", QuantizedLinear, ("prepare", "_scaled")),
    ("activations and residual", PlainLinear, _FOLLOWING),
    ("activations and residual", PackedLinear, _FOLLOWING),
    ("activations and residual", QuantizedLinear, _FOLLOWING),
    ("attention", decoder, ("segment_attention", "padded_attention")),
    ("norms", decoder, ("rms_norm",)),
    ("rotary positions", PairTurn, ("apply",)),
    ("rotary positions", HalfTurn, ("apply",)),
    ("copies of keys and values", Context, ("keep",)),
    ("embedding", Weights, ("embed",)),
    ("head", scoring.Scores, ("absorb",)),
    ("text to tokens", engine, ("encode",)),
)
SMALL = ("attention", "norms", "rotary positions", "activations and residual", "copies of keys and values")


class _Clock:
    """Exclusive seconds by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._turn()
        self._running.append(name)
        try:
            yield
        finally:
            self._turn()
            self._running.pop()

    def _turn(self) -> None:
        """Gives the time since the last turn to what ran until now."""
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] = self.seconds.get(self._running[-1], 0.0) + now - self._since
        self._since = now


def parts_of(work: Callable[[], object]) -> dict[str, float]:
    """Runs `work` once; seconds by part, the largest first, and `REST`: they add up to the time of the whole."""
    clock = _Clock()
    kept = [(owner, name, getattr(owner, name)) for _, owner, names in _TIMED for name in names]
    kept.append((Context, "layer", Context.layer))
    for part, owner, names in _TIMED:
        for name in names:
            setattr(owner, name, _timed(clock, part, getattr(owner, name)))
    setattr(Context, "layer", _timed_steps(clock, "copies of keys and values", Context.layer))  # noqa: B010 - as the others
    try:
        with clock.part(REST):
            work()
    finally:
        for owner, name, original in kept:
            setattr(owner, name, original)
    return dict(sorted(clock.seconds.items(), key=lambda part: -part[1]))


def _timed(clock: _Clock, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*given: Any, **named: Any) -> Any:
        with clock.part(part):
            return function(*given, **named)

    return timed


def _timed_steps(clock: _Clock, part: str, function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """A generator's own time, without that of whoever reads it."""

    def timed(*given: Any) -> Iterator[Any]:
        steps = function(*given)
        while True:
            with clock.part(part):
                step = next(steps, None)
            if step is None:
                return
            yield step

    return timed
