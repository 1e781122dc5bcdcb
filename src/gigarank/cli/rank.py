"""`gigarank rank`: read documents, score them against a query, show them best first.

Knows a model only as something that ranks. Invariant: everything the user could correct is refused before a model
is loaded.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from gigarank.cli import render
from gigarank.cli.command import Debug, Json
from gigarank.cli.documents import Document
from gigarank.cli.loading import LoadOptions, check_kind, load_reranker
from gigarank.cli.output import emit, is_terminal, note
from gigarank.cli.progress import CountBar
from gigarank.cli.reading import Files, ReadOptions, check_text, read_texts
from gigarank.errors import InvalidInput
from gigarank.prompt import PromptFormat
from gigarank.types import FirstStage, Numerics, Progress, Ranking, Windows

if TYPE_CHECKING:
    from gigarank.evaluation.calibration import Calibration

_LONG = "Long documents"
_WINDOWS = Windows()


class Ranks(Protocol):
    """What ranks: gigarank.Reranker, or anything that answers as it does."""

    name: str
    prompt: PromptFormat
    numerics: Numerics

    def rank(
        self,
        query: str,
        documents: Sequence[str] | FirstStage,
        *,
        instruction: str | None = None,
        top_n: int | None = None,
        windows: Windows | None = None,
        progress: Progress | None = None,
    ) -> Ranking: ...


@dataclass(frozen=True, kw_only=True)
class RankOptions(LoadOptions, ReadOptions):
    """The command line of `gigarank rank`."""

    query: Annotated[str, typer.Argument(metavar="QUERY", help="What is looked for.", show_default=False)]
    files: Files = None
    instruction: Annotated[
        str | None, typer.Option(help="The task, in a sentence; the prompt's own if not given.", show_default=False)
    ] = None
    top_n: Annotated[int | None, typer.Option(min=1, help="Show only the best N.", show_default=False)] = None
    calibration: Annotated[
        Path | None,
        typer.Option(help="A file of `gigarank eval calibrate`; adds calibrated probabilities.", show_default=False),
    ] = None
    first_stage: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="The JSON member or CSV column with the score of the search that found a document; the order is then that "
            "of both scores together.",
            show_default=False,
        ),
    ] = None
    first_stage_weight: Annotated[
        float | None,
        typer.Option(min=0, help="How much it counts beside the model's (1).", show_default=False),
    ] = None
    json: Json = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No footer on standard error.")] = False
    windows: Annotated[
        bool, typer.Option("--windows", help="Score the best window instead of the beginning.", rich_help_panel=_LONG)
    ] = False
    overlap_tokens: Annotated[
        int | None,
        typer.Option(
            min=0,
            help=f"Tokens that neighbouring windows share ({_WINDOWS.overlap_tokens}).",
            rich_help_panel=_LONG,
            show_default=False,
        ),
    ] = None
    max_windows: Annotated[
        int | None,
        typer.Option(min=1, help="Windows a document; all if not given.", rich_help_panel=_LONG, show_default=False),
    ] = None
    debug: Debug = False


def rank(options: RankOptions, load: Callable[[LoadOptions], Ranks] = load_reranker) -> None:
    """Score documents against QUERY and show them, best first.

    A table in a terminal; in a pipe a line a document: rank, probability, logit, how much was read, source, text.
    """
    check_text("query", options.query)
    check_text("instruction", options.instruction)
    check_kind(options.model, "reranker")
    shown = Shown(windows=chosen_windows(options), calibration=read_calibration(options.calibration))
    documents = read_texts(options.files, options, options.first_stage)
    given = texts_of(documents, options)
    began = time.monotonic()
    model = load(options)
    rank_documents(model, documents, options, replace(shown, given=given, loading_seconds=time.monotonic() - began))


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is known of an answer before it is there. `given` is what the model gets."""

    windows: Windows | None = None
    calibration: "Calibration | None" = None
    loading_seconds: float = 0.0
    given: Sequence[str] | FirstStage = ()


def read_calibration(path: Path | None) -> "Calibration | None":
    """Raises BadFile."""
    if path is None:
        return None
    from gigarank.evaluation.calibration import read

    return read(path)


def check_calibration(calibration: "Calibration | None", model: Ranks) -> None:
    """Logits of another model or prompt mean something else: they are refused, not calibrated wrongly."""
    if calibration is None:
        return
    fitted, asked = (calibration.model, calibration.prompt), (model.name, model.prompt.id)
    if fitted != asked:
        raise InvalidInput(
            f"calibration: fitted for {fitted[0]} with the prompt {fitted[1]}, not for {asked[0]} with {asked[1]}",
            param="calibration",
            limit=list(fitted),
            received=list(asked),
        )


def texts_of(documents: Sequence[Document], options: RankOptions) -> Sequence[str] | FirstStage:
    """The texts, with the scores that were read beside them where they were asked for; raises InvalidInput."""
    texts = [document.text for document in documents]
    if options.first_stage is None:
        if options.first_stage_weight is not None:
            raise InvalidInput(
                "--first-stage-weight needs --first-stage", param="--first-stage-weight", received=options.first_stage_weight
            )
        return texts
    from gigarank.engine.fusion import check_first_stage

    scores = [document.first_stage for document in documents if document.first_stage is not None]
    weight = 1.0 if options.first_stage_weight is None else options.first_stage_weight
    check_first_stage(scores, weight, len(texts))
    return FirstStage(texts, scores, weight)


def chosen_windows(options: RankOptions) -> Windows | None:
    """The windows that the options ask for; raises InvalidInput for a detail of windows that were not asked for."""
    details = {"--overlap-tokens": options.overlap_tokens, "--max-windows": options.max_windows}
    given = [name for name, value in details.items() if value is not None]
    if given and not options.windows:
        raise InvalidInput(f"{given[0]} needs --windows", param=given[0], received=details[given[0]])
    if not options.windows:
        return None
    overlap = _WINDOWS.overlap_tokens if options.overlap_tokens is None else options.overlap_tokens
    return Windows(overlap_tokens=overlap, max_windows=options.max_windows)


def rank_documents(
    model: Ranks,
    documents: Sequence[Document],
    options: RankOptions,
    shown: Shown,
) -> None:
    """Rank and write: the answer to standard output, the footer to standard error."""
    check_calibration(shown.calibration, model)
    began = time.monotonic()
    with CountBar("ranking") as bar:
        ranking = model.rank(
            options.query,
            shown.given,
            instruction=options.instruction,
            top_n=options.top_n,
            windows=shown.windows,
            progress=bar,
        )
    answer = render.Answer(
        ranking=ranking,
        documents=documents,
        instruction=model.prompt.default_instruction if options.instruction is None else options.instruction,
        numerics=model.numerics,
        seconds=(shown.loading_seconds, time.monotonic() - began),
        calibrate=None if shown.calibration is None else shown.calibration.apply,
    )
    emit(_shown(answer, options.json))
    if not options.quiet:
        note(render.footer(answer))


def _shown(answer: render.Answer, as_json: bool) -> str:
    if as_json:
        return render.to_json(answer)
    return render.to_table(answer) if is_terminal(sys.stdout) else render.to_lines(answer)
