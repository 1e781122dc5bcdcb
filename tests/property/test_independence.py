"""A pair's score does not depend on what else is in the request, on its order or on the batch budget: bitwise."""

import random
from collections.abc import Callable

import pytest
import torch

import tiny
from gigarank.engine.reranker import Reranker
from gigarank.model.linear import ROW_MULTIPLE, Linear, PackedLinear, PlainLinear, is_row_invariant, packed_available
from gigarank.model.quantized import QuantizedLinear, quantize, quantized_available
from gigarank.types import EngineOptions, Pair

WORDS = ["mars", "venus", "planet", "rot", "rouge", "赤い", "def", "return", "katze", "gravity", "1234", "(x)", "🚀"]


def make_pairs(seed: int, count: int) -> list[Pair]:
    dice = random.Random(seed)

    def text(longest: int) -> str:
        return " ".join(dice.choices(WORDS, k=dice.randint(0, longest)))

    queries = [text(8) + "?" for _ in range(3)]
    return [Pair(dice.choice(queries), text(150), dice.choice([None, "Find code"])) for _ in range(count)]


@pytest.fixture(scope="module", params=["fp32", "bf16", "fp16", "fp64", "int8"])
def model(request: pytest.FixtureRequest) -> Reranker:
    made = tiny.reranker("qwen3", request.param)
    if request.param not in ("fp32", "int8") and not made.numerics.deterministic:
        pytest.skip(f"{request.param} is not deterministic on this CPU, and Numerics says it")
    return made


def logits(model: Reranker, pairs: list[Pair]) -> dict[Pair, float]:
    return {pair: score.logit for pair, score in zip(pairs, model.score(pairs), strict=True)}


def test_alone_or_among_others_or_in_another_order(model: Reranker) -> None:
    assert model.numerics.deterministic
    pairs = make_pairs(1, 24)
    together = logits(model, pairs)
    assert logits(model, pairs[::-1]) == together
    for pair in pairs[:8]:
        assert model.score([pair])[0].logit == together[pair]
    for start in range(0, len(pairs), 5):
        part = pairs[start : start + 5]
        assert logits(model, part) == {pair: together[pair] for pair in part}


@pytest.mark.parametrize("budget", [1, 97, 256, 700, 100_000])
@pytest.mark.parametrize("kept", [0, 60, 2_048])
def test_whatever_the_batch_budget(budget: int, kept: int) -> None:
    pairs = make_pairs(2, 16)
    wanted = logits(tiny.reranker("qwen3"), pairs)
    assert logits(tiny.reranker("qwen3", options=EngineOptions(None, budget, kept)), pairs) == wanted


@pytest.mark.parametrize("linear", ["plain", "packed", "quantized"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("inner", "outer"), [(1024, 2048), (2048, 1024), (1024, 3072), (3072, 1024), (576, 192), (576, 1536), (1536, 576)]
)
def test_a_row_of_a_product_does_not_depend_on_the_other_rows(linear: str, dtype: torch.dtype, inner: int, outer: int) -> None:
    if linear == "packed" and not packed_available(dtype):
        pytest.skip(f"no packed kernel for {dtype} on this CPU")
    doubtful = dtype == torch.bfloat16 or linear == "plain"
    if doubtful and not is_row_invariant(PackedLinear if linear == "packed" else PlainLinear, dtype):
        pytest.skip("not so on this CPU, and Numerics says it: test_a_product_that_depends_on_the_number_of_rows_is_found")
    if linear == "quantized" and (dtype != torch.float32 or not quantized_available()):
        pytest.skip("8-bit products take and give fp32, where there are any")
    generator = torch.Generator().manual_seed(inner + outer)
    rows = torch.randn(1_056, inner, generator=generator).to(dtype)
    weight = (torch.randn(outer, inner, generator=generator) / inner**0.5).to(dtype)
    made: dict[str, Callable[[torch.Tensor], Linear]] = {
        "plain": PlainLinear,
        "packed": PackedLinear,
        "quantized": lambda it: QuantizedLinear(quantize(it)),
    }
    product: Linear = made[linear](weight)
    residual = torch.randn(1_056, outer, generator=generator).to(dtype)
    whole = _all_ways(product, rows, residual)
    for count in (ROW_MULTIPLE, 2 * ROW_MULTIPLE, 7 * ROW_MULTIPLE, 512):
        for start in (0, 5, 100):
            part = slice(start, start + count)
            for ours, theirs in zip(_all_ways(product, rows[part], residual[part]), whole, strict=True):
                assert torch.equal(ours, theirs[part])


def test_a_product_that_depends_on_the_number_of_rows_is_found() -> None:
    class Wavering(QuantizedLinear):
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return super().__call__(x) * (1.0 if len(x) > 144 else 1.0001)

    assert is_row_invariant(lambda weight: QuantizedLinear(quantize(weight)), torch.float32)
    assert not is_row_invariant(lambda weight: Wavering(quantize(weight)), torch.float32)


def _all_ways(product: Linear, rows: torch.Tensor, other: torch.Tensor) -> list[torch.Tensor]:
    """The product alone and with each operation that can follow it."""
    return [product(rows), product.silu(rows), product.times(rows, other.clone()), product.plus(rows, other.clone())]


def test_equal_documents_keep_the_order_of_the_request() -> None:
    ranking = tiny.reranker("qwen3").rank("planet", ["b", "a", "a", "b", "a"])
    order = [score.index for score in ranking]
    assert order in ([0, 3, 1, 2, 4], [1, 2, 4, 0, 3])
