"""A decoder made of a base's layers: some left out, moved or taken twice, as an adapter may ask for.

    [[0, 22], [28, 30]]    layers 0 to 21 of the base, then 28 and 29

Source: peft's `layer_replication`, by which an adapter's tensors are counted in the new order. Knows names, no files.
Invariant: a layer of the stack has the base's tensors of one of its layers; all that is in no layer is the base's.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from gigarank.errors import CheckpointError
from gigarank.model.config import ModelConfig
from gigarank.model.weights import TensorSource

KEY = "layer_replication"
_LAYER = re.compile(r"(?<=layers\.)\d+(?=\.)")
_MOST = 10_000


def stack_of(value: Any) -> tuple[int, ...] | None:
    """The base's layers in the new order; None where nothing is asked for. Raises CheckpointError for what are no ranges."""
    if value is None:
        return None
    ranges = isinstance(value, list | tuple) and value and all(_is_range(one) for one in value)
    if not ranges or sum(stop - start for start, stop in value) > _MOST:
        raise _senseless(value)
    return tuple(layer for start, stop in value for layer in range(start, stop))


def stacked_config(config: ModelConfig, stack: tuple[int, ...]) -> ModelConfig:
    """Raises CheckpointError for a layer that the base does not have."""
    if max(stack) >= config.num_hidden_layers:
        raise CheckpointError(
            f"{KEY} asks for layer {max(stack)}, and the base has {config.num_hidden_layers}, counted from 0",
            param=KEY,
            limit=config.num_hidden_layers - 1,
            received=max(stack),
        )
    return replace(config, num_hidden_layers=len(stack))


def with_layers(raw: Mapping[str, Any], count: int) -> dict[str, Any]:
    """A config.json of so many layers, all of one kind: it is one that `parse_config` takes."""
    found = dict(raw) | {"num_hidden_layers": count}
    if isinstance(kinds := raw.get("layer_types"), list) and kinds:
        found["layer_types"] = kinds[:1] * count
    return found


def layer_count(names: Iterable[str]) -> int:
    return 1 + max((int(found[0]) for name in names if (found := _LAYER.search(name))), default=-1)


class StackedTensors:
    """A checkpoint's tensors under the names of the stack."""

    def __init__(self, source: TensorSource, stack: tuple[int, ...]) -> None:
        """`stack`: the base's layers in the new order, all of them there."""
        self._source = source
        places: dict[str, list[str]] = {}
        for place, layer in enumerate(stack):
            places.setdefault(str(layer), []).append(str(place))
        self._named = {renamed: name for name in source.shapes() for renamed in _renamed(name, places)}

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        shapes = self._source.shapes()
        return {renamed: shapes[name] for renamed, name in self._named.items()}

    def get(self, name: str) -> Tensor:
        return self._source.get(self._named[name])


def _renamed(name: str, places: Mapping[str, list[str]]) -> list[str]:
    found = _LAYER.search(name)
    return [name] if found is None else [_LAYER.sub(place, name, count=1) for place in places.get(found[0], [])]


def _is_range(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(type(number) is int for number in value):
        return False
    return bool(0 <= value[0] < value[1])


def _senseless(received: Any) -> CheckpointError:
    limit = f"ranges of layers, [[first, behind the last], ...], {_MOST:,} layers at most"
    return CheckpointError(f"{KEY} must be {limit}, not {received!r}", param=KEY, limit=limit, received=received)
