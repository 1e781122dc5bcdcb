"""A report on results: its sections with their tables, plots and worst queries, ready to be written as a page.

Knows what is to be said and in which order; `report_pages` knows how it looks. Invariants: figures of ours and published ones
never share a column; what could not be had is said, not left out in silence.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gigarank.evaluation import report_rows as rows_of
from gigarank.evaluation.calibration import Reliability, reliability
from gigarank.evaluation.drill import Loss, worst_losses
from gigarank.evaluation.plots import Dots, Plot, Point, plot_before_after, plot_cost, plot_reliability, plot_sides
from gigarank.evaluation.report_data import Measured, labelled
from gigarank.evaluation.report_rows import CostRow, Row
from gigarank.evaluation.report_tables import Table, cost_table, provenance_table, row_table, set_provenance_table

PUBLISHED = "published by the model's authors (arXiv 2506.05176), not measured here"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what stands below it. `losses` are shown one by one."""

    title: str
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True)
class Report:
    """What was found. `missing` says what could not be had; `reliability` is None without judgments."""

    models: tuple[str, ...]
    sets: tuple[Row, ...]
    means: tuple[Row, ...]
    domains: tuple[Row, ...]
    languages: tuple[Row, ...]
    suites: tuple[Row, ...]
    costs: tuple[CostRow, ...]
    losses: tuple[Loss, ...]
    reliability: dict[str, Reliability] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    measured: tuple[Measured, ...] = ()


def make_report(
    measured: Sequence[Measured],
    suites: Sequence[Mapping[str, Any]] = (),
    *,
    missing: Sequence[str] = (),
    losses: int = 10,
) -> Report:
    """The report on results; `losses` is how many of the worst queries it shows."""
    sets = [rows_of.set_row(one) for one in measured]
    suite_rows = rows_of.suite_rows(suites)
    return Report(
        models=tuple(dict.fromkeys([row.model for row in sets] + [row.model for row in suite_rows])),
        sets=tuple(sets),
        means=tuple(rows_of.mean_rows(sets)),
        domains=tuple(rows_of.group_rows(measured, rows_of.by_domain)),
        languages=tuple(rows_of.group_rows(measured, rows_of.by_language)),
        suites=tuple(suite_rows),
        costs=tuple(map(rows_of.cost_row, measured)),
        losses=tuple(worst_losses(measured, losses)),
        reliability=_reliability(measured),
        missing=(*missing, *_without_data(measured)),
        measured=tuple(measured),
    )


def _reliability(measured: Sequence[Measured]) -> dict[str, Reliability]:
    """By model, over the sets whose judgments and scores are at hand."""
    chosen = [one for one in measured if one.data is not None and one.scores()]
    models = dict.fromkeys(one.result.model.name for one in chosen)
    return {name: reliability(labelled([one for one in chosen if one.result.model.name == name])) for name in models}


def _without_data(measured: Sequence[Measured]) -> list[str]:
    names = [one.result.set.name for one in measured if one.data is None]
    if not names:
        return []
    return [f"Texts and judgments of {', '.join(dict.fromkeys(names))} were not at hand: ids stand in their place."]


def to_json(report: Report) -> dict[str, Any]:
    """The report's figures as JSON values; plots and provenance are in the pages and in the results."""
    content = {name: getattr(report, name) for name in ("models", "sets", "means", "domains", "languages", "suites")}
    content |= {name: getattr(report, name) for name in ("costs", "losses", "missing")}
    plain = {name: [_plain(one) for one in values] for name, values in content.items()}
    judged = {model: dataclasses.asdict(found) for model, found in report.reliability.items()}
    return plain | {"reliability": judged, "published": {"source": PUBLISHED, "in": "the field published of suites and sets"}}


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def sections(report: Report) -> list[Section]:
    """What a page shows, top down; a section without anything to show is left out."""
    found = [
        *_about_sets(report),
        *_about_suites(report),
        *_about_queries(report),
        *_about_probabilities(report),
        *_about_cost(report),
        *_about_losses(report),
        *_about_origin(report),
    ]
    return [one for one in found if one.tables or one.plots or one.losses or one.notes]


def _about_sets(report: Report) -> list[Section]:
    if not report.sets:
        return []
    better, worse = (sum(row.verdict == wanted for row in report.sets) for wanted in (rows_of.BETTER, rows_of.WORSE))
    note = (
        f"Reranked is better than the first stage's own order in {better} of {len(report.sets)} rows, worse in {worse}; in the "
        "others the difference may be chance. Intervals are 95%, of reranked minus first stage, by paired bootstrap."
    )
    one_language = len(report.languages) < 2
    return [
        Section("By set", (note,), (row_table("By set", (*report.sets, *report.means)),), (_sides("By set", report.sets),)),
        Section(
            "By domain",
            ("Every query counts once.",),
            (row_table("By domain", report.domains),),
        ),
        Section(
            "By language",
            ("Every query counts once. An arrow: queries in one language, documents in another.",),
            (row_table("By language", report.languages),),
            () if one_language else (_sides("Quality by language", report.languages),),
        ),
    ]


def _sides(title: str, rows: Sequence[Row]) -> Plot:
    several = len({row.model for row in rows}) > 1
    labels = [f"{row.name}, {row.model}" if several else row.name for row in rows]
    metrics = ", ".join(dict.fromkeys(row.metric for row in rows))
    return plot_sides([Dots(label, row.values) for label, row in zip(labels, rows, strict=True)], title, metrics)


def _about_suites(report: Report) -> list[Section]:
    if not report.suites:
        return []
    note = (
        f"The last column is {PUBLISHED}, x 100 and for the whole suite; it was made with other code and is no figure of ours."
    )
    return [Section("Suites", (note,), (row_table("By task", report.suites, published=True),))]


def _about_queries(report: Report) -> list[Section]:
    points: list[tuple[float, float]] = []
    metrics = dict.fromkeys(one.result.main_metric for one in report.measured)
    for one in report.measured:
        metric = one.result.main_metric
        points += [(sides["first_stage"][metric], sides["reranked"][metric]) for sides in one.result.by_query.values()]
    return [Section("By query", plots=(plot_before_after(points, ", ".join(metrics)),))] if points else []


def _about_probabilities(report: Report) -> list[Section]:
    found = []
    for model, judged in report.reliability.items():
        note = (
            f"{model}: {judged.pairs:,} pairs, {judged.relevant:,} relevant; pairs that nobody judged count as not relevant. "
            f"Expected calibration error {judged.ece:.3f}, Brier score {judged.brier:.3f}, both as the model gives them."
        )
        found.append(Section(f"Reliability: {model}", (note,), plots=(plot_reliability(judged.bins, judged.ece),)))
    return found


def _about_cost(report: Report) -> list[Section]:
    quality = {(row.name, row.model): row for row in report.sets}
    points = [
        Point(cost.pairs_per_second, quality[cost.name, cost.model].reranked, cost.model)
        for cost in report.costs
        if cost.pairs_per_second > 0
    ]
    metrics = ", ".join(dict.fromkeys(row.metric for row in report.sets))
    note = "Seconds are those inside the model, on the machine that the provenance names; tokens are document tokens."
    plots = (plot_cost(points, metrics),) if points else ()
    return [Section("Cost", (note,), (cost_table(report.costs),), plots)] if report.costs else []


def _about_losses(report: Report) -> list[Section]:
    if not report.losses:
        return []
    note = "The queries that lost most. Ranks are those among the candidates; the grade is the judgment, where there is one."
    return [Section("Worst losses", (note,), losses=report.losses)]


def _about_origin(report: Report) -> list[Section]:
    if not report.measured and not report.missing:
        return []
    tables = (provenance_table(report.measured), set_provenance_table(report.measured)) if report.measured else ()
    return [Section("Provenance", tuple(report.missing), tables)]
