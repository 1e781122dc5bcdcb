"""Two runs held against each other: counted by hand, refused where they are unlike, shown as a table and as JSON."""

import dataclasses
import json
from pathlib import Path

import pytest

from eval_results import make_result, right, write_measured, write_set, wrong
from gigarank.cli import app, failures
from gigarank.errors import InvalidInput
from gigarank.evaluation.compare import MIN_SETS, compare
from gigarank.evaluation.significance import bootstrap
from gigarank.evaluation.store import TaskResult

LAST = 0.38685280723454163  # nDCG@10 of one relevant document at rank 5 of 5: 1 / log2(6)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_set(tmp_path / "sets" / "baking")


def with_logits(data: Path, better: int, *, model: str = "other", queries: int = 6) -> TaskResult:
    """A run that is right on the first `better` queries and wrong on the others."""
    good = right(queries)
    logits = {q: (good[q] if n < better else wrong(queries)[q]) for n, q in enumerate(good)}
    return make_result(data, logits, model=model)


def test_means_and_wins_are_those_of_the_queries(data: Path) -> None:
    found = compare([with_logits(data, 2, model="a")], [with_logits(data, 5, model="b")])
    (one,) = found.sets
    assert (one.name, one.metric, one.queries) == ("baking", "ndcg_cut_10", 6)
    assert one.a == pytest.approx((2 + 4 * LAST) / 6)
    assert one.b == pytest.approx((5 + LAST) / 6)
    assert (one.wins, one.losses, one.ties) == (3, 0, 3)
    assert found.names == ("a", "b")


def test_the_difference_is_b_minus_a_by_paired_bootstrap(data: Path) -> None:
    x, y = with_logits(data, 0), with_logits(data, 6)
    drawn = compare([x], [y]).sets[0].difference
    values = [[sides["reranked"]["ndcg_cut_10"] for sides in one.by_query.values()] for one in (x, y)]
    assert drawn == bootstrap(values[1], values[0])
    assert drawn.difference > 0 and drawn.significant
    turned = compare([y], [x]).sets[0]
    assert turned.difference.difference == pytest.approx(-drawn.difference)
    assert (turned.wins, turned.losses) == (0, 6)


def test_queries_are_paired_by_id_and_not_by_place(data: Path) -> None:
    x, y = with_logits(data, 3), with_logits(data, 3)
    turned = dataclasses.replace(y, by_query=dict(reversed(y.by_query.items())))
    assert compare([x], [turned]).sets[0].ties == 6


def test_a_run_against_itself_is_all_ties(data: Path) -> None:
    one = compare([with_logits(data, 3)], [with_logits(data, 3)]).sets[0]
    assert (one.wins, one.losses, one.ties, one.difference.difference) == (0, 0, 6, 0.0)
    assert not one.difference.significant


def test_metrics_are_each_sets_main_one_unless_asked_for(data: Path) -> None:
    x, y = with_logits(data, 2), with_logits(data, 5)
    assert [one.metric for one in compare([x], [y]).sets] == ["ndcg_cut_10"]
    assert [one.metric for one in compare([x], [y], metrics=["P_1"]).sets] == ["P_1"]
    assert [one.metric for one in compare([x], [y], metrics=["all"]).sets] == ["ndcg_cut_10", "recip_rank", "P_1"]
    assert compare([x], [y], metrics=["P_1"]).sets[0].b == pytest.approx(5 / 6)
    with pytest.raises(InvalidInput, match="baking has no map on both sides; it has ndcg_cut_10") as raised:
        compare([x], [y], metrics=["map"])
    assert raised.value.param == "metric" and raised.value.received == "map"


def test_another_side_is_compared_where_both_have_it(data: Path) -> None:
    x, y = with_logits(data, 0), with_logits(data, 6)
    assert compare([x], [y], side="first_stage").sets[0].ties == 6
    assert compare([x], [y], side="fused").sets[0].wins > 0
    without = make_result(data, right(), fuse_weight=None)
    with pytest.raises(InvalidInput, match="baking of nano has no ndcg_cut_10 of fused for every query"):
        compare([without], [y], side="fused")


def test_other_data_under_the_same_name_is_refused(data: Path, tmp_path: Path) -> None:
    other = write_set(tmp_path / "others" / "baking", texts=("a", "b", "c", "d", "e"))
    more = write_set(tmp_path / "sets" / "rivers")
    a = [make_result(data, right()), make_result(more, right())]
    b = [make_result(other, right()), make_result(more, right())]
    with pytest.raises(InvalidInput, match=r"other data under the same name: baking$") as raised:
        compare(a, b)
    assert raised.value.received == ["baking"]


def test_other_queries_of_the_same_set_are_refused(data: Path) -> None:
    few = {query: logits for query, logits in right().items() if query != "q3"}
    with pytest.raises(InvalidInput, match="other queries of the same set: baking"):
        compare([make_result(data, right())], [make_result(data, few)])


def test_a_folder_of_several_models_is_refused(data: Path) -> None:
    twice = [make_result(data, right(), model="x"), make_result(data, right(), model="y")]
    with pytest.raises(InvalidInput, match="b holds baking twice, of x and y; name one model's folder"):
        compare([make_result(data, right())], twice)


def test_nothing_in_common_is_refused_with_both_lists(data: Path, tmp_path: Path) -> None:
    rivers = make_result(write_set(tmp_path / "sets" / "rivers"), right())
    with pytest.raises(InvalidInput, match="no set in common: baking against rivers"):
        compare([make_result(data, right())], [rivers])


def test_sets_of_one_side_only_are_named_and_left_out_of_the_mean(data: Path, tmp_path: Path) -> None:
    x, y = make_result(data, wrong()), make_result(data, right())
    rivers = make_result(write_set(tmp_path / "sets" / "rivers"), right())
    found = compare([x, rivers], [y])
    assert (found.only_a, found.only_b) == (("rivers",), ())
    assert found.means[0].sets == 1 and found.means[0].a == pytest.approx(x.metrics["ndcg_cut_10"].reranked)
    assert compare([x], [y, rivers]).only_b == ("rivers",)


def test_the_mean_counts_every_set_once_however_many_queries_it_has(tmp_path: Path) -> None:
    small, large = write_set(tmp_path / "small", 2), write_set(tmp_path / "large", 10)
    a = [make_result(small, wrong(2)), make_result(large, wrong(10))]
    b = [make_result(small, right(2)), make_result(large, wrong(10))]
    mean = compare(a, b).means[0]
    means = [one.metrics["ndcg_cut_10"].reranked for one in b]
    assert mean.b == pytest.approx(sum(means) / 2)
    assert mean.difference is None  # two sets say nothing of a third


def test_an_interval_over_sets_is_drawn_from_five_on(tmp_path: Path) -> None:
    folders = [write_set(tmp_path / f"set{n}") for n in range(MIN_SETS)]
    a, b = ([make_result(one, logits) for one in folders] for logits in (wrong(), right()))
    drawn = compare(a, b).means[0].difference
    assert drawn is not None and drawn.significant and drawn.low > 0
    assert compare(a[:-1], b[:-1]).means[0].difference is None


def test_settings_that_differ_are_told_and_equal_ones_are_not(data: Path) -> None:
    x, y = make_result(data, right(), model="x"), make_result(data, right(), model="y", instruction="Find bread")
    found = compare([x], [y]).settings
    assert found == {"model": ("x", "y"), "weights": ("x-weights", "y-weights"), "instruction": (None, "Find bread")}


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = failures.run(app, ["eval", "compare", *arguments])
    shown = capfd.readouterr()
    return code, shown.out, shown.err


def test_the_command_prints_a_table_and_what_differs(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for side, logits in (("a", wrong()), ("b", right())):
        write_measured(tmp_path / side, data, logits, model=side)
    code, out, err = run(capfd, str(tmp_path / "a"), str(tmp_path / "b"))
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in out.splitlines()]
    assert code == 0
    assert rows[0] == ["set", "metric", "queries", "A", "B", "B - A", "95%", "significant", "wins", "losses", "ties"]
    assert rows[2][:3] == ["baking", "ndcg_cut_10", "6"] and rows[2][4] == "1.0000"
    assert rows[2][7:] == ["yes", "6", "0", "0"]
    assert rows[3][0] == "mean over 1 set"
    assert "model: a against b" in err


def test_the_command_prints_one_json_object(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = write_measured(tmp_path / "a", data, wrong())
    second = write_measured(tmp_path / "b", data, right())
    code, out, _ = run(capfd, str(first), str(second), "--json", "--metric", "P_1", "--metric", "recip_rank")
    found = json.loads(out)
    assert code == 0 and out.count("\n") == 1
    assert [one["metric"] for one in found["sets"]] == ["P_1", "recip_rank"]
    assert found["sets"][0]["difference"]["difference"] == 1.0
    assert found["means"][0] == {"metric": "P_1", "sets": 1, "a": 0.0, "b": 1.0, "difference": None}


def test_the_command_names_what_only_one_folder_has(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rivers = write_set(tmp_path / "sets" / "rivers")
    for one in (data, rivers):
        write_measured(tmp_path / "a", one, right())
    write_measured(tmp_path / "b", data, right())
    code, _, err = run(capfd, str(tmp_path / "a"), str(tmp_path / "b"))
    assert code == 0 and f"only in {tmp_path / 'a'}, not compared: rivers" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a", "a", "--metric", "map"), "metric: baking has no map on both sides"),
        (("a", "a", "--side", "oracle"), "'oracle' is not one of"),
        (("a", "empty"), "empty: holds no results"),
        (("a",), "Missing argument 'B'"),
    ],
)
def test_bad_use_is_one_line_and_2(
    arguments: tuple[str, ...], said: str, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_measured(tmp_path / "a", data, right())
    (tmp_path / "empty").mkdir()
    places = [str(tmp_path / one) if one in ("a", "empty") else one for one in arguments]
    code, out, err = run(capfd, *places)
    assert (code, out) == (2, "")
    assert said in err and err.count("\n") == 1
