"""A plan as one drawing: how latencies are distributed, and what more or fewer replicas do. SVG or PNG, by the file's name.

Knows figures and labels. Invariant: the same figures give the same file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gigarank.cluster.capacity.search import Slo, Tried
from gigarank.cluster.capacity.summary import percentile, warm_up
from gigarank.errors import InvalidInput

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ImportError as error:
    raise InvalidInput("a plot needs the package matplotlib: pip install 'gigarank[cluster]'", param="plot") from error

FORMATS = (".svg", ".png")
_STYLE: dict[Any, Any] = {"svg.hashsalt": "gigarank", "svg.fonttype": "none", "axes.grid": True, "legend.frameon": False}
_BLUE, _AMBER, _PINK = "#2563eb", "#d97706", "#db2777"


def check_format(path: Path) -> None:
    """Raises InvalidInput for a name that ends in neither."""
    if path.suffix not in FORMATS:
        raise InvalidInput(f"plot: a file that ends in .svg or .png, not {path.name!r}", param="plot", limit=FORMATS)


@rc_context(_STYLE)
def draw(path: Path, title: str, tried: Sequence[Tried], chosen: Tried, slo: Slo | None) -> None:
    """Writes the file. Runs that were given up have no latencies that mean anything, and are left out."""
    check_format(path)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    _latencies(left, chosen, slo)
    _replicas(right, [one for one in tried if not one.run.given_up], slo)
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, format=path.suffix[1:], metadata=metadata)


def _latencies(axes: Axes, chosen: Tried, slo: Slo | None) -> None:
    """The share of requests that are answered by a time."""
    ordered = sorted(_counted(chosen))
    shares = [100.0 * (place + 1) / len(ordered) for place in range(len(ordered))]
    axes.plot([1e3 * value for value in ordered], shares, color=_BLUE, label=f"{chosen.replicas} replicas")
    axes.set(xlabel="latency, ms", ylabel="requests answered, %", ylim=(0, 101), title="Latency")
    if slo is not None:
        axes.axvline(1e3 * slo.limit_s, color=_PINK, linestyle="--", label=str(slo))
    axes.legend(loc="lower right")


def _replicas(axes: Axes, tried: Sequence[Tried], slo: Slo | None) -> None:
    ordered = sorted(tried, key=lambda one: one.replicas)
    for percent, colour, marker in ((99.0, _AMBER, "s"), (50.0, _BLUE, "o")):
        values = [1e3 * percentile(_counted(one), percent) for one in ordered]
        axes.plot([one.replicas for one in ordered], values, color=colour, marker=marker, label=f"p{percent:g}")
    if slo is not None:
        axes.axhline(1e3 * slo.limit_s, color=_PINK, linestyle="--", label=str(slo))
    axes.set(xlabel="replicas", ylabel="latency, ms", title="Replicas", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper right")


def _counted(one: Tried) -> Sequence[float]:
    """Latencies after the warm-up; requests that were refused have none."""
    return [value for value in one.run.latencies_s[warm_up(len(one.run.latencies_s)) :] if value != float("inf")]
