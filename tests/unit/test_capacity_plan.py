"""From a question about capacity to its answer: traffic, profiles with provenance, the search, figures, cost and drawings."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

import tiny
from capacity import ranking, request
from gigarank import catalogue
from gigarank.cluster.capacity import profile_file, profiles
from gigarank.cluster.capacity.calibration import Timed, fit, with_speeds
from gigarank.cluster.capacity.costs import Costs, layer_weights
from gigarank.cluster.capacity.planning import Planned, Question, answer, prompt_of
from gigarank.cluster.capacity.plots import draw
from gigarank.cluster.capacity.profile_file import read_profile
from gigarank.cluster.capacity.profiles import DATA_SHEETS, HARDWARE, MEASURED, find
from gigarank.cluster.capacity.search import Slo, least_replicas, parse_slo, smallest
from gigarank.cluster.capacity.simulation import Fleet, simulate
from gigarank.cluster.capacity.summary import Amounts, cost, figures, percentile, warm_up
from gigarank.cluster.capacity.traffic import BURST_REQUESTS, PROMPTS, PromptTokens, Traffic, arrivals
from gigarank.engine.plan import Limits
from gigarank.engine.store import locate
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer
from gigarank.errors import BadFile, InvalidInput, UnknownModel
from gigarank.prompt import NANO_V1, QWEN3_V1

LIMITS = Limits(1_024, 2_048)
SLOW = Costs(layers=10, batch_s=0.01, token_s=0.0005)


def heard(line: str) -> None:
    pass


def ask(**changes: Any) -> Question:
    return Question(**{"rate": 20.0, "documents": 5, "tokens": 40, "slo": Slo(95.0, 0.6), "requests": 300, **changes})


def profile(costs: Costs = SLOW) -> profiles.Profile:
    return profiles.Profile("qwen3-reranker-0.6b", "here", costs, 1_024, (profiles.Fact("all of it", "measured", "a test"),))


def planned(**changes: Any) -> Planned:
    return answer(ask(**changes), profile(), heard)


def counted(tokenizer: PromptTokenizer) -> PromptTokens:
    query = " planets of the sun"
    (root,), (asked,) = tokenizer.roots([None]), tokenizer.queries([query.strip()])
    alone = len(tokenizer.text.plain([query], "query")[0])
    return PromptTokens(len(root), len(asked) - alone, len(tokenizer.suffix_ids))


def test_the_prompt_of_qwen3_has_so_many_tokens() -> None:
    assert counted(PromptTokenizer(tiny.qwen_text(), QWEN3_V1, 8_192)) == PROMPTS["qwen3-v1"]


@pytest.mark.nano
def test_the_prompt_of_nano_has_so_many_tokens(nano_folder: Path) -> None:
    assert counted(PromptTokenizer(TextTokenizer.from_folder(locate("nano").folder), NANO_V1, 8_192)) == PROMPTS["nano-v1"]


def test_every_reranker_has_a_prompt_whose_tokens_are_known() -> None:
    assert {model.prompt for model in catalogue.MODELS if model.kind == "reranker"} == set(PROMPTS)
    assert prompt_of("nano") == "nano-v1"
    assert prompt_of("a-model-of-mine") == "qwen3-v1"


def test_requests_come_at_their_rate_and_in_their_sizes() -> None:
    asked = arrivals(ranking(rate=50.0, documents=10, tokens=100), 4_000)
    assert 4_000 / asked[-1].at == pytest.approx(50.0, rel=0.05)
    counts = [one.documents for one in asked]
    lengths = [piece.length - 9 for one in asked[:200] for piece in one.pieces if piece.wanted]
    assert (min(counts), max(counts)) == (6, 14) and mean(counts) == pytest.approx(10, rel=0.02)
    assert min(lengths) >= 60 and max(lengths) <= 140 and mean(lengths) == pytest.approx(100, rel=0.02)
    assert all(one.at < other.at for one, other in pairwise(asked))
    assert all(one.pieces[:2] == asked[0].pieces[:2] for one in asked)


def test_more_requests_begin_with_the_same() -> None:
    traffic = ranking()
    assert arrivals(traffic, 50) == arrivals(traffic, 80)[:50]
    assert arrivals(traffic, 50) != arrivals(ranking(seed=1), 50)


def variation(moments: Sequence[float]) -> float:
    """Of the counts in windows: 1 for a Poisson process."""
    width = moments[-1] / 400
    counts = [0] * 401
    for moment in moments:
        counts[int(moment / width)] += 1
    return sum((count - mean(counts)) ** 2 for count in counts) / len(counts) / mean(counts)


def test_bursts_keep_the_mean_rate_and_bunch_the_requests() -> None:
    plain = [one.at for one in arrivals(ranking(rate=50.0, documents=1), 30_000)]
    bursts = [one.at for one in arrivals(ranking(rate=50.0, documents=1, burst=5.0), 30_000)]
    assert 30_000 / bursts[-1] == pytest.approx(50.0, rel=0.15)
    assert variation(plain) == pytest.approx(1.0, rel=0.2)
    assert variation(bursts) > 5.0
    assert BURST_REQUESTS < 30_000 / 100  # many bursts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 0.0}, "rate: requests a second, more than 0, not 0"),
        ({"rate": math.nan}, "rate"),
        ({"documents": 0}, "documents: at least 1, not 0"),
        ({"tokens": -3}, "tokens: at least 1, not -3"),
        ({"query_tokens": 0}, "query_tokens: at least 1"),
        ({"burst": 0.5}, "burst: from 1 to 10, not 0.5"),
        ({"burst": 11.0}, "burst: from 1 to 10, not 11"),
        ({"requests": 5}, "requests: at least 100, not 5"),
        ({"replicas": 3}, "slo: give either"),
        ({"slo": None}, "slo: give either"),
        ({"slo": None, "replicas": 0}, "replicas: at least 1, not 0"),
        ({"split_tokens": 0}, "split_tokens: at least 1"),
        ({"batch_tokens": 0}, "batch_tokens: at least 1"),
        ({"price_per_hour": -1.0}, "price: of a replica an hour, not -1"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        planned(**changes)


def test_no_requests_are_none() -> None:
    with pytest.raises(InvalidInput, match="requests: at least 1"):
        arrivals(ranking(), 0)


@pytest.mark.parametrize(
    ("text", "slo"),
    [("p99=500ms", Slo(99.0, 0.5)), ("p50=1.5s", Slo(50.0, 1.5)), (" p99.9=20ms ", Slo(99.9, 0.02))],
)
def test_a_promise_is_read(text: str, slo: Slo) -> None:
    assert parse_slo(text) == slo
    assert parse_slo(str(slo)) == slo


@pytest.mark.parametrize("text", ["", "p99", "p99=500", "99=500ms", "p100=1s", "p0=1s", "p99=0ms", "p99=-1s", "p99=1h"])
def test_what_is_no_promise_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match="such as p99=500ms"):
        parse_slo(text)


def test_a_promise_bears_so_many_late_answers_as_its_percentile_does() -> None:
    for count in (1, 10, 99, 100, 101, 1_000):
        for percent in (50.0, 90.0, 99.0, 99.9):
            most = Slo(percent, 1.0).most_late(count)
            assert percentile([0.0] * (count - most) + [9.0] * most, percent) == 0.0
            assert percentile([0.0] * (count - most - 1) + [9.0] * (most + 1), percent) == 9.0


@pytest.mark.parametrize("limit_s", [0.25, 0.4, 1.0])
def test_the_search_finds_the_smallest_number_that_keeps_the_promise(limit_s: float) -> None:
    asked, slo = arrivals(ranking(rate=40.0, documents=5), 500), Slo(95.0, limit_s)
    fleet = Fleet(SLOW, 1)
    tried = smallest(asked, fleet, 40.0, slo, heard)
    found = min(one.replicas for one in tried if one.met)

    def late(replicas: int) -> int:
        run = simulate(asked, Fleet(SLOW, replicas))
        return sum(latency > limit_s for latency in run.latencies_s[warm_up(500) :])

    assert late(found) <= slo.most_late(450)
    assert found == least_replicas(asked, fleet, 40.0) or late(found - 1) > slo.most_late(450)
    assert len({one.replicas for one in tried}) == len(tried)


def test_a_harder_promise_needs_more_replicas() -> None:
    asked = arrivals(ranking(rate=40.0, documents=5), 500)
    found = [
        min(one.replicas for one in smallest(asked, Fleet(SLOW, 1), 40.0, Slo(95.0, limit_s), heard) if one.met)
        for limit_s in (0.24, 0.35, 2.0)
    ]
    assert found == sorted(found, reverse=True) and len(set(found)) == 3


def test_fewer_replicas_than_could_compute_it_are_not_tried() -> None:
    asked = arrivals(ranking(rate=40.0, documents=5), 300)
    least = least_replicas(asked, Fleet(SLOW, 1), 40.0)
    each = mean(SLOW.token_s * (one.tokens - 60) for one in asked)
    assert least == math.ceil(40.0 * each)


def test_a_promise_that_one_request_alone_breaks_is_out_of_reach_and_says_so() -> None:
    with pytest.raises(InvalidInput, match=r"p95=20ms is out of reach: one request alone takes \d+ ms at p95.*--split-tokens"):
        planned(slo=Slo(95.0, 0.02))


def test_a_split_brings_it_within_reach() -> None:
    with pytest.raises(InvalidInput, match="out of reach"):
        planned(documents=20, slo=Slo(95.0, 0.45))
    assert planned(documents=20, slo=Slo(95.0, 0.45), split_tokens=250).chosen.met


def test_an_answer_holds_what_was_asked_what_was_found_and_why_it_is_believed() -> None:
    found = planned(price_per_hour=2.0)
    told = json.loads(json.dumps(found.described()))
    result = told["result"]
    assert told["asked"]["slo"] == "p95=600ms" and told["asked"]["rate"] == 20.0
    assert result["replicas"] == found.chosen.replicas
    assert result["latency_ms"]["p50"] <= result["latency_ms"]["p95"] <= 600.0
    assert 0.0 < result["utilisation"] < 1.0 and 0.0 < result["batch_fill"] <= 1.0
    assert told["basis"] == "assumed"  # the traffic is
    assert {fact["basis"] for fact in told["facts"]} == {"measured", "assumed"}
    assert max(one["replicas"] for one in told["tried"]) > result["replicas"]
    assert told == json.loads(json.dumps(planned(price_per_hour=2.0).described()))


def test_a_given_number_of_replicas_is_simulated_as_it_is() -> None:
    found = planned(slo=None, replicas=4)
    assert found.chosen.replicas == 4 and len(found.tried) == 1
    assert found.described()["cost"] is None


def test_costs_follow_from_the_price_and_what_is_asked() -> None:
    amounts = Amounts(requests=10.0, documents=200.0, tokens=30_000.0)
    found = cost(amounts, 6, 3.0)
    assert found["per_hour"] == 18.0
    assert found["per_million_tokens"] == pytest.approx(18.0 / (30_000 * 3_600) * 1e6)
    assert found["per_million_documents"] == pytest.approx(18.0 / (200 * 3_600) * 1e6)
    assert found["per_million_requests"] == pytest.approx(18.0 / (10 * 3_600) * 1e6)
    asked = arrivals(ranking(rate=10.0, documents=20, tokens=100), 1_000)
    assert Amounts.of(asked, 10.0).documents == pytest.approx(200.0, rel=0.05)


def test_requests_that_were_refused_are_infinitely_late_in_the_figures() -> None:
    asked = arrivals(ranking(rate=1_000.0), 700)
    found = figures(simulate(asked, Fleet(SLOW, 1)))
    assert found["refused"] > 0
    assert found["latency_ms"]["max"] is None and found["latency_ms"]["p50"] is not None


@pytest.mark.parametrize("model", ["0.6b", "4b", "8b"])
@pytest.mark.parametrize("hardware", DATA_SHEETS)
def test_official_models_have_an_assumed_profile_on_every_gpu_and_it_says_so(model: str, hardware: str) -> None:
    found, sheet = find(model, hardware), DATA_SHEETS[hardware]
    known = catalogue.find(model)
    assert known is not None and found.costs.layers == known.shape.num_hidden_layers
    assert found.costs.token_s == pytest.approx(2 * layer_weights(known.shape) / (0.4 * sheet.operations_per_second))
    assert find(model, hardware, 0.2).costs.token_s == pytest.approx(2 * found.costs.token_s)
    assert profiles.basis_of(found.facts) == "assumed"
    assert any("40%" in fact.what and fact.basis == "assumed" for fact in found.facts)


@pytest.mark.parametrize("model", [model for model in catalogue.MODELS if model.kind == "reranker"], ids=lambda one: one.name)
def test_a_token_is_multiplied_with_all_weights_but_the_embedding(model: catalogue.Model) -> None:
    tables = model.shape.vocab_size * model.shape.hidden_size * (1 if model.shape.tie_word_embeddings else 2)
    assert layer_weights(model.shape) == pytest.approx(model.parameters - tables, rel=1e-3)


def test_what_was_measured_is_taken_before_what_is_assumed() -> None:
    assert find("nano", "cpu").hardware == "cpu"
    assert [fact.basis for fact in find("nano", "cpu").facts] == ["measured", "measured"]
    assert set(HARDWARE) == {"cpu", *DATA_SHEETS} == {hardware for _, hardware in MEASURED} | set(DATA_SHEETS)


def test_unknown_models_and_hardware_are_refused_with_the_names_there_are() -> None:
    with pytest.raises(InvalidInput, match="hardware: 't4' is not among cpu, h100, h200, a100, l40s, l4"):
        find("8b", "t4")
    with pytest.raises(InvalidInput, match=r"on cpu only nano, qwen3-reranker-0\.6b were measured, not qwen3-reranker-8b"):
        find("8b", "cpu")
    with pytest.raises(UnknownModel, match=r"nearest: .*qwen3-reranker-8b"):
        find("qwen3-reranker-9b", "h100")
    with pytest.raises(UnknownModel):
        find("qwen3-embedding-0.6b", "h100")
    with pytest.raises(InvalidInput, match=r"utilisation: above 0, at most 1, not 1\.5"):
        find("8b", "h100", 1.5)


def test_weights_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    small = profiles.DataSheet("small", 1e12, 1e11, 16e9, "a test")
    monkeypatch.setitem(DATA_SHEETS, "h100", small)
    with pytest.raises(InvalidInput, match=r"qwen3-reranker-8b has 16\.4 GB of weights, more than h100"):
        find("8b", "h100")


def timed(costs: Costs, slowdown: float = 1.0) -> list[Timed]:
    made = []
    for documents in (1, 2, 5, 10, 40):
        pieces = request(*[30 + 7 * number for number in range(documents)])
        model_s = costs.model_s(pieces, LIMITS) * slowdown
        made.append(Timed(pieces, model_s, model_s + costs.outside(documents)))
    return made


def test_a_calibration_finds_the_costs_again() -> None:
    shape = catalogue.NANO.shape
    share = 4.0 * 30 * 9 * 64 / (2.0 * layer_weights(shape))
    costs = Costs(30, 0.02, 0.002, 0.002 * share, 0.003, 0.0002)
    found = with_speeds(fit(timed(costs), shape, LIMITS), [timed(costs), timed(costs, 1.6)], LIMITS)
    for name in ("batch_s", "token_s", "reach_s", "request_s", "document_s"):
        assert getattr(found, name) == pytest.approx(getattr(costs, name), rel=1e-6)
    assert found.speeds == pytest.approx((1.0, 1 / 1.6))


def test_a_calibration_never_makes_a_cost_that_is_negative() -> None:
    shape = catalogue.NANO.shape
    odd = [Timed(one.pieces, one.model_s - 0.05, one.total_s) for one in timed(Costs(30, 0.04, 0.002))[1:]]
    found = fit(odd, shape, LIMITS)
    assert found.batch_s == 0.0 and found.token_s > 0.0


def test_a_calibration_needs_two_sizes() -> None:
    one = timed(SLOW)[0]
    with pytest.raises(InvalidInput, match="two sizes"):
        fit([one, one], catalogue.NANO.shape, LIMITS)


def test_a_profile_is_read_from_a_file(tmp_path: Path) -> None:
    costs: dict[str, Any] = {
        "layers": 30,
        "batch_s": 0.01,
        "token_s": 0.002,
        "reach_s": 0.0,
        "request_s": 0.003,
        "document_s": 0.0,
    }
    path = tmp_path / "costs.json"
    path.write_text(json.dumps({"model": "nano", "hardware": "mine", "source": "a run", "costs": costs}), encoding="utf-8")
    found = read_profile(path)
    assert found.costs == Costs(**costs)
    assert (found.model, found.hardware, found.facts[0].basis, found.facts[0].source) == ("nano", "mine", "measured", "a run")


def bench_result(workloads: int) -> str:
    results = [
        {
            "seconds": {"gigarank": [0.01 * batches + 0.002 * rows], "gemm_limit": [0.1]},
            "batch_rows": [rows // batches] * batches,
        }
        for batches, rows in ((1, 800), (3, 3_000))[:workloads]
    ]
    model = {"shape": "0.6b", "layers": 28, "dtype": "fp32"}
    return json.dumps({"bench": "engine", "model": model, "machine": {"cpu": "X", "torch_threads": 2}, "results": results})


def test_the_bench_of_the_engine_is_a_profile_and_its_table_may_stand_before_it(tmp_path: Path) -> None:
    path = tmp_path / "bench.txt"
    path.write_text("| a table |\n\n" + bench_result(2) + "\n", encoding="utf-8")
    found = read_profile(path)
    assert [found.costs.batch_s, found.costs.token_s] == pytest.approx([0.01, 0.002])
    assert (found.model, found.hardware) == ("qwen3-reranker-0.6b", "X, 2 threads")
    path.write_text(bench_result(1), encoding="utf-8")
    one = read_profile(path)
    assert [one.costs.batch_s, one.costs.token_s] == pytest.approx([0.0, 1.61 / 800])
    assert sum(fact.basis == "assumed" for fact in one.facts) == 2


NAN, BELOW = (bench_result(1).replace("1.61", other) for other in ("NaN", "-1"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        '{"bench": "engine"}',
        '{"model": "nano", "costs": {"layers": 3}}',
        bench_result(1)[:-1],
        NAN,
        BELOW,
    ],
)
def test_a_file_that_is_no_profile_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadFile, match=r"odd\.json is no profile"):
        profile_file.read_profile(path)


@pytest.mark.parametrize(("suffix", "begins"), [(".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_a_plan_is_drawn_and_the_same_plan_gives_the_same_file(tmp_path: Path, suffix: str, begins: bytes) -> None:
    found = planned()
    one, other = tmp_path / f"one{suffix}", tmp_path / f"other{suffix}"
    for path in (one, other):
        draw(path, "a title", found.tried, found.chosen, found.question.slo)
    assert one.read_bytes() == other.read_bytes()
    assert one.read_bytes().startswith(begins)
    if suffix == ".svg":
        assert "a title" in one.read_text(encoding="utf-8") and "p95=600ms" in one.read_text(encoding="utf-8")


def test_other_kinds_of_files_are_not_drawn(tmp_path: Path) -> None:
    found = planned(slo=None, replicas=2)
    with pytest.raises(InvalidInput, match=r"\.svg or \.png, not 'plan.pdf'"):
        draw(tmp_path / "plan.pdf", "", found.tried, found.chosen, None)


def test_traffic_is_a_frozen_value() -> None:
    with pytest.raises(AttributeError):
        ranking().rate = 3.0  # type: ignore[misc]
    assert isinstance(ranking(), Traffic)
