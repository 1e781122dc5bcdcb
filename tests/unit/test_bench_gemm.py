"""The matrix-multiplication limit: the products of a batch, no more and no fewer."""

import pytest
import torch

from gigarank.bench.gemm import BatchRows, GemmLimit, flops
from gigarank.catalogue import RERANKER_0_6B, Shape
from gigarank.engine.numerics import choose_numerics, placement
from gigarank.model.config import ModelConfig
from gigarank.model.decoder import TILE_ROWS
from gigarank.model.linear import Linear, PlainLinear
from gigarank.model.quantized import QuantizedRows
from gigarank.model.weights import Placement, Weights, load_weights, random_tensors

SHAPE = Shape("qwen3", 64, 3, 4, 2, 32, 96, 300, True, 1e6, 1e-6, 4_096)
CONFIG = ModelConfig.from_shape(SHAPE)


class Counting(PlainLinear):
    """A real product that adds up what it multiplied."""

    flops = 0
    calls: list[tuple[int, int, int]] = []  # noqa: RUF012 - shared on purpose

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        result = super().__call__(x)
        Counting.flops += 2 * x.shape[0] * self.weight.shape[0] * self.weight.shape[1]
        Counting.calls.append((x.shape[0], self.weight.shape[1], self.weight.shape[0]))
        return result


@pytest.fixture
def weights() -> Weights:
    Counting.flops, Counting.calls = 0, []

    def linear(weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
        return Counting(weight, bias)

    return load_weights(random_tensors(CONFIG), CONFIG, Placement(torch.float32, torch.device("cpu"), linear))


def test_rows_are_padded_to_the_engines_multiple() -> None:
    assert [(BatchRows(t, 1).rows, BatchRows(t, t).output_rows) for t in (1, 16, 17)] == [(16, 16), (16, 16), (32, 32)]


def test_every_product_of_every_layer_runs_and_the_last_layer_skips_what_nobody_asked(weights: Weights) -> None:
    GemmLimit(weights.layers, CONFIG, [BatchRows(tokens=100, outputs=3)]).run()
    full = sorted([(112, 64, 128), (112, 64, 64), (112, 64, 64), (112, 128, 64), (112, 64, 96), (112, 64, 96), (112, 96, 64)])
    last = sorted([(16, 64, 128), (112, 64, 64), (112, 64, 64), (16, 128, 64), (16, 64, 96), (16, 64, 96), (16, 96, 64)])
    assert sorted(Counting.calls[:7]) == sorted(Counting.calls[7:14]) == full
    assert sorted(Counting.calls[14:]) == last


def test_long_batches_run_in_the_engines_tiles(weights: Weights) -> None:
    count = GemmLimit(weights.layers[:1], CONFIG, [BatchRows(TILE_ROWS * 2 + 5, 1)]).run()
    assert [call[0] for call in Counting.calls] == [TILE_ROWS, TILE_ROWS, 16] * 2 + [16] * 5  # keys, values, the rest
    assert count == len(Counting.calls)


def test_quantised_products_run_as_such_on_inputs_quantised_before() -> None:
    layers = load_weights(random_tensors(CONFIG), CONFIG, placement(choose_numerics("cpu", "int8"))).layers
    limit = GemmLimit(layers, CONFIG, [BatchRows(40, 2)])
    assert all(isinstance(rows, QuantizedRows) for rows in limit._inputs.values())
    assert limit.run() == 7 * CONFIG.num_hidden_layers


def test_flops_are_what_the_products_multiplied(weights: Weights) -> None:
    batches = [BatchRows(100, 3), BatchRows(2_000, 40)]
    GemmLimit(weights.layers, CONFIG, batches).run()
    assert flops(CONFIG, batches) == Counting.flops


def test_flops_of_the_official_shape_are_two_a_parameter_and_token() -> None:
    config = ModelConfig.from_shape(RERANKER_0_6B.shape)
    everything = flops(config, [BatchRows(16_000, 16_000)])
    assert everything / 16_000 == pytest.approx(2 * 440_466_432, rel=1e-3)  # the norms are the rest of the blocks' parameters
