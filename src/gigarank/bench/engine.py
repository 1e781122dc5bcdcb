"""The engine bench: one run, all contestants, round after round; a result that says what it was measured on.

Order: our engine is loaded and its peak memory taken before any peer is; then, workload by workload, every contestant is
checked against ours on the same documents and warmed up; then they take turns. Invariant: a ratio is the median of the
ratios within each round, so that a machine that slows down slows all.
"""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gigarank.bench import machine, summary
from gigarank.bench.checkpoint import shape_of, write_checkpoint
from gigarank.bench.gemm import GemmLimit
from gigarank.bench.memory import PeakMemory
from gigarank.bench.peers import Contestant, Ours, check_names, load_peer
from gigarank.bench.summary import Round
from gigarank.bench.workloads import Request, Workload, head, request
from gigarank.catalogue import Shape
from gigarank.engine import numerics
from gigarank.errors import InvalidInput
from gigarank.prompt import PromptFormat
from gigarank.types import Dtype, JsonObject

TOLERANCES: dict[str, float] = {"fp32": 1e-3, "bf16": numerics.TOLERANCES["bf16"], "int8": numerics.TOLERANCES["int8"]}
"""By how much a peer's raw logit may differ from ours. In bf16 the peers' logits themselves are rounded to 1/32; beside our
int8 the peers compute in fp32."""

CHECKED_DOCUMENTS, CHECKED_WORDS = 8, 200
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What to run. `layers` shortens the model for a quick look; the result then says so."""

    shape: str
    dtype: Dtype = "fp32"
    layers: int | None = None
    repeats: int = 3
    against: tuple[str, ...] = ()
    seed: int = 0


def check(settings: Settings) -> tuple[Shape, PromptFormat]:
    """The shape to build; raises InvalidInput or ModelUnavailable before anything costly starts."""
    if settings.dtype not in TOLERANCES:
        known = ", ".join(TOLERANCES)
        raise InvalidInput(
            f"dtype: {settings.dtype!r} is not among {known}", param="dtype", limit=known, received=settings.dtype
        )
    if settings.repeats < 1:
        raise InvalidInput(f"repeats: at least 1, not {settings.repeats}", param="repeats", limit=1, received=settings.repeats)
    check_names(settings.against)
    return shape_of(settings.shape, settings.layers)


def run(settings: Settings, workloads: Sequence[Workload], say: Say) -> JsonObject:
    """Runs everything; `say` gets lines of progress. The first workload's headline stands at the top of the result."""
    shape, prompt = check(settings)
    about = machine.describe(machine.PACKAGES + machine.PEER_PACKAGES)
    with tempfile.TemporaryDirectory(prefix="gigarank-bench-") as place:
        folder = Path(place) / "checkpoint"
        say(f"writing random weights: {settings.shape}, {shape.num_hidden_layers} layers")
        tokenizer = write_checkpoint(folder, shape, prompt, settings.seed)
        requests = [request(workload, tokenizer, prompt, settings.seed) for workload in workloads]
        ours = Ours(folder, settings.dtype, prompt)
        peaks = [_peak(ours, workload, asked, say) for workload, asked in zip(workloads, requests, strict=True)]
        peers = tuple(_loaded(name, folder, settings, prompt, say) for name in settings.against)
    # The files are gone before the long part begins; what is mapped of them stays readable.
    stage = Stage(ours, peers, settings, say)
    results = [measure(stage, workload, asked) | peak for workload, asked, peak in zip(workloads, requests, peaks, strict=True)]
    return summary.headline(results[0]) | {
        "bench": "engine",
        "model": describe_model(settings, shape),
        "repeats": settings.repeats,
        "contestants": {contestant.name: contestant.how for contestant in (ours, *peers)},
        "numerics": asdict(ours.loaded.numerics),
        "machine": about,
        "results": results,
    }


def describe_model(settings: Settings, shape: Shape) -> JsonObject:
    full = shape_of(settings.shape)[0].num_hidden_layers
    return {
        "shape": settings.shape,
        "weights": f"random, seed {settings.seed}",
        "dtype": settings.dtype,
        "layers": shape.num_hidden_layers,
        "shortened": shape.num_hidden_layers != full,
    }


def _peak(ours: Ours, workload: Workload, asked: Request, say: Say) -> JsonObject:
    """The peak of one whole run of ours; it is also the warm-up of our engine on this workload."""
    say(f"{workload.name}: our engine once, for its peak memory")
    with PeakMemory() as peak:
        ours.scores(asked.query, asked.documents)
    return {"peak_memory_bytes": peak.peak_bytes, "peak_memory_is": f"{peak.method}, no peer loaded"}


def _loaded(name: str, folder: Path, settings: Settings, prompt: PromptFormat, say: Say) -> Contestant:
    say(f"loading {name}")
    return load_peer(name, folder, settings.dtype, prompt)


@dataclass(frozen=True, slots=True)
class Stage:
    """What every measurement of a run shares."""

    ours: Ours
    peers: tuple[Contestant, ...]
    settings: Settings
    say: Say


def measure(stage: Stage, workload: Workload, asked: Request) -> JsonObject:
    """One workload: the check, which is also the warm-up, the rounds, the summary."""
    checked = head(asked, CHECKED_DOCUMENTS, CHECKED_WORDS)
    reference = stage.ours.scores(checked.query, checked.documents)
    agreement = {}
    for peer in stage.peers:
        agreement[peer.name] = _difference(peer.scores(checked.query, checked.documents), reference)
        stage.say(f"{workload.name}: {peer.name} and we differ by at most {agreement[peer.name]:.1e} before timing")
    batches = stage.ours.batches(asked.query, asked.documents)
    loaded = stage.ours.loaded
    limit = GemmLimit(loaded.runner.decoder.weights.layers, loaded.config, batches)
    rounds = [_round(stage, workload, asked, limit, number) for number in range(1, stage.settings.repeats + 1)]
    largest = {name: max(before, *(one.differences[name] for one in rounds)) for name, before in agreement.items()}
    return summary.summarise(workload, asked, rounds, batches, loaded.config) | {
        "agreement": summary.agreement(largest, TOLERANCES[stage.settings.dtype])
    }


def _round(stage: Stage, workload: Workload, asked: Request, limit: GemmLimit, number: int) -> Round:
    """Everyone once: ours, the products alone, the peers."""
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    logits = stage.ours.scores(asked.query, asked.documents)
    seconds[stage.ours.name] = time.perf_counter() - started
    started = time.perf_counter()
    limit.run()
    seconds[limit.name] = time.perf_counter() - started
    differences = {}
    for peer in stage.peers:
        started = time.perf_counter()
        theirs = peer.scores(asked.query, asked.documents)
        seconds[peer.name] = time.perf_counter() - started
        differences[peer.name] = _difference(theirs, logits)
    shown = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
    stage.say(f"{workload.name}, round {number} of {stage.settings.repeats}: {shown}")
    return Round(seconds, differences, max(logits) - min(logits))


def _difference(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """The largest; infinity where a score is NaN, which no comparison would see."""
    each = [abs(their - our) for their, our in zip(theirs, ours, strict=True)]
    return max(each) if all(math.isfinite(one) for one in each) else math.inf
