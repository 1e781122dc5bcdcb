"""The weight of a fusion: each set by the weight of the others, against the figures that a run itself makes with it."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from eval_results import make_result, right, write_measured, write_set, wrong
from gigarank.cli import app, failures
from gigarank.errors import BadFile, InvalidInput
from gigarank.evaluation.fusion import WEIGHTS, Fusion, fit
from gigarank.evaluation.report_data import read_measured

METRIC = "ndcg_cut_10"


def between(queries: int = 6) -> dict[str, list[float]]:
    """Logits that have every relevant document second, behind the last or the first one."""
    found = right(queries)
    for number, logits in enumerate(found.values()):
        logits[4 if number % 5 != 4 else 0] = 4.0
    return found


LOGITS = {"good": right(), "better": right(), "bad": wrong(), "half": between()}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name, logits in LOGITS.items():
        write_measured(tmp_path / "results", write_set(tmp_path / name), logits)
    return tmp_path / "results"


def fitted(folder: Path, *weights: float) -> Fusion:
    return fit(read_measured(folder)[0], weights or WEIGHTS)


def mean_of(folder: Path, name: str, weight: float) -> float:
    """As `gigarank eval run --fuse` measures the set with this weight."""
    found = make_result(folder / name, LOGITS[name], fuse_weight=weight).metrics[METRIC].fused
    assert found is not None
    return found


def test_a_set_has_the_weight_that_is_best_on_the_others(results: Path, tmp_path: Path) -> None:
    found = fitted(results)
    for one in found.sets:
        others = [name for name in LOGITS if name != one.name]
        means = {weight: sum(mean_of(tmp_path, name, weight) for name in others) for weight in WEIGHTS}
        assert means[one.weight] == max(means.values())
        assert one.weight == min(weight for weight, mean in means.items() if mean == means[one.weight])
        assert one.fused == pytest.approx(mean_of(tmp_path, one.name, one.weight))
    assert len({one.weight for one in found.sets}) > 1  # else the others need not have been asked


def test_the_weight_for_sets_to_come_is_the_best_on_all(results: Path, tmp_path: Path) -> None:
    found = fitted(results)
    curve = {weight: sum(mean_of(tmp_path, name, weight) for name in LOGITS) / len(LOGITS) for weight in WEIGHTS}
    assert dict(found.curve) == pytest.approx(curve)
    assert curve[found.weight] == max(curve.values())
    assert (found.model, found.prompt) == ("nano", "nano-v1")


def test_alone_and_first_stage_stand_beside_it(results: Path) -> None:
    found = {one.name: one for one in fitted(results).sets}
    for one in read_measured(results)[0]:
        summary, mine = one.result.metrics[METRIC], found[one.result.set.name]
        assert (mine.reranked, mine.first_stage) == pytest.approx((summary.reranked, summary.first_stage))
        assert (mine.metric, mine.queries) == (METRIC, 6)
        better = max(summary.reranked, summary.first_stage)
        assert mine.difference.difference == pytest.approx(mine.fused - better)


def test_a_weight_fitted_elsewhere_may_lose(results: Path) -> None:
    """`bad` alone wants a great weight; the others choose one that leaves it below its first stage."""
    bad = next(one for one in fitted(results, 0.0, 10.0).sets if one.name == "bad")
    assert bad.weight == 0.0 and bad.fused == bad.reranked < bad.first_stage
    assert bad.difference.difference < 0


def test_a_query_without_candidates_counts_as_nothing_found(results: Path) -> None:
    before = {one.name: one.fused for one in fitted(results, 1.0, 0.0).sets}
    path = results / "nano" / "good.scores.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"q0"' not in line))
    after = next(one for one in fitted(results, 1.0, 0.0).sets if one.name == "good")
    assert after.queries == 6 and after.fused == pytest.approx(before["good"] - 1 / 6)


def test_ids_with_blanks_find_their_judgments(results: Path) -> None:
    before = {one.name: one.fused for one in fitted(results).sets}
    folder = results / "nano"
    scores, result, qrels = (folder / f"good{end}" for end in (".scores.jsonl", ".json", ".qrels"))
    for path in (scores, result):
        path.write_text(path.read_text().replace('"q1"', '"q 1"').replace('"d1"', '"d 1"'))
    qrels.write_text(qrels.read_text().replace("q1 ", "q%201 ").replace(" d1 ", " d%201 "))
    assert {one.name: one.fused for one in fitted(results).sets} == before


def test_intervals_over_sets_need_five(results: Path, tmp_path: Path) -> None:
    assert fitted(results).over_reranked is None
    write_measured(results, write_set(tmp_path / "fifth"), right())
    found = fitted(results)
    assert found.over_reranked is not None and found.over_first_stage is not None
    means = [sum(getattr(one, side) for one in found.sets) / 5 for side in ("fused", "reranked", "first_stage")]
    assert found.over_reranked.difference == pytest.approx(means[0] - means[1])
    assert found.over_first_stage.difference == pytest.approx(means[0] - means[2])


def test_the_model_alone_is_always_tried(results: Path) -> None:
    assert [weight for weight, _ in fitted(results, 2.0).curve] == [0.0, 2.0]


# What cannot be fitted.


def test_one_set_is_refused(results: Path) -> None:
    with pytest.raises(InvalidInput, match="judged on another; received good"):
        fitted(results / "nano" / "good.json")
    with pytest.raises(InvalidInput, match="received none"):
        fit([])


def test_a_set_twice_is_refused(results: Path) -> None:
    measured = read_measured(results)[0]
    with pytest.raises(InvalidInput, match="more than one of good"):
        fit([*measured, *(one for one in measured if one.result.set.name == "good")])


def test_two_models_are_refused(results: Path, tmp_path: Path) -> None:
    write_measured(results, write_set(tmp_path / "other"), right(), model="tiny")
    with pytest.raises(InvalidInput, match=r"not nano \(nano-v1\), tiny \(nano-v1\)"):
        fitted(results)


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_weight_that_is_none_is_refused(results: Path, weight: float) -> None:
    with pytest.raises(InvalidInput, match="weight: must be a number from 0 on"):
        fitted(results, weight)


@pytest.mark.parametrize(("end", "said"), [(".qrels", "good.qrels is not beside it"), (".scores.jsonl", "scores are not")])
def test_a_file_that_is_gone_is_named(results: Path, end: str, said: str) -> None:
    (results / "nano" / f"good{end}").unlink()
    with pytest.raises(BadFile, match=said) as raised:
        fitted(results)
    assert raised.value.received == "good"


# The command.


def command(capfd: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    code = failures.run(app, ["eval", "fusion", *map(str, arguments)])
    shown = capfd.readouterr()
    return code, shown.out, shown.err


def test_the_command_shows_the_sets_the_weights_and_what_to_use(results: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = command(capfd, results)
    found = fitted(results)
    assert code == 0
    for one in found.sets:
        assert (
            f"| {one.name} | {METRIC} | 6 | {one.first_stage:.4f} | {one.reranked:.4f} | {one.weight:g} | {one.fused:.4f} |"
            in out
        )
    assert all(f"| {weight:g} | {mean:.4f} |" in out for weight, mean in found.curve)
    assert f"nano: weight {found.weight:g}, fitted on all 4 sets; use it with --first-stage-weight" in out
    assert "mean over sets:" not in out


def test_with_five_sets_the_command_says_what_it_is_worth(
    results: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_measured(results, write_set(tmp_path / "fifth"), right())
    out = command(capfd, results)[1]
    drawn = fitted(results).over_first_stage
    assert drawn is not None and f"fused minus first stage, mean over sets: {drawn.difference:+.4f} (95%: " in out


def test_the_command_in_json_takes_files_and_weights(results: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = [results / "nano" / f"{name}.json" for name in ("good", "bad")]
    code, out, _ = command(capfd, *files, "--weight", "0.25", "--weight", "4", "--json")
    content = json.loads(out)
    assert code == 0 and [one["name"] for one in content["sets"]] == ["good", "bad"]
    assert [weight for weight, _ in content["curve"]] == [0.0, 0.25, 4.0]
    assert content["weight"] in (0.0, 0.25, 4.0) and content["over_reranked"] is None


def test_the_command_says_what_is_wrong(results: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capfd, results / "nano" / "good.json")
    assert code == 2 and not out and "received good" in err
    assert command(capfd, results, "--weight", "-1")[0] == 2
