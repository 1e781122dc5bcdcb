"""Several checkpoints of one model made into one: their mean, or the way along the sphere between them (slerp).

Read and written tensor by tensor. Merging checkpoints of one training run is the last stage of the published recipe (arXiv
2506.05176). Knows tensors, not what they compute. Invariant: only checkpoints with the same config, tokenizer and tensors are
merged; the sources are never written to.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from gigarank.engine.json_file import read_json
from gigarank.engine.store import Checkpoint
from gigarank.errors import CheckpointError, InvalidInput
from gigarank.model.weights import TensorFiles, TensorSource
from gigarank.training.export import source_of

Method = Literal["linear", "slerp"]
_SAME = 1.0 - 1e-9  # of a cosine: directions closer than this have no arc that could be computed
_IGNORED = ("torch_dtype", "dtype", "transformers_version", "_name_or_path", "use_cache")


class MixedTensors:
    """The tensors of several checkpoints, mixed as each is read; a TensorSource."""

    def __init__(self, sources: Sequence[TensorSource], weights: Sequence[float], method: Method) -> None:
        self._sources = sources
        self._weights = weights
        self._method = method

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return dict(self._sources[0].shapes())

    def get(self, name: str) -> Tensor:
        parts = [source.get(name).double() for source in self._sources]
        mixed = linear(parts, self._weights) if self._method == "linear" else slerp_all(parts, self._weights)
        return mixed.float()


def mixed(checkpoints: Sequence[Checkpoint], weights: Sequence[float] | None, method: Method) -> MixedTensors:
    """The tensors of checkpoints, each with its adapter merged in, mixed by `weights` (None: equal shares; they are divided by
    their sum).

    Raises InvalidInput for weights that do not fit, CheckpointError for checkpoints that are not of one model.
    """
    shares = _shares(len(checkpoints), weights)
    for other in checkpoints[1:]:
        _require_same_model(checkpoints[0].folder, other.folder)
    sources = [TensorFiles(one.folder) if one.adapter is None else source_of(one) for one in checkpoints]
    for checkpoint, source in zip(checkpoints[1:], sources[1:], strict=True):
        _require_same_tensors(checkpoint, sources[0], source)
    return MixedTensors(sources, shares, method)


def linear(parts: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted sum."""
    total = torch.zeros_like(parts[0])
    for part, weight in zip(parts, weights, strict=True):
        total.add_(part, alpha=weight)
    return total


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """From `a` (t = 0) to `b` (t = 1) along the arc between their directions; straight where they have hardly any between
    them, or one of them is zero, or they point in opposite directions, where no arc is the shortest."""
    lengths = torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b)
    cosine = float((a * b).sum() / lengths) if float(lengths) > 0 else 1.0
    if abs(cosine) > _SAME:
        return torch.lerp(a, b, t)
    angle = torch.arccos(torch.tensor(cosine, dtype=torch.float64))
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def slerp_all(parts: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Slerp is for two: more are taken in one after the other, each by its share of what has been taken in so far."""
    found, taken = parts[0], weights[0]
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        taken += weight
        found = slerp(found, part, weight / taken)
    return found


def _shares(count: int, weights: Sequence[float] | None) -> list[float]:
    if count < 2:
        raise InvalidInput("checkpoints: at least two are merged", param="checkpoints", limit=2, received=count)
    given = [1.0] * count if weights is None else list(weights)
    if len(given) != count or not all(0 < weight < math.inf for weight in given):
        raise InvalidInput(
            f"weights: {count} numbers above 0 are needed, one a checkpoint, not {given}",
            param="weights",
            limit=count,
            received=given,
        )
    return [weight / sum(given) for weight in given]


def _require_same_model(first: Path, other: Path) -> None:
    ours, theirs = read_json(first / "config.json"), read_json(other / "config.json")
    different = [key for key in sorted({*ours, *theirs} - {*_IGNORED}) if ours.get(key) != theirs.get(key)]
    if different:
        shown = ", ".join(f"{key} {ours.get(key)!r} and {theirs.get(key)!r}" for key in different[:3])
        raise CheckpointError(f"{other}: another model than {first}: {shown}", param="checkpoints", received=str(other))
    if (first / "tokenizer.json").read_bytes() != (other / "tokenizer.json").read_bytes():
        raise CheckpointError(f"{other}: another tokenizer than {first}", param="checkpoints", received=str(other))


def _require_same_tensors(checkpoint: Checkpoint, first: TensorSource, other: TensorSource) -> None:
    ours, theirs = first.shapes(), other.shapes()
    different = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    if different:
        raise CheckpointError(
            f"{checkpoint.folder}: {len(different)} tensors differ in name or shape, the first {different[0]}",
            param="checkpoints",
            received=different[:5],
        )
