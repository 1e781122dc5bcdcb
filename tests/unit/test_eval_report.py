"""Reports: figures that add up, pages that are whole, safe and readable, and nothing published among what was measured."""

import dataclasses
import html.parser
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from eval_results import TEXTS, make_result, right, write_measured, write_set, wrong
from gigarank.cli import app, failures
from gigarank.errors import BadFile, InvalidInput
from gigarank.evaluation import plots
from gigarank.evaluation.calibration import Bin
from gigarank.evaluation.drill import shortened, worst_losses
from gigarank.evaluation.plots import Dots, Point
from gigarank.evaluation.report import Report, make_report, sections, to_json
from gigarank.evaluation.report_data import About, labelled, read_about, read_measured, read_suites, set_folders
from gigarank.evaluation.report_pages import plain, table_to_markdown, to_html, to_markdown
from gigarank.evaluation.report_rows import suite_rows
from gigarank.evaluation.report_tables import Table, row_table
from gigarank.evaluation.suites import SUITES

LAST = 0.38685280723454163  # nDCG@10 of one relevant document at rank 5 of 5
ABOUT = {"baking": About("kitchen", "en"), "rivers": About("nature", "de", "en")}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """(results, sets): two sets, nano right on the first and wrong on the second."""
    for name, logits, languages in (("baking", right(), ("en",)), ("rivers", wrong(), ("de", "th"))):
        data = write_set(tmp_path / "sets" / name, languages=languages)
        write_measured(tmp_path / "results", data, logits)
    return tmp_path / "results", tmp_path / "sets"


def made(folders: tuple[Path, Path], *, data: bool = True, **options: Any) -> Report:
    measured, missing = read_measured(folders[0], [folders[1]] if data else (), ABOUT)
    return make_report(measured, read_suites(folders[0]), missing=missing, **options)


def test_a_row_a_set_with_the_results_own_figures(folders: tuple[Path, Path]) -> None:
    baking, rivers = made(folders).sets
    assert (baking.name, baking.queries, baking.metric, baking.model) == ("baking", 6, "ndcg_cut_10", "nano")
    assert baking.reranked == baking.oracle == 1.0
    assert rivers.reranked == pytest.approx(LAST)
    assert rivers.first_stage == baking.first_stage and rivers.oracle == 1.0
    assert (baking.verdict, rivers.verdict) == ("better", "worse")
    assert rivers.interval is not None and rivers.interval[1] < 0


def test_the_mean_over_sets_counts_each_once_and_draws_nothing_from_two(folders: tuple[Path, Path]) -> None:
    (mean,) = made(folders).means
    assert mean.reranked == pytest.approx((1 + LAST) / 2)
    assert (mean.sets, mean.queries, mean.interval, mean.verdict) == (2, 12, None, "")


def test_domains_and_languages_pool_their_queries(folders: tuple[Path, Path]) -> None:
    report = made(folders)
    assert [(row.name, row.queries, row.sets) for row in report.domains] == [("kitchen", 6, 1), ("nature", 6, 1)]
    assert [(row.name, row.queries) for row in report.languages] == [("de → en", 3), ("en", 6), ("th → en", 3)]
    german = report.languages[0]
    assert german.reranked == pytest.approx(LAST) and german.interval is None  # three queries are too few to draw
    assert report.domains[0].interval is not None


def test_an_arrow_stands_only_between_two_languages(folders: tuple[Path, Path]) -> None:
    measured, _ = read_measured(folders[0], (), {"rivers": About(documents="de")})
    rivers = measured[1]
    assert [rivers.language(query) for query in ("q0", "q1")] == ["de", "th → de"]
    assert measured[0].language("q0") == "en" and measured[0].domain == "not stated"


def test_a_group_over_two_sets_weighs_queries_and_not_sets(tmp_path: Path) -> None:
    for name, queries, logits in (("small", 2, right(2)), ("large", 8, wrong(8))):
        write_measured(tmp_path / "results", write_set(tmp_path / "sets" / name, queries), logits)
    measured, _ = read_measured(tmp_path / "results")
    (row,) = make_report(measured).languages
    assert (row.name, row.queries, row.sets) == ("en", 10, 2)
    assert row.reranked == pytest.approx((2 + 8 * LAST) / 10)


def test_what_nobody_states_is_said_to_be_so(tmp_path: Path) -> None:
    data = write_set(tmp_path / "s")
    result = make_result(data, right())
    path = write_measured(tmp_path / "r", data, right(), set=dataclasses.replace(result.set, language=None))
    report = make_report(read_measured(path)[0])
    assert [row.name for row in (*report.domains, *report.languages)] == ["not stated", "not stated"]


def test_fused_is_left_out_unless_every_query_has_it(tmp_path: Path) -> None:
    one, two = (write_set(tmp_path / "sets" / name) for name in ("a", "b"))
    write_measured(tmp_path / "r", one, right())
    write_measured(tmp_path / "r", two, right(), fuse_weight=None)
    report = make_report(read_measured(tmp_path / "r")[0])
    assert report.sets[0].fused is not None
    assert (report.sets[1].fused, report.means[0].fused, report.languages[0].fused) == (None, None, None)
    assert "fused" not in row_table("x", report.sets[1:]).headings
    assert "fused" in row_table("x", report.sets).headings


def test_costs_are_the_results(folders: tuple[Path, Path]) -> None:
    cost = made(folders).costs[0]
    assert (cost.pairs, cost.tokens, cost.seconds, cost.pairs_per_second, cost.tokens_per_second) == (30, 240, 0.5, 60.0, 480.0)


def test_the_worst_losses_say_what_rose_and_what_fell(folders: tuple[Path, Path]) -> None:
    report = made(folders)
    assert {loss.set for loss in report.losses} == {"rivers"}
    worst = report.losses[0]
    assert (worst.query, worst.text, worst.before) == ("q0", "question 0 of rivers", 1.0)
    assert worst.after == pytest.approx(LAST)
    assert [(one.document, one.before, one.after) for one in worst.rose] == [("d4", 5, 1), ("d3", 4, 2), ("d2", 3, 3)][:2]
    fallen = worst.fell[0]
    assert (fallen.document, fallen.before, fallen.after, fallen.grade) == ("d0", 1, 5, 1)
    assert worst.fell[0].text == TEXTS[0]
    assert [one.grade for one in worst.rose] == [None, None]
    assert worst.fell[1].document == "d1" and worst.fell[1].grade == 0
    changes = [loss.after - loss.before for loss in report.losses]
    assert changes == sorted(changes)


def test_a_loss_says_what_was_asked_of_the_model_where_it_is_not_the_prompts_own(folders: tuple[Path, Path]) -> None:
    data = folders[1] / "rivers"
    queries = data / "queries.jsonl"
    rows = [json.loads(line) for line in queries.read_text(encoding="utf-8").splitlines()]
    rows[0]["instruction"] = "Find <b>the</b> document"
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    write_measured(folders[0], data, wrong(), instruction="Of the run")
    report = made(folders)
    told = {loss.query: loss.instruction for loss in report.losses}
    assert told == {query: "Find <b>the</b> document" if query == "q0" else "Of the run" for query in told} and "q0" in told
    assert "Instruction: Find &lt;b&gt;the&lt;/b&gt; document" in to_html(report)
    assert "Instruction: Find &lt;b&gt;the&lt;/b&gt; document" in to_markdown(report)
    assert [loss.instruction for loss in made(folders, data=False).losses] == ["Of the run"] * len(told)


def test_only_losses_are_shown_and_no_more_than_asked_for(folders: tuple[Path, Path]) -> None:
    measured, _ = read_measured(folders[0], [folders[1]])
    assert len(worst_losses(measured, 2)) == 2
    assert worst_losses(measured, 0) == []
    everything = worst_losses(measured, 100)
    assert all(loss.after < loss.before for loss in everything)
    assert len(everything) == 5  # of six queries; the fifth's document was last before


def test_without_the_data_ids_stand_in_for_texts_and_the_report_says_so(folders: tuple[Path, Path]) -> None:
    report = made(folders, data=False)
    worst = report.losses[0]
    assert (worst.text, worst.fell[0].text, worst.fell[0].grade) == (None, None, None)
    assert worst.fell[0].document == "d0"
    assert report.reliability == {}
    assert report.missing == ("Texts and judgments of baking, rivers were not at hand: ids stand in their place.",)
    assert "ids stand in their place" in to_html(report) and "ids stand in their place" in to_markdown(report)


def test_other_data_of_the_same_name_are_not_used(folders: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_set(tmp_path / "other" / "rivers", texts=("1", "2", "3", "4", "5"))
    measured, missing = read_measured(folders[0], [other])
    assert [one.data for one in measured] == [None, None]
    assert missing == [f"rivers: {other} holds other data than were measured"]


def test_scores_that_are_gone_leave_the_figures(folders: tuple[Path, Path]) -> None:
    for path in folders[0].rglob("*.scores.jsonl"):
        path.unlink()
    report = made(folders)
    assert report.losses[0].rose == () and report.losses[0].fell == () and report.reliability == {}
    assert report.sets[0].reranked == 1.0


def test_labels_are_judgments_and_what_nobody_judged_is_not_relevant(folders: tuple[Path, Path]) -> None:
    measured, _ = read_measured(folders[0], [folders[1]])
    found = labelled(measured)
    assert (found.sets, len(found.logits), sum(found.relevant)) == (("baking", "rivers"), 60, 12)
    assert {logit for logit, label in zip(found.logits, found.relevant, strict=True) if label} == {3.0, -3.0}
    without, _ = read_measured(folders[0])
    with pytest.raises(InvalidInput, match="the judgments of baking, rivers are needed"):
        labelled(without)


def test_reliability_is_by_model_over_the_sets_at_hand(folders: tuple[Path, Path]) -> None:
    write_measured(folders[0], folders[1] / "baking", right(), model="other")
    report = made(folders)
    assert {name: (one.pairs, one.relevant) for name, one in report.reliability.items()} == {"nano": (60, 12), "other": (30, 6)}
    assert report.reliability["other"].ece < report.reliability["nano"].ece


def test_several_models_stand_side_by_side_and_are_never_averaged(folders: tuple[Path, Path]) -> None:
    write_measured(folders[0], folders[1] / "rivers", right(), model="other")
    report = made(folders)
    assert report.models == ("nano", "other")
    assert [(row.model, row.sets) for row in report.means] == [("nano", 2), ("other", 1)]
    assert [(row.name, row.model) for row in report.domains] == [("kitchen", "nano"), ("nature", "nano"), ("nature", "other")]
    assert "model" in row_table("x", report.sets).headings
    assert "rivers, other" in to_html(report)


def suite_row(task: str, reranked: float, subset: str = "default", **changes: Any) -> dict[str, Any]:
    row = {"task": task, "subset": subset, "split": "test", "metric": "ndcg_at_10", "queries": 10, "reranked": reranked}
    row |= {"first_stage": 0.5, "oracle": 0.9, "interval": [0.01, 0.2], "p_value": 0.01, "significant": True}
    return row | {"model": "qwen3-reranker-0.6b", "suite": "MTEB-R"} | changes


def test_a_suites_mean_averages_a_tasks_languages_first() -> None:
    rows = [suite_row("one", 0.6), suite_row("two", 0.2, "de"), suite_row("two", 0.4, "th")]
    one, two, whole = suite_rows(rows)
    assert (one.reranked, one.interval, one.verdict, one.published) == (0.6, (0.01, 0.2), "better", None)
    assert two.reranked == pytest.approx(0.3) and two.interval is None and two.sets == 2
    assert whole.name == "MTEB-R (2 of 10 tasks)" and whole.reranked == pytest.approx(0.45)


def test_what_was_published_of_a_whole_suite_stands_beside_a_whole_suite_only() -> None:
    rows = [suite_row(task.name, 0.6) for task in SUITES["MTEB-R"].tasks]
    whole, part = suite_rows(rows)[-1], suite_rows(rows[1:])[-1]
    assert (whole.name, whole.published) == ("MTEB-R (10 tasks)", 65.80)
    assert (part.name, part.published) == ("MTEB-R (9 of 10 tasks)", None)


def test_published_figures_have_a_column_of_their_own_that_says_so(folders: tuple[Path, Path]) -> None:
    lines = "".join(json.dumps(suite_row("MultiLongDocRetrieval", 0.6)) + "\n" for _ in range(2))
    (folders[0] / "nano" / "MLDR.suite.jsonl").write_text(lines, encoding="utf-8")
    report = made(folders)
    assert len(report.suites) == 2  # the same task's row, written twice, counts once
    page, text = to_html(report), to_markdown(report)
    assert "not measured here" in page and "not measured here" in text
    table = next(table for one in sections(report) if one.title == "Suites" for table in one.tables)
    assert table.headings[-1] == "published"
    assert [row[-1] for row in table.rows] == ["", "67.28"]
    assert all("67.28" not in row[:-1] for row in table.rows)
    assert all("published" not in table.headings for one in sections(report) if one.title != "Suites" for table in one.tables)


def test_a_model_that_nobody_published_figures_of_has_none() -> None:
    assert suite_rows([suite_row("one", 0.6, model="nano")])[-1].published is None


def test_suites_alone_make_a_report(tmp_path: Path) -> None:
    path = tmp_path / "results" / "m" / "MTEB-R.suite.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(suite_row("one", 0.6)) + "\n", encoding="utf-8")
    measured, _ = read_measured(tmp_path / "results")
    report = make_report(measured, read_suites(tmp_path / "results"))
    assert [one.title for one in sections(report)] == ["Suites"]
    assert "MTEB-R (1 of 10 tasks)" in to_html(report)


@pytest.mark.parametrize("line", ["{", "[]", '{"task": "one"}'])
def test_a_broken_line_of_a_suite_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "X.suite.jsonl").write_text(json.dumps(suite_row("one", 0.6)) + f"\n{line}\n", encoding="utf-8")
    with pytest.raises(BadFile, match=r"X\.suite\.jsonl, line 2"):
        read_suites(tmp_path)


class Page(html.parser.HTMLParser):
    """The tags of a page with their attributes, and what is not closed."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)


def test_the_page_is_well_formed_and_needs_nothing_beside_it(folders: tuple[Path, Path]) -> None:
    text = to_html(made(folders))
    page = Page(text)
    assert page.open == []
    names = {name for name, _ in page.tags}
    assert not names & {"script", "link", "iframe", "img", "object", "base", "form"}
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_ids_are_unique_and_every_reference_has_its_target(folders: tuple[Path, Path]) -> None:
    write_measured(folders[0], folders[1] / "baking", right(), model="other")  # two reliability diagrams
    text = to_html(made(folders))
    page = Page(text)
    ids = [one["id"] for _, one in page.tags if one.get("id")]
    assert len(ids) == len(set(ids))
    references = [one[name] for _, one in page.tags for name in ("href", "xlink:href") if one.get(name)]
    references += [f"#{name}" for name in re.findall(r"url\(#([^)]+)\)", text)]
    references += [f"#{name}" for _, one in page.tags for name in (one.get("aria-labelledby") or "").split()]
    assert len(references) > 20
    assert {str(one)[1:] for one in references} <= {str(one) for one in ids}


def test_the_page_serves_light_and_dark_and_those_who_do_not_see_it(folders: tuple[Path, Path]) -> None:
    text = to_html(made(folders))
    page = Page(text)
    assert "prefers-color-scheme: dark" in text and 'content="light dark"' in text
    assert plots.INK not in text and plots.GRID not in text and "currentColor" in text and "var(--line)" in text
    drawings = list(page.of("svg"))
    assert len(drawings) >= 5
    assert all(one["role"] == "img" and len((one["aria-labelledby"] or "").split()) == 2 for one in drawings)
    assert next(page.of("html"))["lang"] == "en"
    assert all(one.get("scope") in ("col", "row") for one in page.of("th"))
    assert text.count("<caption>") == text.count("<table>") == text.count("<thead>") >= 6
    assert "Of 12 queries" in text


NASTY = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> $x_1$ `b` | [l](javascript:alert(3)) http://evil.example"


@pytest.fixture
def nasty(tmp_path: Path) -> Report:
    """A report whose every text was written by somebody with bad intentions."""
    data = write_set(tmp_path / "sets" / "plain", texts=[NASTY] * 5, languages=(NASTY,))
    queries = (data / "queries.jsonl").read_text().replace("question", json.dumps(NASTY)[1:-1] + " question")
    (data / "queries.jsonl").write_text(queries)
    result = make_result(data, wrong())
    info = dataclasses.replace(result.set, language=NASTY)
    model = dataclasses.replace(result.model, name=NASTY, prompt=NASTY)
    made_with = dataclasses.replace(result.provenance, machine={"cpu": NASTY}, packages={NASTY: NASTY})
    path = write_measured(tmp_path / "r", data, wrong(), set=info, provenance=made_with, instruction=NASTY)
    content = json.loads(path.read_text())
    content["model"] |= {"name": model.name, "prompt": model.prompt}
    path.write_text(json.dumps(content))
    measured, missing = read_measured(path, [data], {"plain": About(NASTY, None)})
    return make_report(measured, [suite_row(NASTY, 0.6, suite=NASTY, model=NASTY)], missing=[*missing, NASTY])


def test_no_text_of_a_result_or_a_set_becomes_markup(nasty: Report) -> None:
    text = to_html(nasty)
    page = Page(text)
    assert page.open == []
    assert not {"script", "img"} & {name for name, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "&lt;script&gt;alert(1)" in text
    assert text.count("<script") == 0


def test_labels_of_plots_are_texts_and_no_formulas(nasty: Report) -> None:
    drawn = plots.plot_sides(
        [Dots(NASTY, {"first_stage": 0.1, "reranked": 0.2}), Dots("魚", {"first_stage": 0, "reranked": 1})], NASTY, NASTY
    )
    assert "魚" in drawn.svg and "&lt;script&gt;" in drawn.svg
    assert "$x_1$" in plots.plot_cost([Point(1.0, 0.5, "$x_1$")], "m").svg
    assert "<script" not in drawn.svg and "<img" not in drawn.svg
    assert "$x_1$" not in plots.label("x" * 50 + NASTY) and len(plots.label(NASTY)) == 36
    assert "<script" not in plots.plot_cost([Point(1.0, 0.5, NASTY)], NASTY).svg


def test_no_text_becomes_markup_in_markdown_either(nasty: Report) -> None:
    text = to_markdown(nasty)
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script" not in rendered and "<img" not in rendered and "<a " not in rendered and "<code" not in rendered
    assert "&lt;script&gt;alert(1)" in rendered
    rows = [line.count(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert rows and all(count >= 1 for count in rows)


def test_markdown_tables_are_tables(folders: tuple[Path, Path]) -> None:
    report = made(folders)
    rendered = MarkdownIt("commonmark").enable("table").render(to_markdown(report))
    assert rendered.count("<table>") == to_html(report).count("<table>")
    for heading in ("By set", "By domain", "By language", "By query", "Cost", "Worst losses", "Provenance"):
        assert f"<h2>{heading}</h2>" in rendered
    assert "<td>baking</td>" in rendered


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("ndcg_cut_10", "ndcg_cut_10"),
        ("_a_ *b*", r"\_a\_ \*b\*"),
        ("a|b", r"a\|b"),
        ("a\n\n# b", r"a \# b"),
        ("a & b <c>", "a &amp; b &lt;c&gt;"),
        ("a\\|b", r"a\\\|b"),
    ],
)
def test_plain_text_in_markdown(text: str, written: str) -> None:
    assert plain(text) == written


def test_a_table_aligns_words_left_and_numbers_right() -> None:
    table = Table("c", ("name", "metric", "value"), (("a|b", "m", "1"),), texts=2)
    assert table_to_markdown(table) == "| name | metric | value |\n| --- | --- | ---: |\n| a\\|b | m | 1 |"


def test_the_provenance_names_all_that_the_figures_rest_on(folders: tuple[Path, Path]) -> None:
    text = to_markdown(made(folders))
    for value in ("nano-weights", "nano-v1", "c" * 40, "torch 2", "cores 2", "dtype fp32", "own, scores by bm25", "2026-01-02"):
        assert value in text


def test_provenance_shows_every_value_that_differs(folders: tuple[Path, Path]) -> None:
    write_measured(folders[0], folders[1] / "rivers", right(), model="nano", instruction="Find rivers")
    assert "the prompt's own, or the queries'; Find rivers" in to_markdown(made(folders))


def test_the_same_results_make_the_same_page(folders: tuple[Path, Path]) -> None:
    assert to_html(made(folders)) == to_html(made(folders))


def test_json_holds_the_same_figures(folders: tuple[Path, Path]) -> None:
    report = made(folders)
    found = json.loads(json.dumps(to_json(report)))
    assert found["sets"][0]["reranked"] == 1.0 and found["means"][0]["sets"] == 2
    assert found["losses"][0]["fell"][0]["document"] == "d0"
    assert found["reliability"]["nano"]["pairs"] == 60
    assert "not measured here" in found["published"]["source"]


def test_a_reliability_diagram_tells_its_bins_in_words() -> None:
    drawn = plots.plot_reliability([Bin(0.0, 0.5, 3, 0.2, 0.3), Bin(0.5, 1.0, 1, 0.9, 1.0)], 0.1)
    assert drawn.description.startswith("2 bins; the expected calibration error is 0.100")
    assert "share of pairs that are relevant" in drawn.svg


def test_a_plot_of_very_many_queries_stays_small() -> None:
    points = [(n % 101 / 100, n % 97 / 96) for n in range(20_000)]
    drawn = plots.plot_before_after(points, "ndcg_cut_10")
    assert len(drawn.svg) < 400_000 and "data:image/png;base64," in drawn.svg
    assert "Of 20000 queries" in drawn.description


def test_long_texts_are_cut_and_breaks_go() -> None:
    assert shortened("a\n  b\tc") == "a b c"
    assert shortened("x" * 400) == "x" * 299 + "…"


def test_what_is_known_of_sets_is_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "about.toml"
    path.write_text('[baking]\ndomain = "kitchen"\nlanguage = "en"\n["x.y"]\ndocuments = "en"\n')
    assert read_about(path) == {"baking": About("kitchen", "en"), "x.y": About(documents="en")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[baking]\ntopic = 'x'\n",
            r"baking\.topic: no such field; known: documents, domain, language, licence, made, solved_by, source",
        ),
        ("[baking]\ndomain = 3\n", "baking must be a table of texts"),
        ("baking = 3\n", "baking must be a table of texts"),
        ("[baking\n", r"about\.toml"),
    ],
)
def test_a_wrong_description_of_sets_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "about.toml"
    path.write_text(text)
    with pytest.raises(BadFile, match=said):
        read_about(path)


def test_sets_are_found_in_a_folder_or_as_one(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert set(set_folders([folders[1]])) == {"baking", "rivers"}
    assert set(set_folders([folders[1] / "baking"])) == {"baking"}
    with pytest.raises(InvalidInput, match=r"holds no corpus\.jsonl"):
        set_folders([folders[0]])


def test_superseded_results_are_left_out(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_measured(folders[0] / "superseded", folders[1] / "baking", wrong())
    assert len(read_measured(folders[0])[0]) == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadFile, match="holds no results"):
        read_measured(tmp_path / "empty")


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = failures.run(app, ["eval", "report", *arguments])
    shown = capfd.readouterr()
    return code, shown.out, shown.err


def test_the_command_writes_both_pages(folders: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page, text = tmp_path / "r.html", tmp_path / "r.md"
    code, out, _ = run(
        capfd, str(folders[0]), "--data", str(folders[1]), "--output", str(page), "--markdown", str(text), "--losses", "1"
    )
    assert (code, out) == (0, "")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert page.read_text(encoding="utf-8").count("<details>") == 1
    assert text.read_text(encoding="utf-8").startswith("# Evaluation of nano\n")


def test_the_command_prints_markdown_or_json(folders: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capfd, str(folders[0]))
    assert code == 0 and out.startswith("# Evaluation of nano")
    code, out, _ = run(capfd, str(folders[0]), "--json")
    assert code == 0 and out.count("\n") == 1 and json.loads(out)["models"] == ["nano"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--losses", "-1"), 2, "--losses"),
        (("--data", "/nowhere/at/all"), 2, "data: /nowhere/at/all holds no corpus.jsonl"),
        (("--about", "/nowhere.toml"), 2, "about: /nowhere.toml"),
        (("--output", "/nowhere/r.html"), 4, "/nowhere/r.html"),
    ],
)
def test_bad_use_is_one_line(
    arguments: tuple[str, ...], code: int, said: str, folders: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    found, out, err = run(capfd, str(folders[0]), *arguments)
    assert (found, out) == (code, "")
    assert said in err and err.count("\n") == 1
