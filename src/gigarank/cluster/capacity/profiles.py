"""What models cost on hardware, as data with provenance: measured here, or assumed from a data sheet.

A fact says which of its numbers were measured, which somebody published, and which are assumed. Nothing has been measured on
a GPU: there the arithmetic of the model is divided by a data sheet's speed times an assumed utilisation. Knows no prices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gigarank import catalogue
from gigarank.catalogue import Model
from gigarank.cluster.capacity.costs import Costs, layer_weights, reach_operations, row_operations
from gigarank.errors import InvalidInput

Basis = Literal["measured", "published", "assumed"]
UTILISATION = 0.4
_BYTES = 2  # of a weight in bf16


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of what a plan rests on."""

    what: str
    basis: Basis
    source: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What one replica of `model` on `hardware` costs, and why that is believed. `batch_tokens`: computed together."""

    model: str
    hardware: str
    costs: Costs
    batch_tokens: int
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class DataSheet:
    """Dense bf16 operations a second, bytes a second of its memory, and its size in bytes: the maker's figures."""

    title: str
    operations_per_second: float
    bytes_per_second: float
    memory_bytes: float
    source: str


DATA_SHEETS = {
    "h100": DataSheet("NVIDIA H100 SXM", 989.4e12, 3.35e12, 80e9, "NVIDIA's data sheet of the H100 SXM"),
    "h200": DataSheet("NVIDIA H200 SXM", 989.4e12, 4.8e12, 141e9, "NVIDIA's data sheet of the H200 SXM"),
    "a100": DataSheet("NVIDIA A100 80GB SXM", 312e12, 2.039e12, 80e9, "NVIDIA's data sheet of the A100 80GB SXM"),
    "l40s": DataSheet("NVIDIA L40S", 362.05e12, 864e9, 48e9, "NVIDIA's data sheet of the L40S"),
    "l4": DataSheet("NVIDIA L4", 121e12, 300e9, 24e9, "NVIDIA's data sheet of the L4"),
}
SERVED_BATCH_TOKENS = 1_024
"""What `gigarank serve` computes together unless it is told."""
_GPU_BATCH_TOKENS = 8_192

_SERVED = "`scripts/bench plan`, 2026-11-27, one thread of an AMD EPYC"
_FITTED = "`scripts/bench plan`, 2026-11-28, one thread of an AMD EPYC"
_BENCH = "`gigarank bench engine` in docs/performance.md, 2 cores of an AMD EPYC, 2026-11-27"
_REQUEST_S, _DOCUMENT_S = 0.0024, 0.00013
_OUTSIDE = Fact(
    f"{_REQUEST_S * 1e3:g} ms a request and {_DOCUMENT_S * 1e3:g} ms a document outside the model", "measured", _SERVED
)

MEASURED = {
    ("nano", "cpu"): Profile(
        "nano",
        "cpu",
        Costs(catalogue.NANO.shape.num_hidden_layers, 0.0494, 0.00229, 7.46e-7, _REQUEST_S, _DOCUMENT_S),
        SERVED_BATCH_TOKENS,
        (Fact("49.4 ms a batch, 2.29 ms a token, fp32", "measured", _FITTED), _OUTSIDE),
    ),
    ("qwen3-reranker-0.6b", "cpu"): Profile(
        "qwen3-reranker-0.6b",
        "cpu",
        Costs(catalogue.RERANKER_0_6B.shape.num_hidden_layers, 0.0, 1 / 223, 0.0, _REQUEST_S, _DOCUMENT_S),
        SERVED_BATCH_TOKENS,
        (
            Fact(
                "223 tokens/s in fp32, passages, two threads a replica",
                "measured",
                _BENCH,
            ),
            Fact("no cost of a batch by itself", "assumed", "the measurement is of one workload"),
            _OUTSIDE,
        ),
    ),
}
"""By model and hardware."""

HARDWARE = (*sorted({hardware for _, hardware in MEASURED}), *DATA_SHEETS)


def find(model: str, hardware: str, utilisation: float = UTILISATION) -> Profile:
    """Raises UnknownModel, and InvalidInput for hardware without data."""
    known = catalogue.find(model)
    if known is None or known.kind != "reranker":
        raise catalogue.unknown(model)
    if (measured := MEASURED.get((known.name, hardware))) is not None:
        return measured
    if hardware not in HARDWARE:
        names = ", ".join(HARDWARE)
        raise InvalidInput(f"hardware: {hardware!r} is not among {names}", param="hardware", limit=names, received=hardware)
    if hardware not in DATA_SHEETS:
        there = ", ".join(name for name, place in MEASURED if place == hardware)
        message = f"hardware: on {hardware} only {there} were measured, not {known.name}: give --profile, or a GPU"
        raise InvalidInput(message, param="hardware", limit=there, received=known.name)
    return _assumed(known, hardware, utilisation)


def _assumed(model: Model, hardware: str, utilisation: float) -> Profile:
    sheet = DATA_SHEETS[hardware]
    if not 0.0 < utilisation <= 1.0:
        raise InvalidInput(f"utilisation: above 0, at most 1, not {utilisation:g}", param="utilisation", received=utilisation)
    if model.parameters * _BYTES > sheet.memory_bytes:
        needed = f"{model.parameters * _BYTES / 1e9:.1f} GB"
        raise InvalidInput(f"hardware: {model.name} has {needed} of weights, more than {hardware}", param="hardware")
    weights, speed = layer_weights(model.shape), sheet.operations_per_second * utilisation
    costs = Costs(
        layers=model.shape.num_hidden_layers,
        batch_s=weights * _BYTES / sheet.bytes_per_second,
        token_s=row_operations(model.shape) / speed,
        reach_s=reach_operations(model.shape) / speed,
        request_s=_REQUEST_S,
        document_s=_DOCUMENT_S,
    )
    return Profile(model.name, hardware, costs, _GPU_BATCH_TOKENS, _facts(model, sheet, utilisation, weights))


def _facts(model: Model, sheet: DataSheet, utilisation: float, weights: int) -> tuple[Fact, ...]:
    peak = f"{sheet.operations_per_second / 1e12:g} TFLOP/s in dense bf16, {sheet.bytes_per_second / 1e12:g} TB/s"
    return (
        Fact(f"{sheet.title}: {peak}", "published", sheet.source),
        Fact(
            f"{weights / 1e9:.2f} billion weights are multiplied for a token", "published", f"the shape of {model.repository}"
        ),
        Fact(f"{utilisation:.0%} of those operations are reached", "assumed", "never measured here; --utilisation"),
        Fact("a batch reads all weights once, beside its arithmetic", "assumed", "the data sheet's bytes a second"),
        _OUTSIDE,
    )


def basis_of(facts: Sequence[Fact]) -> str:
    """`measured` where everything was; otherwise `assumed`, for a plan is as good as the weakest fact under it."""
    return "measured" if all(fact.basis == "measured" for fact in facts) else "assumed"
