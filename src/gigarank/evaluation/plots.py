"""The plots of a report, as SVG text that stands inside a page: by matplotlib, in the page's own colours.

Knows numbers and labels. Invariants: the same values give the same text; no label is read as markup or mathematics; ink and
grid are the page's variables, so that one drawing serves light and dark.
"""

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from gigarank.errors import InvalidInput
from gigarank.evaluation.calibration import Bin

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
except ImportError as error:
    raise InvalidInput("plots need the package matplotlib: pip install 'gigarank[eval]'", param="report") from error

INK, GRID = "#010203", "#040506"
COLOURS = {"first_stage": "#d97706", "reranked": "#2563eb", "fused": "#059669", "oracle": "#8b8b8b"}
"""Legible on white and on near-black; markers differ too, for those who see no colours."""
MARKERS = {"first_stage": "s", "reranked": "o", "fused": "D", "oracle": "|"}
_CYCLE = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#8b8b8b")
_LABEL = 36  # characters
_MANY = 3_000  # points above which a drawing of single marks is a picture instead
_ALONE = (
    "svg{color:#1f2328;--line:#d0d7de;background:#ffffff}"
    "@media (prefers-color-scheme:dark){svg{color:#e6edf3;--line:#444c56;background:#0d1117}}"
)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gigarank",
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "font.size": 10,
    "font.family": "sans-serif",
}


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing as an SVG element, its title, and what it shows in words; `to_element` puts them together."""

    svg: str
    title: str
    description: str


def label(text: str) -> str:
    """Short enough to leave room for the drawing; matplotlib hides a legend's entry that begins with an underscore."""
    return (text if len(text) <= _LABEL else text[: _LABEL - 1] + "…").lstrip("_")


@dataclass(frozen=True, slots=True)
class Dots:
    """A label's values by side; first_stage and reranked are always there."""

    label: str
    values: dict[str, float]


@rc_context(_STYLE)
def plot_sides(rows: Sequence[Dots], title: str, metric: str) -> Plot:
    """A line a label: where first stage, reranked, fused and oracle stand."""
    figure, axes = _figure(height=1.2 + 0.28 * len(rows))
    places = list(range(len(rows), 0, -1))
    for place, row in zip(places, rows, strict=True):
        ends = [row.values["first_stage"], row.values["reranked"]]
        axes.plot(ends, [place, place], color=GRID, linewidth=3, solid_capstyle="round", zorder=1)
    for side, colour in COLOURS.items():
        found = [(row.values[side], place) for place, row in zip(places, rows, strict=True) if side in row.values]
        if found:
            x, y = zip(*found, strict=True)
            axes.scatter(x, y, s=36, color=colour, marker=MARKERS[side], label=side.replace("_", " "), zorder=2)
    axes.set_yticks(places, [label(row.label) for row in rows])
    axes.set_xlim(0, 1.02)
    axes.set_xlabel(label(metric))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    worse = sum(row.values["reranked"] < row.values["first_stage"] for row in rows)
    return _plot(figure, title, f"{len(rows)} rows of {metric}; in {worse} of them reranked is below the first stage.")


@dataclass(frozen=True, slots=True)
class Point:
    """`x` and `y` of one thing, in a series."""

    x: float
    y: float
    series: str


@rc_context(_STYLE)
def plot_cost(points: Sequence[Point], metric: str) -> Plot:
    """Quality over speed, a point a set, a series a model."""
    figure, axes = _figure(height=3.4)
    names = list(dict.fromkeys(point.series for point in points))
    for number, name in enumerate(names):
        chosen = [point for point in points if point.series == name]
        x, y = [point.x for point in chosen], [point.y for point in chosen]
        axes.scatter(x, y, s=30, color=_CYCLE[number % len(_CYCLE)], marker="osD^vP"[number % 6], label=label(name))
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("pairs a second (logarithmic)")
    axes.set_ylabel(f"{label(metric)}, reranked")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    slow, fast = min(point.x for point in points), max(point.x for point in points)
    words = f"{len(points)} points of {len(names)} models, from {slow:.3g} to {fast:.3g} pairs a second."
    return _plot(figure, "Quality against cost", words)


@rc_context(_STYLE)
def plot_before_after(points: Sequence[tuple[float, float]], metric: str) -> Plot:
    """A point a query: the first stage's value against the reranked one. Points above the diagonal won."""
    figure, axes = _figure(height=4.6, width=5.2)
    axes.plot([0, 1], [0, 1], color=GRID, linewidth=1)
    x, y = [point[0] for point in points], [point[1] for point in points]
    axes.scatter(x, y, s=14, alpha=0.35, color=COLOURS["reranked"], linewidths=0, rasterized=len(points) > _MANY)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel(f"{label(metric)}, first stage")
    axes.set_ylabel(f"{label(metric)}, reranked")
    won, lost = sum(b > a for a, b in points), sum(b < a for a, b in points)
    words = f"Of {len(points)} queries {won} won, {lost} lost, {len(points) - won - lost} stayed as they were."
    return _plot(figure, "Before and after, by query", words)


@rc_context(_STYLE)
def plot_reliability(bins: Sequence[Bin], ece: float) -> Plot:
    """The share of relevant pairs over the model's probability of yes; on the diagonal the probability means what it says."""
    figure, axes = _figure(height=4.2, width=5.2)
    axes.plot([0, 1], [0, 1], color=GRID, linewidth=1)
    axes.plot([b.probability for b in bins], [b.relevant for b in bins], color=COLOURS["reranked"], marker="o", linewidth=1.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel("P(yes)")
    axes.set_ylabel("share of pairs that are relevant")
    words = f"{len(bins)} bins; the expected calibration error is {ece:.3f}. Below the diagonal the model is too sure."
    return _plot(figure, "Reliability of P(yes)", words)


@dataclass(frozen=True, slots=True)
class Line:
    """`points` (x, y), all above 0, from left to right."""

    label: str
    points: tuple[tuple[float, float], ...]


@rc_context(_STYLE)
def plot_growth(lines: Sequence[Line], title: str, what: str) -> Plot:
    """Pairs a second over `what`, both logarithmic, so that a cost in proportion falls as a straight line."""
    figure, axes = _figure(height=3.6)
    for number, line in enumerate(lines):
        x, y = zip(*line.points, strict=True)
        colour, marker = _CYCLE[number % len(_CYCLE)], "osD^vP"[number % 6]
        axes.plot(x, y, color=colour, marker=marker, linewidth=1.5, markersize=5, label=label(line.label))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(f"{label(what)} (logarithmic)")
    axes.set_ylabel("pairs a second (logarithmic)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    parts = (f"{line.label} from {line.points[0][1]:.3g} to {line.points[-1][1]:.3g} pairs a second" for line in lines)
    return _plot(figure, title, "; ".join(parts) + ".")


def _figure(*, height: float, width: float = 8.0) -> tuple[Figure, Axes]:
    """Sizes in inches of 72 points."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _plot(figure: Figure, title: str, description: str) -> Plot:
    written = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)  # the reader's fonts draw it
        FigureCanvasSVG(figure)
        figure.savefig(
            written,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    return Plot(_element(written.getvalue()), title, description)


def _element(svg: str) -> str:
    """The element alone, in the page's colours."""
    element = svg[svg.index("<svg") :].strip()
    for colour, value in ((INK, "currentColor"), (GRID, "var(--line)")):
        element = element.replace(colour, value)
    return element


def to_element(plot: Plot, key: str) -> str:
    """The plot to stand inside a page: `key` makes its ids its own, title and description say what it shows."""
    element = re.sub(r'\b(id=")', rf"\1{key}-", plot.svg)
    element = re.sub(r'((?:xlink:)?href="#|url\(#)', rf"\1{key}-", element)
    opened = element.index(">")
    labels = f' role="img" aria-labelledby="{key}-title {key}-desc"'
    words = f'<title id="{key}-title">{escape(plot.title)}</title><desc id="{key}-desc">{escape(plot.description)}</desc>'
    return element[:opened] + labels + element[opened : opened + 1] + words + element[opened + 1 :]


def to_file(plot: Plot) -> str:
    """The plot as a file of its own, dark where the reader's system is."""
    element = to_element(plot, "plot")
    opened = element.index(">") + 1
    return f"{element[:opened]}<style>{_ALONE}</style>{element[opened:]}\n"
