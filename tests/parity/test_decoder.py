"""Our engine against transformers on random weights: every architecture, every way of sharing and packing, in float64."""

from typing import Any

import pytest
import torch

import tiny
from gigarank.engine.numerics import choose_numerics
from gigarank.prompt import QWEN3_V1, QWEN3_VLLM_V1, PromptFormat
from gigarank.types import EngineOptions, Pair

LONG = "Die Katze schläft auf dem Sofa, während es draußen regnet. " * 400
DOCUMENTS = [
    "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
    "",
    "a",
    "火星は赤い惑星です。",
    "def area(r):\n    return 3.14159 * r ** 2\n",
    LONG[:2_000],
    "Jupiter, the largest planet in our solar system, has a prominent red spot. " * 12,
]
PAIRS = [
    *[Pair("Which planet is known as the Red Planet?", document) for document in DOCUMENTS],
    Pair("Which planet is known as the Red Planet?", DOCUMENTS[0], "Find passages about cats"),
    Pair("wie wird das Wetter", LONG[:300], "Find passages about cats"),
    Pair("area of a circle", DOCUMENTS[4]),
]
BUDGETS = {
    "one batch": EngineOptions(),
    "prefix kept": EngineOptions(max_batch_tokens=300),
    "prefix again": EngineOptions(max_batch_tokens=300, max_kept_tokens=0),
    "one by one": EngineOptions(max_batch_tokens=1),
}


DEVICES = pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")],
        ),
    ],
)


def expected(model: Any, pairs: list[Pair], prompt: PromptFormat = QWEN3_V1, limit: int = 8_192) -> list[float]:
    ids = [tiny.card_ids(prompt, pair.instruction, pair.query, pair.document, limit) for pair in pairs]
    return [tiny.card_logit(model, one, prompt) for one in ids]


@pytest.fixture(scope="module")
def qwen3_double() -> Any:
    return tiny.reference(tiny.CONFIGS["qwen3"], tiny.tensors_of("qwen3"), "fp64")


@DEVICES
@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_every_architecture_equals_transformers_in_float64(name: str, device: str) -> None:
    model = tiny.reference(tiny.CONFIGS[name], tiny.tensors_of(name), "fp64")
    scores = tiny.reranker(name, "fp64", device=device).score(PAIRS)
    assert [score.logit for score in scores] == pytest.approx(expected(model, PAIRS), abs=1e-10, rel=0)


@DEVICES
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("attention", ["segments", "padded"])
def test_every_packing_equals_transformers_in_float64(qwen3_double: Any, budget: str, attention: str, device: str) -> None:
    ours = tiny.reranker("qwen3", "fp64", BUDGETS[budget], attention=attention, device=device)
    got = [score.logit for score in ours.score(PAIRS)]
    assert got == pytest.approx(expected(qwen3_double, PAIRS), abs=1e-10, rel=0)


@DEVICES
@pytest.mark.parametrize("limit", [75, 90, 200, 1_000])
def test_truncation_cuts_where_the_model_card_cuts(qwen3_double: Any, limit: int, device: str) -> None:
    pairs = [Pair("Katze", LONG), Pair("Katze", "kurz")]
    ours = tiny.reranker("qwen3", "fp64", EngineOptions(max_pair_tokens=limit), device=device)
    scores = ours.score(pairs)
    assert [score.logit for score in scores] == pytest.approx(expected(qwen3_double, pairs, limit=limit), abs=1e-10, rel=0)
    assert scores[0].truncated


@DEVICES
def test_a_document_of_five_thousand_tokens(qwen3_double: Any, device: str) -> None:
    pairs = [Pair("Katze", LONG), Pair("Katze", "kurz")]
    scores = tiny.reranker("qwen3", "fp64", device=device).score(pairs)
    assert scores[0].tokens > 5_000
    assert not scores[0].truncated
    assert [score.logit for score in scores] == pytest.approx(expected(qwen3_double, pairs), abs=1e-10, rel=0)


@DEVICES
def test_a_query_longer_than_its_document(qwen3_double: Any, device: str) -> None:
    pairs = [Pair(LONG[:6_000], "kurz"), Pair(LONG[:6_000], "ein wenig länger, " * 9)]
    scores = tiny.reranker("qwen3", "fp64", device=device).score(pairs)
    assert [score.logit for score in scores] == pytest.approx(expected(qwen3_double, pairs), abs=1e-10, rel=0)


def test_the_second_prompt_format_equals_transformers_and_differs_from_the_first(qwen3_double: Any) -> None:
    scores = [score.logit for score in tiny.reranker("qwen3", "fp64", prompt=QWEN3_VLLM_V1).score(PAIRS)]
    assert scores == pytest.approx(expected(qwen3_double, PAIRS, QWEN3_VLLM_V1), abs=1e-10, rel=0)
    canonical = [score.logit for score in tiny.reranker("qwen3", "fp64").score(PAIRS)]
    assert all(abs(a - b) > 1e-6 for a, b in zip(scores, canonical, strict=True))


@pytest.mark.parametrize(
    ("dtype", "linear"), [("fp32", "plain"), ("fp32", "packed"), ("bf16", "plain"), ("bf16", "packed"), ("fp16", "plain")]
)
def test_working_precisions_stay_within_their_stated_tolerance(dtype: str, linear: str) -> None:
    model = tiny.reference(tiny.CONFIGS["qwen3"], tiny.tensors_of("qwen3"), dtype)
    ours = tiny.reranker("qwen3", dtype, linear=linear)
    if linear == "packed" and choose_numerics("cpu", dtype).linear != "packed":
        pytest.skip(f"no packed kernel for {dtype} on this CPU")
    got = [score.logit for score in ours.score(PAIRS)]
    assert got == pytest.approx(expected(model, PAIRS), abs=ours.numerics.tolerance, rel=0)


@pytest.mark.parametrize("name", list(tiny.CONFIGS))
def test_int8_stays_within_its_stated_tolerance_of_fp32(name: str) -> None:
    model = tiny.reference(tiny.CONFIGS[name], tiny.tensors_of(name))
    ours = tiny.reranker(name, "int8")
    got, wanted = [score.logit for score in ours.score(PAIRS)], expected(model, PAIRS)
    assert got == pytest.approx(wanted, abs=ours.numerics.tolerance, rel=0)
    assert got != pytest.approx(wanted, abs=1e-4, rel=0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_cuda_equals_the_cpu_within_the_stated_tolerance(dtype: str) -> None:
    on_gpu = tiny.reranker("qwen3", dtype, device="cuda")
    on_cpu = tiny.reranker("qwen3", "fp32")
    got, wanted = ([score.logit for score in model.score(PAIRS)] for model in (on_gpu, on_cpu))
    assert got == pytest.approx(wanted, abs=on_gpu.numerics.tolerance, rel=0)
