"""`gigarank eval report`, `compare` and `calibrate`: what was measured, shown, held against another run, and made to mean
what it says.

Knows how to ask and how to show. Invariant: nothing here runs a model, and a file is written whole or not at all.
"""

import dataclasses
import json as json_text
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gigarank.cli.command import Debug, Json, as_command
from gigarank.cli.output import emit, note, write_file
from gigarank.errors import BadFile, InvalidInput

if TYPE_CHECKING:
    from gigarank.evaluation.calibration import Calibration, Labelled
    from gigarank.evaluation.compare import Comparison, MetricMean, SetComparison
    from gigarank.evaluation.report_data import Measured

Data = Annotated[
    list[Path] | None,
    typer.Option(help="BEIR folders of the sets, or folders of such, for texts and judgments.", show_default=False),
]
Result = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where `gigarank eval run` wrote.", show_default=False)]


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """The command line of `gigarank eval report`."""

    folder: Result
    data: Data = None
    about: Annotated[Path | None, typer.Option(help="A TOML file with domain and language by set.", show_default=False)] = None
    output: Annotated[Path | None, typer.Option("--output", "-o", help="An HTML page.", show_default=False)] = None
    markdown: Annotated[Path | None, typer.Option(help="A Markdown page.", show_default=False)] = None
    losses: Annotated[int, typer.Option(min=0, help="How many of the worst queries to show.")] = 10
    json: Json = False
    debug: Debug = False


def report(options: ReportOptions) -> None:
    """Tables, plots and the worst losses of a folder of results, as HTML, Markdown or JSON.

    Markdown on standard output, unless a file or --json is asked for.
    """
    from gigarank.evaluation.report import make_report, to_json
    from gigarank.evaluation.report_data import read_about, read_measured, read_suites
    from gigarank.evaluation.report_pages import to_html, to_markdown

    about = read_about(options.about) if options.about else {}
    measured, missing = read_measured(options.folder, options.data or (), about)
    made = make_report(measured, read_suites(options.folder), missing=missing, losses=options.losses)
    if options.output is not None:
        write_file(options.output, to_html(made).encode())
    if options.markdown is not None:
        write_file(options.markdown, to_markdown(made).encode())
    if options.json:
        emit(json_text.dumps(to_json(made), ensure_ascii=False) + "\n")
    elif options.output is None and options.markdown is None:
        emit(to_markdown(made))


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """The command line of `gigarank eval compare`."""

    a: Annotated[Path, typer.Argument(metavar="A", help="One run's results.", show_default=False)]
    b: Annotated[Path, typer.Argument(metavar="B", help="The other's.", show_default=False)]
    metric: Annotated[
        list[str] | None,
        typer.Option(help="By trec_eval's name, or all; may be given again. Each set's main one.", show_default=False),
    ] = None
    side: Annotated[Literal["reranked", "fused", "first_stage"], typer.Option(help="Whose order is compared.")] = "reranked"
    json: Json = False
    debug: Debug = False


def compare(options: CompareOptions) -> None:
    """Two runs over the same sets: means, the 95% interval of B minus A by paired bootstrap, wins and losses by query."""
    from gigarank.evaluation.compare import compare as compare_results
    from gigarank.evaluation.report_data import read_measured

    a, b = ([one.result for one in read_measured(place)[0]] for place in (options.a, options.b))
    found = compare_results(a, b, metrics=options.metric or (), side=options.side)
    emit(json_text.dumps(dataclasses.asdict(found), ensure_ascii=False) + "\n" if options.json else comparison_table(found))
    for place, names in ((options.a, found.only_a), (options.b, found.only_b)):
        if names:
            note(f"only in {place}, not compared: {', '.join(names)}")
    for name, (one, other) in found.settings.items():
        note(f"{name}: {one} against {other}")


def comparison_table(found: "Comparison") -> str:
    """A Markdown table: a set and metric a row, then the means over sets."""
    from gigarank.evaluation.report_pages import table_to_markdown
    from gigarank.evaluation.report_tables import Table

    headings = ("set", "metric", "queries", "A", "B", "B - A", "95%", "significant", "wins", "losses", "ties")
    rows = (*map(_set_cells, found.sets), *map(_mean_cells, found.means))
    return table_to_markdown(Table("comparison", headings, rows, texts=2)) + "\n"


def _set_cells(one: "SetComparison") -> tuple[str, ...]:
    from gigarank.evaluation.report_tables import interval

    drawn = one.difference
    figures = (f"{one.a:.4f}", f"{one.b:.4f}", f"{drawn.difference:+.4f}", interval((drawn.low, drawn.high)))
    counts = (str(one.wins), str(one.losses), str(one.ties))
    return (one.name, one.metric, str(one.queries), *figures, "yes" if drawn.significant else "no", *counts)


def _mean_cells(mean: "MetricMean") -> tuple[str, ...]:
    from gigarank.evaluation.report_tables import interval

    drawn = mean.difference
    ends = ("", "") if drawn is None else (interval((drawn.low, drawn.high)), "yes" if drawn.significant else "no")
    figures = (f"{mean.a:.4f}", f"{mean.b:.4f}", f"{mean.b - mean.a:+.4f}", *ends)
    return (f"mean over {mean.sets} set{'' if mean.sets == 1 else 's'}", mean.metric, "", *figures, "", "", "")


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """The command line of `gigarank eval calibrate`."""

    fit: Annotated[list[Path], typer.Option(help="Results to fit on: a file or a folder.", show_default=False)]
    report: Annotated[list[Path], typer.Option(help="Results to judge on: other sets than those of --fit.", show_default=False)]
    data: Data = None
    method: Annotated[Literal["platt", "temperature"], typer.Option(help="Which one --output holds.")] = "platt"
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A JSON file for `gigarank rank --calibration`.", show_default=False)
    ] = None
    json: Json = False
    debug: Debug = False


def calibrate(options: CalibrateOptions) -> None:
    """Fit temperature and Platt scaling on one set, and report on another how reliable P(yes) is before and after."""
    from gigarank.evaluation import calibration
    from gigarank.evaluation.report_data import labelled

    fitted_on, judged_on = (_read_all(places, options) for places in (options.fit, options.report))
    model, prompt = check_calibration(fitted_on, judged_on)
    training, judged = labelled(fitted_on), labelled(judged_on)
    fits = {method: calibration.fit(training, method, model=model, prompt=prompt) for method in calibration.METHODS}
    if options.output is not None:
        write_file(options.output, calibration.to_json(fits[options.method]).encode())
    content = calibration_json(fits, training, judged)
    emit(json_text.dumps(content, ensure_ascii=False) + "\n" if options.json else calibration_table(content))


def _read_all(places: list[Path], options: CalibrateOptions) -> "list[Measured]":
    from gigarank.evaluation.report_data import read_measured

    found = [read_measured(place, options.data or ()) for place in places]
    for missing in (sentence for _, sentences in found for sentence in sentences):
        raise BadFile(f"data: {missing}", param="data", received=missing)
    return [one for measured, _ in found for one in measured]


def check_calibration(fitted_on: "list[Measured]", judged_on: "list[Measured]") -> tuple[str, str]:
    """(model, prompt) of all; raises InvalidInput where they differ, or where a set is on both sides."""
    made = {(one.result.model.name, one.result.model.fingerprint, one.result.model.prompt) for one in fitted_on + judged_on}
    if len(made) > 1:
        names = sorted(f"{name} ({prompt})" for name, _, prompt in made)
        message = f"calibrate: results of one model and prompt are needed, not of {', '.join(names)}"
        raise InvalidInput(message, param="fit", received=names)
    both = sorted({one.result.set.name for one in fitted_on} & {one.result.set.name for one in judged_on})
    if both:
        message = f"report: {', '.join(both)} is what the scaling was fitted on; judge it on another set"
        raise InvalidInput(message, param="report", received=both)
    return fitted_on[0].result.model.name, fitted_on[0].result.model.prompt


def calibration_json(fits: "dict[Any, Calibration]", training: "Labelled", judged: "Labelled") -> dict[str, Any]:
    from gigarank.evaluation.calibration import reliability

    found = {"as it is": reliability(judged)} | {method: reliability(judged, one) for method, one in fits.items()}
    return {
        "fitted_on": {"sets": training.sets, "pairs": len(training.logits), "relevant": sum(training.relevant)},
        "judged_on": {"sets": judged.sets, "pairs": len(judged.logits), "relevant": sum(judged.relevant)},
        "fits": {method: dataclasses.asdict(one) for method, one in fits.items()},
        "reliability": {name: dataclasses.asdict(one) for name, one in found.items()},
    }


def calibration_table(content: dict[str, Any]) -> str:
    from gigarank.evaluation.report_pages import table_to_markdown
    from gigarank.evaluation.report_tables import Table

    rows = []
    for name, judged in content["reliability"].items():
        fit = content["fits"].get(name, {"scale": 1.0, "shift": 0.0})
        numbers = (fit["scale"], fit["shift"], judged["ece"], judged["brier"], judged["log_loss"])
        rows.append((name, *(f"{value:.4f}" for value in numbers)))
    table = Table("reliability", ("scaling", "scale", "shift", "ECE", "Brier", "log loss"), tuple(rows))
    sides = (
        f"{word} {', '.join(one['sets'])}: {one['pairs']:,} pairs, {one['relevant']:,} relevant\n"
        for word, one in (("fitted on", content["fitted_on"]), ("judged on", content["judged_on"]))
    )
    return "".join(sides) + "\n" + table_to_markdown(table) + "\n"


def mount(app: typer.Typer) -> None:
    """Adds the commands to the group of `gigarank eval`."""
    app.command(epilog="[bold]Example[/]\n\n  gigarank eval report results --data ./sets --output report.html")(
        as_command(ReportOptions, report)
    )
    app.command(epilog="[bold]Example[/]\n\n  gigarank eval compare results/nano results/qwen3-reranker-0.6b")(
        as_command(CompareOptions, compare)
    )
    app.command(
        epilog="[bold]Example[/]\n\n  gigarank eval calibrate --fit results/nano/scifact.json --report results/nano/cacm.json "
        "--data ./sets --output calibration.json"
    )(as_command(CalibrateOptions, calibrate))
