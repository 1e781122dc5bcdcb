"""A ranking as text: a table for a terminal, lines for a pipe, one JSON object for a program, and the footer.

Knows no model and writes nothing: every function returns text. Invariant: a document that was not read whole is
marked in every form, and no text of a document can steer the terminal or break a line.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from gigarank.catalogue import find
from gigarank.cli.documents import Document, Source
from gigarank.cli.output import printable
from gigarank.cli.terminal import as_text, cut_left
from gigarank.types import Numerics, Ranking, Score

_FIRST_WORDS = 400  # characters; wider than any terminal's column for them
_BAR_CELLS = 10
_SOURCE_CELLS = 28


@dataclass(frozen=True, slots=True)
class Answer:
    """A ranking with all that it takes to show it; `seconds` are those of loading and of ranking. `calibrate` gives a logit's
    calibrated probability, which is shown beside the model's own and changes no order."""

    ranking: Ranking
    documents: Sequence[Document]
    instruction: str
    numerics: Numerics
    seconds: tuple[float, float] = (0.0, 0.0)
    calibrate: Callable[[float], float] | None = None


def to_json(answer: Answer) -> str:
    """One object on one line; the results carry their documents and where they were read."""
    content = {
        "model": answer.ranking.model,
        "query": answer.ranking.query,
        "instruction": answer.instruction,
        "results": [_result(score, answer) for score in answer.ranking],
        "usage": asdict(answer.ranking.usage),
        "numerics": asdict(answer.numerics),
    }
    return json.dumps(content, ensure_ascii=False) + "\n"


def _result(score: Score, answer: Answer) -> dict[str, Any]:
    document = answer.documents[score.index]
    result = asdict(score) | {"document": document.text, "source": document.source.to_json()}
    if answer.calibrate is not None:
        result["calibrated"] = answer.calibrate(score.logit)
    for name in ("window", "fused"):
        if result[name] is None:
            del result[name]
    return result


def to_lines(answer: Answer) -> str:
    """Tab-separated: rank, probability, logit, how much was read, source, text (its whitespace as single blanks), and, where
    there are such, the calibrated probability and the fused score."""
    lines = []
    for rank, score in enumerate(answer.ranking, start=1):
        document = answer.documents[score.index]
        numbers = (str(rank), f"{score.relevance_score:.6g}", f"{score.logit:.6f}")
        texts = (how_much(score) or "whole", document.source.label, document.text)
        calibrated = () if answer.calibrate is None else (f"{answer.calibrate(score.logit):.6g}",)
        fused = () if score.fused is None else (f"{score.fused:.6f}",)
        lines.append("\t".join((*numbers, *(" ".join(text.split()) for text in texts), *calibrated, *fused)) + "\n")
    return "".join(lines)


def how_much(score: Score) -> str:
    """What a reader must know who thinks that all was read: `truncated`, `window 2/5`, or nothing."""
    window = f"window {score.window.index + 1}/{score.window.count}" if score.window else ""
    return ", ".join(filter(None, (window, "truncated" if score.truncated else "")))


def to_table(answer: Answer, width: int | None = None) -> str:
    """For eyes: best first, a bar as long as the probability, and the first words."""
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("score", width=_BAR_CELLS)
    table.add_column("prob.", justify="right", no_wrap=True)
    table.add_column("logit", justify="right", no_wrap=True)
    if answer.calibrate is not None:
        table.add_column("calibrated", justify="right", no_wrap=True)
    fused = any(score.fused is not None for score in answer.ranking)
    if fused:
        table.add_column("fused", justify="right", no_wrap=True)
    table.add_column("source", no_wrap=True)
    table.add_column("document", no_wrap=True, overflow="ellipsis", ratio=1)
    sources = [answer.documents[score.index].source for score in answer.ranking]
    for rank, (score, source) in enumerate(zip(answer.ranking, short_labels(sources), strict=True), start=1):
        table.add_row(
            str(rank),
            Bar(1.0, 0.0, score.relevance_score, width=_BAR_CELLS, color="green"),
            f"{score.relevance_score:.4f}",
            f"{score.logit:+.2f}",
            *([] if answer.calibrate is None else [f"{answer.calibrate(score.logit):.4f}"]),
            *([f"{score.fused:+.2f}"] if fused else []),
            Text(cut_left(printable(source), _SOURCE_CELLS), style="cyan"),
            _first_words(score, answer.documents[score.index]),
        )
    return as_text(table, width)


def short_labels(sources: Sequence[Source]) -> list[str]:
    """The labels without their folders, unless two files differ only in those."""
    files = {source.file for source in sources}
    if len({Path(file).name for file in files}) < len(files):
        return [source.label for source in sources]
    return [replace(source, file=Path(source.file).name or source.file).label for source in sources]


def _first_words(score: Score, document: Document) -> Text:
    mark = how_much(score)
    text = Text(f"[{mark}] " if mark else "", style="yellow")
    return text.append(printable(document.text[:_FIRST_WORDS]), style="default")


def footer(answer: Answer) -> str:
    """Model, numerics, what was read and how long it took; what the catalogue warns of."""
    numerics, usage = answer.numerics, answer.ranking.usage
    loading, ranking = answer.seconds
    lines = [
        f"{answer.ranking.model}: {_count(usage.documents, 'document')}, {_count(usage.total_tokens, 'token')}, "
        f"loaded in {loading:.1f} s, ranked in {ranking:.1f} s",
        numerics_line(numerics),
        *_single(answer.documents),
        *_cut(answer),
        *_caveat(answer.ranking.model),
    ]
    return "\n".join(lines)


def numerics_line(numerics: Numerics) -> str:
    """The choice, and why this device and this precision; why these kernels is for `--json` and `gigarank doctor`."""
    return f"{numerics.dtype} on {numerics.device}: {'; '.join(numerics.reasons[:2])}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _single(documents: Sequence[Document]) -> list[str]:
    """A ranking of one text is seldom what someone meant who named a file of many lines."""
    whole = len(documents) == 1 and documents[0].source.place is None
    return ["the file is one document; --format lines ranks its lines"] if whole and "\n" in documents[0].text else []


def _cut(answer: Answer) -> list[str]:
    cut = sum(score.truncated for score in answer.ranking)
    if not cut:
        return []
    hint = "more --max-windows read more" if any(score.window for score in answer.ranking) else "--windows reads all"
    return [f"{_count(cut, 'document')} shown here {'was' if cut == 1 else 'were'} not read to the end; {hint}"]


def _caveat(name: str) -> list[str]:
    model = find(name)
    return [f"note: {model.caveat}"] if model and model.caveat else []
