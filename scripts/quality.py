"""Measures nano over a folder of sets and writes the tables of docs/quality.md anew.

    python scripts/quality.py DATA [--results FOLDER] [--measured] [--set NAME ...]

DATA holds BEIR folders, which are not in this repository; the page says where they come from. A run that was ended goes on
where it was. `--measured` writes the page from results that are there, without a run; `--set` runs only these sets. Invariant:
every figure of the page's tables is read from a result; the words around them are not touched.
"""

import argparse
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from gigarank.evaluation import report_rows as rows_of
from gigarank.evaluation.report import Report, make_report
from gigarank.evaluation.report_data import About, read_about, read_measured
from gigarank.evaluation.report_pages import plain, table_to_markdown
from gigarank.evaluation.report_rows import Row
from gigarank.evaluation.report_tables import Table, provenance_table, row_table

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "quality.md"
SETS = Path(__file__).with_name("quality_sets.toml")
MODEL = "nano"
SETTINGS = ("--model", MODEL, "--limit", "40", "--top-k", "20", "--fuse")
_WIDTH = 128
_MARKED = r"(<!-- {name} -->\n).*?(<!-- /{name} -->)"


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    if not asked.measured:
        places = [asked.data / name for name in asked.set] or [asked.data]
        run(places, asked.results)
    measured, _ = read_measured(asked.results / MODEL, [asked.data], read_about(SETS))
    write_page(asked.page, make_report(measured), read_about(SETS))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="the folder of the sets")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where results are kept (results)")
    parser.add_argument("--measured", action="store_true", help="write the page only, from the results that are there")
    parser.add_argument("--set", action="append", default=[], help="run this set only; may be given again")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page (docs/quality.md)")
    return parser


def run(places: Sequence[Path], results: Path) -> None:
    """`gigarank eval run`, as the page shows it."""
    data = [part for place in places for part in ("--data", str(place))]
    program = [sys.executable, "-c", "import sys; from gigarank.cli import main; sys.exit(main())"]
    subprocess.run([*program, "eval", "run", *data, *SETTINGS, "--output", str(results)], check=True)


def write_page(page: Path, report: Report, about: dict[str, About]) -> None:
    """Puts what is made between the page's markers; a page without them is refused."""
    text = page.read_text(encoding="utf-8")
    for name, content in (("measured", measured_text(report, about)), ("sets", table_to_markdown(sets_table(about)))):
        text = _between(text, name, content, page)
    page.write_text(re.sub(r"\n{3,}", "\n\n", text), encoding="utf-8")


def _between(text: str, name: str, content: str, page: Path) -> str:
    pattern = re.compile(_MARKED.format(name=name), re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{page}: has no <!-- {name} --> ... <!-- /{name} -->")
    return pattern.sub(lambda found: f"{found[1]}\n{content}\n\n{found[2]}", text)


def measured_text(report: Report, about: dict[str, About]) -> str:
    """Verdicts, then the tables, then what they rest on."""
    missing = [name for name in about if name not in {row.name for row in report.sets}]
    parts = [
        f"{len(report.sets)} of {len(about)} sets, {sum(row.queries for row in report.sets):,} queries, "
        f"{sum(cost.pairs for cost in report.costs):,} pairs, {sum(cost.seconds for cost in report.costs) / 60:.0f} minutes.",
        *([f"Not measured: {', '.join(missing)}."] if missing else []),
        "### Where nano stands against the first stage's order",
        "\n".join(verdicts(report.sets)),
        "### By set",
        table_to_markdown(row_table("By set", (*report.sets, *report.means))),
        "### By domain",
        table_to_markdown(row_table("By domain", report.domains)),
        "### By language",
        table_to_markdown(row_table("By language", report.languages)),
        "### Probabilities",
        *map(_probabilities, report.reliability),
        *(_reliability(report, model) for model in report.reliability),
        "### What the figures rest on",
        table_to_markdown(provenance_table(report.measured)),
    ]
    return "\n\n".join(
        part if part.startswith(("|", "-")) else textwrap.fill(part, _WIDTH, break_on_hyphens=False) for part in parts
    )


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


def _probabilities(model: str) -> str:
    return f"How far P(yes) of {plain(model)} is from the share of relevant pairs, over all sets above:"


def _reliability(report: Report, model: str) -> str:
    judged = report.reliability[model]
    numbers = (f"{judged.pairs:,}", f"{judged.relevant:,}", f"{judged.ece:.3f}", f"{judged.brier:.3f}")
    headings = ("model", "pairs", "relevant", "expected calibration error", "Brier score")
    return table_to_markdown(Table("Probabilities", headings, ((model, *numbers),)))


def sets_table(about: dict[str, About]) -> Table:
    rows = tuple((name, one.domain or "", one.source, one.made, one.licence) for name, one in about.items())
    return Table("Sets", ("set", "domain", "source (GitHub, at the commit)", "how it was made", "licence"), rows, texts=5)


if __name__ == "__main__":
    sys.exit(main())
