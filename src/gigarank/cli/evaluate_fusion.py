"""`gigarank eval fusion`: what the first stage's score is worth beside the model's, from the results of runs.

Knows how to ask and how to show. Invariant: nothing here runs a model.
"""

import dataclasses
import json as json_text
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gigarank.cli.command import Debug, Json, as_command
from gigarank.cli.output import emit

if TYPE_CHECKING:
    from gigarank.evaluation.fusion import Fusion, SetFusion
    from gigarank.evaluation.significance import Interval


@dataclass(frozen=True, kw_only=True)
class FusionOptions:
    """The command line of `gigarank eval fusion`."""

    results: Annotated[
        list[Path],
        typer.Argument(metavar="RESULTS...", help="Results of one model: files, or folders of such.", show_default=False),
    ]
    weight: Annotated[
        list[float] | None, typer.Option(min=0.0, help="A weight to try; may be given again. Twelve from 0 to 10.")
    ] = None
    json: Json = False
    debug: Debug = False


def fusion(options: FusionOptions) -> None:
    """Fit the weight of the first stage's score, and report each set with the weight that the other sets chose."""
    from gigarank.evaluation.fusion import WEIGHTS, fit
    from gigarank.evaluation.report_data import read_measured

    measured = [one for place in options.results for one in read_measured(place)[0]]
    found = fit(measured, options.weight or WEIGHTS)
    emit(json_text.dumps(dataclasses.asdict(found), ensure_ascii=False) + "\n" if options.json else fusion_tables(found))


def fusion_tables(found: "Fusion") -> str:
    """Two Markdown tables: the sets, each with the weight of the others, and the mean over sets by weight."""
    from gigarank.evaluation.report_pages import table_to_markdown
    from gigarank.evaluation.report_tables import Table

    headings = ("set", "metric", "queries", "first stage", "reranked", "weight", "fused", "over the better, 95%", "significant")
    sets = Table("fusion", headings, tuple(map(_set_cells, found.sets)), texts=2)
    curve = Table("weights", ("weight", "mean over sets"), tuple((f"{one:g}", f"{mean:.4f}") for one, mean in found.curve))
    sentences = (
        f"{found.model}: weight {found.weight:g}, fitted on all {len(found.sets)} sets; use it with --first-stage-weight\n",
        *(
            _sentence(name, drawn)
            for name, drawn in (("reranked", found.over_reranked), ("first stage", found.over_first_stage))
        ),
    )
    return "\n".join([table_to_markdown(sets) + "\n", table_to_markdown(curve) + "\n", "".join(sentences)])


def _set_cells(one: "SetFusion") -> tuple[str, ...]:
    from gigarank.evaluation.report_tables import interval

    figures = (f"{one.first_stage:.4f}", f"{one.reranked:.4f}", f"{one.weight:g}", f"{one.fused:.4f}")
    drawn = one.difference
    ends = (interval((drawn.low, drawn.high)), "yes" if drawn.significant else "no")
    return (one.name, one.metric, str(one.queries), *figures, *ends)


def _sentence(name: str, drawn: "Interval | None") -> str:
    from gigarank.evaluation.report_tables import interval

    if drawn is None:
        return ""
    return f"fused minus {name}, mean over sets: {drawn.difference:+.4f} (95%: {interval((drawn.low, drawn.high))})\n"


def mount(app: typer.Typer) -> None:
    """Adds the command to the group of `gigarank eval`."""
    app.command(epilog="[bold]Example[/]\n\n  gigarank eval fusion results/nano")(as_command(FusionOptions, fusion))
