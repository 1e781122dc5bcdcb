"""Calibration: against a kept library, on numbers worked out by hand, and on inputs that have no ordinary answer."""

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from eval_results import right, write_measured, write_set, wrong
from gigarank.cli import app, failures
from gigarank.cli.rank import RankOptions, rank
from gigarank.errors import BadFile, InvalidInput
from gigarank.evaluation import calibration
from gigarank.evaluation.calibration import Calibration, Labelled, fit, reliability, sigmoid
from gigarank.prompt import NANO_V1
from gigarank.types import FirstStage, Numerics, Ranking, Score, Usage


def drawn(scale: float, shift: float, *, pairs: int = 4_000, seed: int = 1) -> Labelled:
    """Pairs whose true probability is sigmoid(scale * logit + shift)."""
    chance = random.Random(seed)
    logits = [chance.gauss(0.0, 3.0) for _ in range(pairs)]
    relevant = [chance.random() < sigmoid(scale * logit + shift) for logit in logits]
    return Labelled(("drawn",), tuple(logits), tuple(relevant))


def labelled(*pairs: tuple[float, bool]) -> Labelled:
    return Labelled(("few",), tuple(logit for logit, _ in pairs), tuple(label for _, label in pairs))


def test_platt_finds_what_the_pairs_were_drawn_from() -> None:
    found = fit(drawn(0.5, -2.0), "platt", model="m", prompt="p")
    assert found.scale == pytest.approx(0.5, abs=0.05)
    assert found.shift == pytest.approx(-2.0, abs=0.15)
    assert (found.method, found.model, found.prompt, found.sets, found.pairs) == ("platt", "m", "p", ("drawn",), 4_000)


def test_temperature_finds_what_the_pairs_were_drawn_from_and_shifts_nothing() -> None:
    found = fit(drawn(0.25, 0.0), "temperature")
    assert found.temperature == pytest.approx(4.0, rel=0.1)
    assert found.shift == 0.0


@pytest.mark.parametrize(("scale", "shift"), [(2.0, -1.0), (0.3, 4.0), (5.0, 0.0)])
def test_platt_agrees_with_scikit_learn_given_the_same_smoothed_targets(scale: float, shift: float) -> None:
    data = drawn(scale, shift, pairs=600)
    positives = sum(data.relevant)
    high, low = (positives + 1) / (positives + 2), 1 / (len(data.logits) - positives + 2)
    targets = [high if label else low for label in data.relevant]
    column = np.asarray(data.logits * 2)[:, None]  # every pair twice: once as a positive, once as a negative, by weight
    labels, weights = [1] * 600 + [0] * 600, targets + [1 - target for target in targets]
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1_000).fit(column, labels, sample_weight=weights)
    ours = fit(data, "platt")
    assert ours.scale == pytest.approx(float(theirs.coef_[0, 0]), abs=1e-4)
    assert ours.shift == pytest.approx(float(theirs.intercept_[0]), abs=1e-4)


@pytest.mark.parametrize("method", calibration.METHODS)
def test_logits_that_separate_the_labels_still_have_a_finite_fit(method: calibration.Method) -> None:
    found = fit(labelled(*[(4.0 + n, True) for n in range(20)], *[(-4.0 - n, False) for n in range(20)]), method)
    assert 0 < found.scale < 100 and math.isfinite(found.shift)
    assert found.apply(4.0) > 0.7 and found.apply(-4.0) < 0.3  # Platt's targets keep 20 pairs from certainty
    assert found.apply(23.0) > 0.99


def test_logits_that_point_the_wrong_way_never_turn_the_order_round() -> None:
    wrong = labelled(*[(-3.0, True)] * 10, *[(3.0, False)] * 30)
    platt, temperature = fit(wrong, "platt"), fit(wrong, "temperature")
    assert platt.scale == temperature.scale == 1e-3
    assert platt.apply(3.0) > platt.apply(-3.0)
    assert platt.apply(0.0) == pytest.approx(0.26, abs=0.02)  # what is left to say: the share of relevant pairs, smoothed
    assert temperature.shift == 0.0


def test_far_logits_neither_overflow_nor_stop_the_fit() -> None:
    found = fit(labelled((1e4, True), (-1e4, False), (9e3, True), (8e3, False), (-7e3, True)), "platt")
    assert math.isfinite(found.scale) and found.scale > 0
    assert found.apply(1e6) == pytest.approx(1.0)
    assert found.apply(-1e9) == 0.0
    assert sigmoid(-1_000.0) == 0.0 and sigmoid(1_000.0) == 1.0 and sigmoid(0.0) == 0.5


@pytest.mark.parametrize(("label", "said"), [(True, "relevant pairs only"), (False, "no relevant pair")])
def test_one_kind_of_label_is_refused_with_the_set_named(label: bool, said: str) -> None:
    with pytest.raises(InvalidInput, match=f"few has {said}"):
        fit(labelled((1.0, label), (2.0, label)), "platt")


def test_labels_without_logits_are_refused() -> None:
    with pytest.raises(InvalidInput, match="as many labels as logits"):
        Labelled(("s",), (1.0,), ())
    with pytest.raises(InvalidInput, match="no pair to judge"):
        reliability(Labelled(("s",), (), ()))


HALF, MOST = 0.0, math.log(3)  # probabilities 0.5 and 0.75


def test_reliability_by_hand() -> None:
    found = reliability(labelled((HALF, True), (HALF, False), (HALF, False), (HALF, False), (MOST, True), (MOST, True)), bins=4)
    assert [(one.low, one.high, one.pairs) for one in found.bins] == [(0.5, 0.75, 4), (0.75, 1.0, 2)]
    assert [one.probability for one in found.bins] == pytest.approx([0.5, 0.75])
    assert [one.relevant for one in found.bins] == [0.25, 1.0]
    assert found.ece == pytest.approx((4 * 0.25 + 2 * 0.25) / 6)
    assert found.brier == pytest.approx((4 * 0.25 + 2 * 0.0625) / 6)
    assert found.log_loss == pytest.approx((4 * math.log(2) + 2 * math.log(4 / 3)) / 6)
    assert (found.pairs, found.relevant) == (6, 3)


def test_probabilities_of_0_and_1_are_in_the_first_and_the_last_bin() -> None:
    found = reliability(labelled((2_000.0, True), (-2_000.0, False)), bins=10)
    assert [(one.low, one.high) for one in found.bins] == [(0.0, 0.1), (0.9, 1.0)]
    assert found.ece == 0.0 and found.brier == 0.0 and found.log_loss == 0.0


def test_a_fit_on_one_set_makes_another_more_reliable() -> None:
    fitted, other = drawn(0.4, -3.0, seed=2), drawn(0.4, -3.0, seed=3)
    before, after = reliability(other), reliability(other, fit(fitted, "platt"))
    assert before.ece > 0.2 and after.ece < 0.03
    assert after.brier < before.brier and after.log_loss < before.log_loss
    assert sum(one.pairs for one in after.bins) == after.pairs == 4_000


def test_platt_is_never_worse_than_temperature_where_both_were_fitted() -> None:
    data = drawn(0.7, -1.5)
    losses = [reliability(data, fit(data, method)).log_loss for method in ("platt", "temperature")]
    assert losses[0] < losses[1] < reliability(data).log_loss


GIVEN = Calibration("platt", 0.5, -2.25, "nano", "nano-v1", ("scifact", "cacm"), 1_234)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(calibration.to_json(GIVEN), encoding="utf-8")
    assert calibration.read(path) == GIVEN
    assert calibration.read(path).apply(4.5) == 0.5


BROKEN: list[tuple[dict[str, object], str]] = [
    ({"format": 2}, "no calibration of format 1"),
    ({"scale": "0.5"}, "scale must be a number"),
    ({"scale": True}, "scale must be a number"),
    ({"shift": float("nan")}, "shift must be a number"),
    ({"shift": None}, "shift must be a number"),
    ({"scale": 0}, "scale must be above 0"),
    ({"scale": -1.5}, "scale must be above 0"),
    ({"method": "isotonic"}, "method must be one of temperature, platt"),
    ({"pairs": "many"}, "pairs must be a whole number"),
    ({"sets": "scifact"}, "sets must be a list of names"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_a_broken_file_is_refused_by_its_field(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(json.loads(calibration.to_json(GIVEN)) | change), encoding="utf-8")
    with pytest.raises(BadFile, match=message) as raised:
        calibration.read(path)
    assert raised.value.param == next(iter(change))
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("text", ["", "[1]", "{", "null", "\udcff"])
def test_what_is_no_calibration_at_all_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadFile, match=r"calibration: .*calibration\.json"):
        calibration.read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"no\.json"):
        calibration.read(tmp_path / "no.json")


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Three sets and their results: nano right on baking and rivers, wrong on stones."""
    for name, logits in (("baking", right()), ("rivers", right(10)), ("stones", wrong())):
        data = write_set(tmp_path / "sets" / name, len(logits))
        write_measured(tmp_path / "results", data, logits)
    return tmp_path


def calibrate(capfd: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> tuple[int, str, str]:
    """`gigarank eval calibrate`; a set's name in brackets stands for its result."""
    places = [str(folder / "results/nano" / f"{one[1:-1]}.json") if one.startswith("[") else one for one in arguments]
    code = failures.run(app, ["eval", "calibrate", *places])
    shown = capfd.readouterr()
    return code, shown.out, shown.err


def test_the_command_fits_on_one_set_and_reports_on_another(measured: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = str(measured / "sets")
    code, out, _ = calibrate(capfd, measured, "--fit", "[baking]", "--report", "[rivers]", "--data", data, "--json")
    found = json.loads(out)
    assert code == 0 and out.count("\n") == 1
    assert found["fitted_on"] == {"sets": ["baking"], "pairs": 30, "relevant": 6}
    assert found["judged_on"] == {"sets": ["rivers"], "pairs": 50, "relevant": 10}
    assert list(found["reliability"]) == ["as it is", "temperature", "platt"]
    ece = {name: one["ece"] for name, one in found["reliability"].items()}
    assert ece["platt"] < ece["as it is"]
    assert found["fits"]["temperature"]["shift"] == 0.0 and found["fits"]["platt"]["model"] == "nano"


def test_what_holds_on_one_set_may_fail_on_another_and_is_shown_to(measured: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = str(measured / "sets")
    code, out, _ = calibrate(capfd, measured, "--fit", "[baking]", "--report", "[stones]", "--data", data)
    assert code == 0
    assert out.startswith("fitted on baking: 30 pairs, 6 relevant\njudged on stones: 30 pairs, 6 relevant\n\n| scaling |")
    rows = {cells[1].strip(): cells for line in out.splitlines()[4:] if len(cells := line.split("|")) > 3}
    assert rows["as it is"][2].strip() == "1.0000"
    assert float(rows["platt"][4]) > 0.3


@pytest.mark.parametrize("method", calibration.METHODS)
def test_the_file_holds_the_method_asked_for(
    method: calibration.Method, measured: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = measured / "calibration.json"
    asked = ["--fit", "[baking]", "--fit", "[stones]", "--report", "[rivers]", "--data", str(measured / "sets")]
    code, _, _ = calibrate(capfd, measured, *asked, "--output", str(path), "--method", method)
    found = calibration.read(path)
    assert code == 0
    assert (found.method, found.model, found.prompt, found.sets) == (method, "nano", "nano-v1", ("baking", "stones"))
    assert found.pairs == 60


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fit", "[baking]", "--report", "[baking]"), "report: baking is what the scaling was fitted on"),
        (("--fit", "[baking]"), "Missing option '--report'"),
        (("--fit", "[baking]", "--report", "[other]"), "other.json: holds no results"),
    ],
)
def test_bad_use_of_calibrate(arguments: tuple[str, ...], said: str, measured: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = calibrate(capfd, measured, *arguments, "--data", str(measured / "sets"))
    assert (code, out) == (2, "") and said in err


def test_calibrate_needs_judgments_and_says_how_to_give_them(measured: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = calibrate(capfd, measured, "--fit", "[baking]", "--report", "[rivers]")
    assert code == 2 and "the judgments of baking are needed; name the folder of the set with --data" in err
    other = write_set(measured / "others" / "rivers", texts=("1", "2", "3", "4", "5"))
    code, _, err = calibrate(capfd, measured, "--fit", "[baking]", "--report", "[rivers]", "--data", str(other))
    assert code == 2 and "holds other data than were measured" in err


def test_results_of_two_models_are_not_calibrated_together(measured: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = write_measured(measured / "results", measured / "sets" / "rivers", right(10), model="other")
    data = str(measured / "sets")
    code, _, err = calibrate(capfd, measured, "--fit", "[baking]", "--report", str(other), "--data", data)
    assert code == 2 and "results of one model and prompt are needed, not of nano (nano-v1), other (nano-v1)" in err


class Never:
    """A model that must not be asked."""

    name = "nano"
    prompt = NANO_V1
    numerics = Numerics("cpu", "fp32", "none", "none", True, 0.0, ())

    def rank(self, *arguments: object, **options: object) -> Ranking:
        raise AssertionError("asked")


class Lengths(Never):
    """Shorter documents are better: a logit of 4 minus the words."""

    def rank(self, query: str, documents: Sequence[str] | FirstStage, **options: object) -> Ranking:  # type: ignore[override]
        assert not isinstance(documents, FirstStage)
        logits = [4.0 - len(document.split()) for document in documents]
        scores = [Score(n, sigmoid(logit), logit, 1, False) for n, logit in enumerate(logits)]
        best = tuple(sorted(scores, key=lambda score: -score.logit))
        return Ranking(self.name, query, best, Usage(len(documents), 1, 1, 2))


@pytest.mark.parametrize("change", [{"model": "qwen3-reranker-0.6b"}, {"prompt": "qwen3-v1"}])
def test_rank_refuses_a_calibration_of_another_model_or_prompt_before_it_scores(change: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(json.loads(calibration.to_json(GIVEN)) | change), encoding="utf-8")
    text = tmp_path / "a.txt"
    text.write_text("a text")
    options = RankOptions(query="q", files=[str(text)], calibration=path)
    with pytest.raises(InvalidInput, match=r"calibration: fitted for .* not for nano with nano-v1") as raised:
        rank(options, lambda _: Never())
    assert raised.value.param == "calibration"


def test_rank_refuses_a_broken_calibration_before_a_model_is_loaded(capfd: pytest.CaptureFixture[str]) -> None:
    assert failures.run(app, ["rank", "q", __file__, "--calibration", "/nowhere.json"]) == 2
    assert "calibration: /nowhere.json" in capfd.readouterr().err


def test_rank_adds_a_calibrated_probability_and_keeps_the_order(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(calibration.to_json(Calibration("platt", 2.0, -1.0, "nano", "nano-v1", ("s",), 9)), encoding="utf-8")
    text = tmp_path / "texts.txt"
    text.write_text("a\nb b\nc c c c c c\n")
    shown = []
    for given in (None, path):
        options = RankOptions(query="one two", files=[str(text)], format="lines", json=True, calibration=given)
        rank(options, lambda _: Lengths())
        shown.append(json.loads(capfd.readouterr().out)["results"])
    assert [one["index"] for one in shown[0]] == [one["index"] for one in shown[1]] == [0, 1, 2]
    assert [one["calibrated"] for one in shown[1]] == pytest.approx([sigmoid(2.0 * one["logit"] - 1.0) for one in shown[0]])
    assert "calibrated" not in shown[0][0]
