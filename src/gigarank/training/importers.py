"""Training data of other tools as rows of ours, one at a time.

    swift          {messages, positive_messages, negative_messages}      ms-swift's generative_reranker and embedding data
    flagembedding  {query, pos, neg, pos_scores, neg_scores, prompt}      FlagEmbedding, tevatron; lang, instruction, task too
    columns        {anchor, positive, negative...}, {sentence1, sentence2, score}: sentence-transformers' and mteb's rows, where
                   the order of the columns counts and the label's name
    classes        {text, label, label_text}, mteb's classification: the names of all classes are the documents
    rows           {query, documents, labels, scores}: ours
    beir           a folder of corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv

Knows formats, not what is trained with them. Invariant: every row that comes out has a positive document, one label a
document and one for equal documents; a row that has not is refused by file, line and field.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from gigarank.errors import BadFile, InvalidInput
from gigarank.training import beir_folder
from gigarank.training.lines import Line, first_line, kind, read_lines
from gigarank.training.rows import Row

Format = Literal["swift", "flagembedding", "columns", "classes", "rows", "beir"]
_CLASS, _CLASS_NAME, _MOST_CLASSES = "label", "label_text", 1_000
_LABELS = ("label", "labels", "score", "scores")
_ASIDE = ("instruction", "prompt", "task", "type", "lang", "language")
_OURS = ("query", "documents", "labels", "scores", "instruction", "task", "lang")
_SYNONYMS = ("prompt", "type", "language")
_KEPT_NUMBERS = 1e-9


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """`format` None: told from the first row. `instruction`, `task` and `language` hold for rows without their own.
    `highest_label` is what counts as 1.0 in labelled pairs (5 for STS). `split` and `least_grade` are for BEIR folders: grades
    from `least_grade` up are positive. `skip`: leave out rows without a positive, and those that contradict themselves, instead
    of stopping; they are counted."""

    format: Format | None = None
    instruction: str | None = None
    task: str | None = None
    language: str | None = None
    highest_label: float = 1.0
    split: str = "train"
    least_grade: int = 1
    skip: bool = False


@dataclass(slots=True)
class ImportReport:
    """What was read and left out; `first_skipped` is where."""

    rows: int = 0
    documents: int = 0
    positives: int = 0
    skipped: int = 0
    first_skipped: str | None = None


def import_rows(path: Path, options: ImportOptions, report: ImportReport) -> Iterator[Row]:
    """Rows of a file or a BEIR folder, streamed. Raises BadFile that says where, InvalidInput for options that do not fit."""
    if options.highest_label <= 0:
        received = options.highest_label
        raise InvalidInput(f"highest_label: must be above 0, not {received}", param="highest_label", limit=0, received=received)
    for place, row in _read(path, options):
        if (problem := _problem(place, row)) is not None:
            if not options.skip:
                raise problem
            report.skipped += 1
            report.first_skipped = report.first_skipped or place
            continue
        report.rows += 1
        report.documents += len(row.documents)
        report.positives += sum(label > 0 for label in row.labels)
        yield _with_defaults(row, options)


def _problem(place: str, row: Row) -> BadFile | None:
    """Why nothing can be learned from a row."""
    if not any(label > 0 for label in row.labels):
        return BadFile(f"{place}: a row without a positive document", param="labels", limit=1, received=0)
    first: dict[str, float] = {}
    for document, label in zip(row.documents, row.labels, strict=True):
        if (before := first.setdefault(document, label)) != label:
            return BadFile(
                f"{place}: labels: the document {document!r:.60} stands there twice, with {before:g} and with {label:g}",
                param="labels",
                limit=before,
                received=label,
            )
    return None


def tell_format(path: Path) -> Format:
    """The format of a file or folder, from its first row. Raises BadFile that lists what is known."""
    if path.is_dir():
        return "beir"
    line = first_line(path)
    keys = set(line.values)
    if "messages" in keys:
        return "swift"
    if {"query", "documents", "labels"} <= keys or {"query", "documents", "scores"} <= keys:
        return "rows"
    if {"query", "pos"} <= keys:
        return "flagembedding"
    if "text" in keys and keys & {_CLASS, _CLASS_NAME} and not keys - {"text", _CLASS, _CLASS_NAME, *_ASIDE}:
        return "classes"
    if sum(isinstance(value, str) for key, value in line.values.items() if key not in _ASIDE) >= 1 and len(_columns(line)) >= 2:
        return "columns"
    known = "swift {messages}, flagembedding {query, pos}, rows {query, documents, labels}, columns {anchor, positive}, "
    known += "classes {text, label}"
    raise BadFile(
        f"{path}:{line.number}: no known format has the fields {', '.join(line.values)}; known: {known}", param=str(path)
    )


def _read(path: Path, options: ImportOptions) -> Iterator[tuple[str, Row]]:
    chosen = options.format or tell_format(path)
    if chosen == "beir":
        yield from beir_folder.read(path, options.split, options.least_grade)
    elif chosen == "columns":
        yield from _grouped(path, options.highest_label)
    elif chosen == "classes":
        yield from _of_classes(path)
    else:
        for line in read_lines(path):
            yield f"{path}:{line.number}", _READERS[chosen](line)


def _with_defaults(row: Row, options: ImportOptions) -> Row:
    return replace(
        row,
        instruction=row.instruction or options.instruction,
        task=row.task or options.task,
        language=row.language or options.language,
    )


def _row(line: Line, query: str, judged: list[tuple[str, float, float | None]]) -> Row:
    """`judged`: document, label, teacher's score."""
    scores = tuple(score for _, _, score in judged)
    return Row(
        query=query,
        documents=tuple(document for document, _, _ in judged),
        labels=tuple(label for _, label, _ in judged),
        scores=scores if any(score is not None for score in scores) else None,
        instruction=line.optional("instruction", "prompt"),
        task=line.optional("task", "type"),
        language=line.optional("lang", "language"),
    )


def _flagembedding(line: Line) -> Row:
    judged: list[tuple[str, float, float | None]] = []
    for field, label in (("pos", 1.0), ("neg", 0.0)):
        texts = line.texts(field)
        scores: Sequence[float | None] = line.numbers(f"{field}_scores", len(texts)) or [None] * len(texts)
        judged += [(text, label, score) for text, score in zip(texts, scores, strict=True)]
    return _row(line, line.text("query"), judged)


def _swift(line: Line) -> Row:
    messages = line.values.get("messages")
    asked = _last(line, messages, "messages", "user")
    told = [one.get("content") for one in messages or [] if isinstance(one, Mapping) and one.get("role") == "system"]
    judged: list[tuple[str, float, float | None]] = []
    for field, label in (("positive_messages", 1.0), ("negative_messages", 0.0)):
        lists = line.values.get(field) or []
        if not isinstance(lists, list):
            line.refuse(field, f"must be a list of message lists, not {kind(lists)}", lists)
        judged += [(_last(line, one, f"{field}[{index}]"), label, None) for index, one in enumerate(lists)]
    row = _row(line, asked, judged)
    return replace(row, instruction=line.check(told[0], "messages (system)")) if told else row


def _last(line: Line, messages: Any, field: str, role: str | None = None) -> str:
    """The content of the last message, of that role if one is given."""
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        line.refuse(field, f"must be a list of messages, not {kind(messages)}", messages)
    found = [message for message in messages if role is None or message.get("role") == role]
    if not found:
        line.refuse(field, f"has no {role or ''} message".replace("  ", " "))
    return line.check(found[-1].get("content"), f"{field}.content")


def _ours(line: Line) -> Row:
    line.known(*_OURS, *_SYNONYMS)
    documents = line.texts("documents")
    labels = line.numbers("labels", len(documents)) or [0.0] * len(documents)
    for index, label in enumerate(labels):
        if not 0 <= label <= 1:
            line.refuse(f"labels[{index}]", f"must be from 0 to 1, not {label:g}", label)
    raw = line.values.get("scores")
    if raw is not None and (not isinstance(raw, list) or len(raw) != len(documents)):
        line.refuse("scores", f"must hold {len(documents)} numbers or nulls, one a document", raw)
    scores = [None if one is None else line.number_of(one, f"scores[{index}]") for index, one in enumerate(raw or [])]
    judged = zip(documents, labels, scores or [None] * len(documents), strict=True)
    return _row(line, line.text("query"), list(judged))


_READERS: dict[str, Callable[[Line], Row]] = {"flagembedding": _flagembedding, "swift": _swift, "rows": _ours}


def _columns(line: Line) -> list[str]:
    return [name for name in line.values if name not in (*_LABELS, *_ASIDE)]


def _grouped(path: Path, highest: float) -> Iterator[tuple[str, Row]]:
    """Neighbouring lines of one query and one instruction are one row, so that labelled pairs become lists again."""
    rows = ((f"{path}:{line.number}", _of_columns(line, highest)) for line in read_lines(path))
    for _, group in groupby(rows, key=lambda found: (found[1].query, found[1].instruction)):
        places, parts = zip(*group, strict=True)
        joined = replace(
            parts[0],
            documents=tuple(document for part in parts for document in part.documents),
            labels=tuple(label for part in parts for label in part.labels),
        )
        yield places[0], joined


def _of_columns(line: Line, highest: float) -> Row:
    """sentence-transformers' rule: the columns' order counts, but for the label's. The first text is the query."""
    columns = _columns(line)
    if len(columns) < 2:
        line.refuse("columns", f"a query and a document are needed; there is {', '.join(columns) or 'nothing'}")
    query, *others = columns
    lists = [line.texts(name) if isinstance(line.values[name], list) else [line.text(name)] for name in others]
    label = next((name for name in _LABELS if name in line.values), None)
    documents = [text for texts in lists for text in texts]
    if label is None:
        labels = [1.0 if index == 0 else 0.0 for index, texts in enumerate(lists) for _ in texts]
    else:
        labels = _labels(line, label, len(documents), highest)
    return _row(line, line.text(query), [(text, one, None) for text, one in zip(documents, labels, strict=True)])


def _of_classes(path: Path) -> Iterator[tuple[str, Row]]:
    """A text is the query, its class's name the positive, those of the file's other classes the negatives."""
    names = sorted({_class_of(line) for line in read_lines(path)})
    if not 2 <= len(names) <= _MOST_CLASSES:
        message = f"{path}: {len(names)} classes; from 2 to {_MOST_CLASSES} can be told apart"
        raise BadFile(message, param="label", limit=_MOST_CLASSES, received=len(names))
    for line in read_lines(path):
        own = _class_of(line)
        others = [name for name in names if name != own]
        yield (
            f"{path}:{line.number}",
            _row(line, line.text("text"), [(own, 1.0, None), *((name, 0.0, None) for name in others)]),
        )


def _class_of(line: Line) -> str:
    """The name that mteb gives a class, else its label as it is written."""
    label = line.values.get(_CLASS)
    if line.values.get(_CLASS_NAME) is None and isinstance(label, int) and not isinstance(label, bool):
        return str(label)
    return line.text(_CLASS_NAME if line.values.get(_CLASS_NAME) is not None else _CLASS)


def _labels(line: Line, field: str, length: int, highest: float) -> list[float]:
    value = line.values[field]
    found = line.numbers(field, length) or [] if isinstance(value, list) else [line.number_of(value, field)]
    if len(found) != length:
        line.refuse(field, f"{len(found)} label for {length} documents: give a list of them", value)
    for one in found:
        if not 0 <= one <= highest + _KEPT_NUMBERS:
            line.refuse(field, f"must be from 0 to {highest:g} (highest_label), not {one:g}", one)
    return [one / highest for one in found]
