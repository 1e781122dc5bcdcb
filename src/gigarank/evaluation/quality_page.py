"""The measured part of docs/quality.md: one run or several over the same sets, as Markdown.

Knows results and how a page reads; runs nothing. Invariants: runs are compared only over sets and queries that all of them
answered, and a set that one lacks is named; the first stage's own order stands beside every figure.
"""

import textwrap
from collections.abc import Mapping, Sequence

from gigarank.errors import InvalidInput
from gigarank.evaluation import report_rows as rows_of
from gigarank.evaluation.compare import Comparison, compare
from gigarank.evaluation.contrast import Contrast
from gigarank.evaluation.report import Report, make_report
from gigarank.evaluation.report_data import About, Measured
from gigarank.evaluation.report_pages import plain, table_to_markdown
from gigarank.evaluation.report_rows import Row
from gigarank.evaluation.report_tables import Table, interval, number, provenance_table, row_table
from gigarank.evaluation.standing import Standing, standings

Runs = Mapping[str, Sequence[Measured]]

FIRST_STAGE = "first stage (BM25)"
CONTRASTS = {"condaqa-polarity": "polarity, paired accuracy", "xquad-langinstruct": "language, paired accuracy"}
_WIDTH = 128


def measured_text(runs: Runs, about: Mapping[str, About]) -> str:
    """Where the runs stand, verdicts, tables by set, domain and language, and what all of it rests on. Raises InvalidInput."""
    shared, left_out = in_all(runs)
    report = make_report([one for measured in shared.values() for one in measured])
    solved = [name for name, one in about.items() if one.solved_by]
    stands = standings(shared, solved=solved, told=CONTRASTS, first_stage=FIRST_STAGE)
    parts = [
        *_summary(shared, about, left_out),
        "### In short",
        table_to_markdown(standing_table(stands)),
        *(part for name in shared for part in _where(name, [row for row in report.sets if row.model == name])),
        *_compared(shared),
        *_tables(report),
        "### What the figures rest on",
        *(part for name, measured in shared.items() for part in _origin(name, measured, several=len(shared) > 1)),
    ]
    return "\n\n".join(
        part if part.startswith(("|", "-", "#")) else textwrap.fill(part, _WIDTH, break_on_hyphens=False) for part in parts
    )


def in_all(runs: Runs) -> tuple[dict[str, list[Measured]], list[str]]:
    """The results of the sets that every run has, and the names of the others. Raises InvalidInput where they share none."""
    names = [{one.result.set.name for one in measured} for measured in runs.values()]
    shared = set.intersection(*names)
    if not shared:
        raise InvalidInput(f"runs: {', '.join(runs)} have no set in common", param="runs", received=list(runs))
    found = {name: [one for one in measured if one.result.set.name in shared] for name, measured in runs.items()}
    return found, sorted(set.union(*names) - shared)


def _summary(runs: Runs, about: Mapping[str, About], left_out: Sequence[str]) -> list[str]:
    first = next(iter(runs.values()))
    names = {one.result.set.name for one in first}
    missing = [name for name in about if name not in names and name not in left_out]
    minutes = [f"{sum(one.result.cost.seconds for one in measured) / 60:.0f} minutes" for measured in runs.values()]
    took = minutes if len(minutes) == 1 else [f"{name} {took}" for name, took in zip(runs, minutes, strict=True)]
    return [
        f"{len(names)} of {len(about)} sets, {sum(one.result.set.queries for one in first):,} queries, "
        f"{sum(one.result.cost.pairs for one in first):,} pairs, {', '.join(took)}.",
        *([f"Not measured: {', '.join(missing)}."] if missing else []),
        *([f"Not measured by every run, so left out: {', '.join(left_out)}."] if left_out else []),
    ]


def standing_table(rows: Sequence[Standing]) -> Table:
    """A row an order: means over sets, then how far it follows instructions, with 95% intervals."""
    told = [name for name in CONTRASTS if any(name in row.contrasts for row in rows)]
    headings = (
        "order",
        "mean over sets",
        "sets not solved by BM25",
        "fused, mean over sets",
        *(CONTRASTS[name] for name in told),
    )
    cells = [
        (
            row.name,
            *map(number, (row.mean, row.unsolved, row.fused)),
            *(_contrast(row.contrasts.get(name)) for name in told),
        )
        for row in rows
    ]
    return Table("In short", headings, tuple(cells))


def _contrast(found: Contrast | None) -> str:
    return "" if found is None else f"{found.accuracy:.3f} ({found.low:.3f} to {found.high:.3f})"


def _where(name: str, rows: Sequence[Row]) -> tuple[str, str]:
    return f"### Where {plain(name)} stands against the first stage's order", "\n".join(verdicts(rows))


def verdicts(rows: Sequence[Row]) -> list[str]:
    """A line a verdict: the sets with both figures, the clearest first."""
    lines = []
    for word, title in ((rows_of.BETTER, "better"), (rows_of.WORSE, "worse"), (rows_of.SAME, "no clear difference")):
        chosen = sorted((row for row in rows if row.verdict == word), key=lambda row: -abs(row.reranked - row.first_stage))
        shown = [f"{plain(row.name)} {row.first_stage:.2f} → {row.reranked:.2f}" for row in chosen]
        lines.append(f"- {title} ({len(chosen)}): {', '.join(shown) or 'none'}")
    fused = [row for row in rows if row.fused is not None and row.fused > max(row.first_stage, row.reranked)]
    lines.append(f"- fused above both ({len(fused)}): {', '.join(plain(row.name) for row in fused) or 'none'}")
    return [textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in lines]


def _compared(runs: Runs) -> list[str]:
    """Every other run against the first, alone and fused, set by set."""
    (first, ours), *others = runs.items()
    found = []
    for name, theirs in others:
        a, b = ([one.result for one in measured] for measured in (ours, theirs))
        sides = ["reranked", *(["fused"] if all(one.fuse_weight is not None for one in (*a, *b)) else [])]
        for side in sides:
            compared = compare(a, b, side=side)
            title = f"### {plain(name)} against {plain(first)}{', fused' if side == 'fused' else ''}"
            found += [title, table_to_markdown(_comparison_table(compared, (first, name)))]
    return found


def _comparison_table(compared: Comparison, names: tuple[str, str]) -> Table:
    headings = ("set", "metric", "queries", *names, "difference, 95%", f"{names[1]} is", "won", "lost")
    rows = [
        (
            one.name,
            one.metric,
            f"{one.queries:,}",
            *map(number, (one.a, one.b)),
            interval((one.difference.low, one.difference.high)),
            rows_of.verdict(one.difference.difference, one.difference.significant),
            *map(str, (one.wins, one.losses)),
        )
        for one in compared.sets
    ]
    for mean in compared.means:
        drawn = mean.difference
        ends = ("", "")
        if drawn is not None:
            ends = (interval((drawn.low, drawn.high)), rows_of.verdict(drawn.difference, drawn.significant))
        rows.append(("mean over sets", mean.metric, "", *map(number, (mean.a, mean.b)), *ends, "", ""))
    return Table("Compared", headings, tuple(rows), texts=2)


def _tables(report: Report) -> list[str]:
    order = {name: place for place, name in enumerate(report.models)}
    groups = (
        ("By set", (*_sorted(report.sets, order), *report.means)),
        ("By domain", _sorted(report.domains, order)),
        ("By language", _sorted(report.languages, order)),
    )
    return [
        *(part for title, rows in groups for part in (f"### {title}", table_to_markdown(row_table(title, rows)))),
        *_probabilities(report),
    ]


def _sorted(rows: Sequence[Row], order: Mapping[str, int]) -> tuple[Row, ...]:
    """One set's rows stand together, in the runs' order."""
    return tuple(sorted(rows, key=lambda row: (row.name, order[row.model])))


def _probabilities(report: Report) -> list[str]:
    if not report.reliability:
        return []
    headings = ("model", "pairs", "relevant", "expected calibration error", "Brier score")
    rows = [
        (name, f"{judged.pairs:,}", f"{judged.relevant:,}", f"{judged.ece:.3f}", f"{judged.brier:.3f}")
        for name, judged in report.reliability.items()
    ]
    return [
        "### Probabilities",
        "How far P(yes) is from the share of relevant pairs, over all sets above:",
        table_to_markdown(Table("Probabilities", headings, tuple(rows))),
    ]


def _origin(name: str, measured: Sequence[Measured], *, several: bool) -> list[str]:
    return [*([f"#### {plain(name)}"] if several else []), table_to_markdown(provenance_table(measured))]


def sets_table(about: Mapping[str, About]) -> Table:
    rows = tuple((name, one.domain or "", one.source, one.made, one.licence) for name, one in about.items())
    return Table("Sets", ("set", "domain", "source (GitHub, at the commit)", "how it was made", "licence"), rows, texts=5)
