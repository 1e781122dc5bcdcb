"""A report as one HTML page that needs nothing beside it, and as Markdown.

Knows looks, no figures. Invariant: every text of a result or a data set is escaped; neither page holds a script, a style or a
picture from elsewhere.
"""

import re
from collections.abc import Sequence
from importlib.resources import files

from gigarank.errors import InvalidInput
from gigarank.evaluation.drill import Loss, Moved
from gigarank.evaluation.plots import Plot, to_element
from gigarank.evaluation.report import Report, Section, sections
from gigarank.evaluation.report_tables import Table

try:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
except ImportError as error:
    raise InvalidInput("reports need the package jinja2: pip install 'gigarank[eval]'", param="report") from error

_SPECIAL = re.compile(r"([\\`*{}\[\]|#~]|(?<!\w)_|_(?!\w))")  # an underscore inside a word is one


def to_html(report: Report) -> str:
    """One page: styles inside, plots inline, no scripts."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["drawing"] = drawing
    environment.filters["moved"] = move
    template = environment.from_string(files(__package__).joinpath("report.html.jinja").read_text(encoding="utf-8"))
    return template.render(title=title(report), sections=sections(report)) + "\n"


def drawing(plot: Plot, key: str) -> Markup:
    """The plot's own SVG: its labels were escaped where they were drawn."""
    return Markup(to_element(plot, key))


def title(report: Report) -> str:
    return f"Evaluation of {', '.join(report.models)}"


def move(moved: Moved) -> str:
    """A document's way, in words."""
    grade = "not judged" if moved.grade is None else f"grade {moved.grade}"
    return f"{moved.before} → {moved.after}, {grade}"


def to_markdown(report: Report) -> str:
    """Headings, tables and lists; a plot is its description, since Markdown has no place for drawings."""
    parts = [f"# {plain(title(report))}", *(_section(one) for one in sections(report))]
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> str:
    parts = [f"## {plain(section.title)}", *map(plain, section.notes), *map(table_to_markdown, section.tables)]
    parts += [f"{plain(plot.title)}: {plain(plot.description)}" for plot in section.plots]
    return "\n\n".join([*parts, *map(_loss, section.losses)])


def table_to_markdown(table: Table) -> str:
    """Numbers to the right."""
    rule = ["---" if place < table.texts else "---:" for place in range(len(table.headings))]
    rows = [[plain(cell) for cell in row] for row in (table.headings, *table.rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:]))


def _loss(loss: Loss) -> str:
    heading = f"### {plain(loss.set)}, {plain(loss.query)}: {plain(loss.metric)} {loss.before:.4f} → {loss.after:.4f}"
    return "\n\n".join([heading, *_asked(loss), *_moves("Rose", loss.rose), *_moves("Fell", loss.fell)])


def _asked(loss: Loss) -> list[str]:
    told = [f"Instruction: {plain(loss.instruction)}"] if loss.instruction else []
    return [*([plain(loss.text)] if loss.text else []), *told]


def _moves(word: str, moves: Sequence[Moved]) -> list[str]:
    lines = [f"- {plain(one.document)} ({move(one)}){': ' + plain(one.text) if one.text else ''}" for one in moves]
    return [f"{word}:\n\n" + "\n".join(lines)] if lines else []


def plain(text: str) -> str:
    """The text on one line, read by Markdown as nothing but text."""
    escaped = _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("&", "&amp;")
    return escaped.replace("<", "&lt;").replace(">", "&gt;").replace("://", "&#58;//")
