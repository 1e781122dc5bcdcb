"""The matrix-multiplication limit: the products that a request needs, and nothing else.

Every product that the engine computes for a plan runs once, on the engine's own packed weights, in the engine's own row tiles,
with random inputs, quantised beforehand where the products are: no norms, no attention, no activations, no copies. Knows no
text. Invariant: an engine that did nothing but multiply would take exactly this long, so engine time / limit cannot
honestly fall below 1.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from gigarank.model.config import ModelConfig
from gigarank.model.decoder import TILE_ROWS
from gigarank.model.linear import ROW_MULTIPLE, Linear, Operand
from gigarank.model.weights import LayerWeights


@dataclass(frozen=True, slots=True)
class BatchRows:
    """One batch of a plan: the tokens computed in it, and how many of them are asked for a score."""

    tokens: int
    outputs: int

    @property
    def rows(self) -> int:
        """Rows of the products: the tokens, padded."""
        return _padded(self.tokens)

    @property
    def output_rows(self) -> int:
        """Rows of what the last layer computes for the asked tokens only."""
        return _padded(self.outputs)


def _padded(count: int) -> int:
    return -(-count // ROW_MULTIPLE) * ROW_MULTIPLE


def products(layer: LayerWeights, batch: BatchRows, *, last: bool) -> Iterable[tuple[Linear, int, str]]:
    """Each product of one layer, its number of rows, and which width it reads.

    In the last layer keys and values are computed for all rows, the rest for the asked rows only.
    """
    few = batch.output_rows if last else batch.rows
    yield layer.key, batch.rows, "hidden"
    yield layer.value, batch.rows, "hidden"
    yield layer.query, few, "hidden"
    yield layer.output, few, "query"
    yield layer.gate, few, "hidden"
    yield layer.up, few, "hidden"
    yield layer.down, few, "inner"


class GemmLimit:
    """`name` is its key in the results; `run()` multiplies once through all batches."""

    name = "gemm_limit"

    def __init__(self, layers: Sequence[LayerWeights], config: ModelConfig, batches: Sequence[BatchRows]) -> None:
        self.layers = layers
        self.batches = batches
        widths = {"hidden": config.hidden_size, "query": config.query_size, "inner": config.intermediate_size}
        generator = torch.Generator().manual_seed(0)
        dtype = layers[0].input_norm.dtype
        inputs = {name: torch.randn(TILE_ROWS, width, generator=generator).to(dtype) for name, width in widths.items()}
        self._inputs: dict[tuple[str, int], Operand] = {}
        for linear, width, rows in self._products():
            if (width, rows) not in self._inputs:
                self._inputs[width, rows] = linear.prepare(inputs[width][:rows])

    @torch.inference_mode()
    def run(self) -> int:
        """Multiplies; returns how many products ran."""
        count = 0
        for linear, width, rows in self._products():
            linear(self._inputs[width, rows])
            count += 1
        return count

    def _products(self) -> Iterator[tuple[Linear, str, int]]:
        """Every product in the engine's tiles: which, what it reads, of how many rows."""
        for batch in self.batches:
            for index, layer in enumerate(self.layers):
                for linear, rows, width in products(layer, batch, last=index + 1 == len(self.layers)):
                    for start in range(0, rows, TILE_ROWS):
                        yield linear, width, min(TILE_ROWS, rows - start)


def flops(config: ModelConfig, batches: Sequence[BatchRows]) -> int:
    """Floating-point operations of all the products: twice the multiplications."""
    pairs = 2 * config.hidden_size * config.key_value_size
    rest = 2 * config.hidden_size * config.query_size + 3 * config.hidden_size * config.intermediate_size
    full, layers = sum(batch.rows for batch in batches), config.num_hidden_layers
    asked = sum(batch.output_rows for batch in batches)
    return 2 * (layers * full * pairs + ((layers - 1) * full + asked) * rest)
