"""Reading documents from files and standard input: one text a file, one a line, JSONL or CSV.

Knows nothing of models, tokens or terminals. Invariant: every document carries the place it was read from, and a file
that cannot be read as what it should be is a BadFile that names the file and, where there is one, the line.

A line ends at a line feed and nowhere else: U+2028, U+0085 and the like stay inside the text. A carriage return before
the line feed and a byte order mark at the start of a file are dropped.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TextIO

from gigarank.cli.jsonl import number_of_row, text_of_row
from gigarank.errors import BadFile

Format = Literal["text", "lines", "jsonl", "csv"]
STDIN = "-"
SUFFIXES: dict[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LONGEST_CSV_FIELD = 2**31 - 1  # characters; the csv module's own default is 131,072


@dataclass(frozen=True, slots=True)
class Source:
    """Where a document was read: `line` counts a file's lines, `row` a CSV file's rows below its header, from 1."""

    file: str
    line: int | None = None
    row: int | None = None

    @property
    def place(self) -> int | None:
        """The line or the row; None where the file as a whole is the document."""
        return self.row if self.line is None else self.line

    @property
    def label(self) -> str:
        name = "stdin" if self.file == STDIN else self.file
        if self.line is not None:
            return f"{name}:{self.line}"
        return name if self.row is None else f"{name} row {self.row}"

    def to_json(self) -> dict[str, str | int]:
        places = {"line": self.line, "row": self.row}
        return {"file": self.file} | {name: place for name, place in places.items() if place is not None}


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    source: Source
    first_stage: float | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """The JSON members or CSV columns that hold the text and, where it is asked for, the first stage's score."""

    text: str
    first_stage: str | None = None


def read_documents(files: Sequence[str], form: Format | None, field: Fields) -> list[Document]:
    """All documents of all files in their order; raises BadFile where there is none. `form` None goes by the suffix.

    Blank lines and blank text files hold nothing to score and are left out; a row of JSONL or CSV always counts.
    """
    documents = [document for file in files for document in read_file(file, form or format_of(file), field)]
    if not documents:
        names = ", ".join(Source(file).label for file in files)
        raise BadFile(f"documents: nothing to read in {names}", param="documents", received=list(files))
    return documents


def format_of(file: str) -> Format:
    """JSONL and CSV by their suffix, standard input by lines, any other file as one text."""
    return "lines" if file == STDIN else SUFFIXES.get(Path(file).suffix.lower(), "text")


def read_file(file: str, form: Format, field: Fields) -> Iterator[Document]:
    """The documents of one file."""
    if field.first_stage is not None and form not in ("jsonl", "csv"):
        raise _bad(
            file, f"has no field {field.first_stage!r} with the first stage's score; only rows of JSONL and CSV have fields"
        )
    with _opened(file) as stream:
        match form:
            case "text":
                yield from _read_text(file, stream)
            case "lines":
                yield from _read_lines(file, stream)
            case "jsonl":
                yield from _read_jsonl(file, stream, field)
            case "csv":
                yield from _read_csv(file, stream, field)


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    with _standard_input() if file == STDIN else _open(file) as stream:
        yield stream


def _open(file: str) -> BinaryIO:
    try:
        return Path(file).open("rb")
    except IsADirectoryError:
        raise _bad(file, "is a folder; name the files in it") from None
    except FileNotFoundError:
        raise _bad(file, "no such file") from None
    except (OSError, ValueError) as error:
        raise _bad(file, getattr(error, "strerror", None) or str(error)) from error


def _standard_input() -> AbstractContextManager[BinaryIO]:
    """Left open after reading. Python has no sys.stdin where the descriptor was closed before it began."""
    stream: TextIO | None = sys.stdin
    if stream is None:
        raise _bad(STDIN, "closed")
    return nullcontext(stream.buffer)


def _bad(file: str, reason: str, line: int | None = None) -> BadFile:
    place = Source(file, line).label
    return BadFile(f"documents: {place}: {reason}", param="documents", received=place)


def _decode(file: str, raw: bytes, line: int, offset: int) -> str:
    """`raw` as UTF-8; `line` and `offset` say where it starts in the file."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"not UTF-8: byte 0x{raw[error.start]:02x} at offset {offset + error.start}"
        hint = "; it looks like UTF-16" if offset == 0 and raw.startswith(_UTF_16_MARKS) else ""
        raise _bad(file, found + hint, line + raw.count(b"\n", 0, error.start)) from None


def _lines(file: str, stream: BinaryIO) -> Iterator[tuple[int, str]]:
    """Every line with its number from 1 and its line end."""
    offset = 0
    for number, raw in enumerate(stream, start=1):
        mark = len(_BYTE_ORDER_MARK) if number == 1 and raw.startswith(_BYTE_ORDER_MARK) else 0
        yield number, _decode(file, raw[mark:], number, offset + mark)
        offset += len(raw)


def _read_text(file: str, stream: BinaryIO) -> Iterator[Document]:
    raw = stream.read()
    body = raw.removeprefix(_BYTE_ORDER_MARK)
    text = _decode(file, body, 1, len(raw) - len(body))
    if text.strip():
        yield Document(text, Source(file))


def _read_lines(file: str, stream: BinaryIO) -> Iterator[Document]:
    for number, line in _lines(file, stream):
        text = line.removesuffix("\n").removesuffix("\r")
        if text.strip():
            yield Document(text, Source(file, line=number))


def _read_jsonl(file: str, stream: BinaryIO, field: Fields) -> Iterator[Document]:
    for number, line in _lines(file, stream):
        if line.strip():
            try:
                text = text_of_row(line, field.text)
                score = None if field.first_stage is None else number_of_row(line, field.first_stage)
            except ValueError as error:
                raise _bad(file, str(error), number) from None
            yield Document(text, Source(file, line=number), score)


def _read_csv(file: str, stream: BinaryIO, field: Fields) -> Iterator[Document]:
    csv.field_size_limit(_LONGEST_CSV_FIELD)
    rows = csv.reader((line for _, line in _lines(file, stream)), strict=True)
    try:
        header = next(filter(None, rows), None)
        if header is None:
            return
        wanted = [name for name in (field.text, field.first_stage) if name is not None]
        columns = [_column(file, header, name, rows.line_num) for name in wanted]
        for number, row in enumerate(filter(None, rows), start=1):
            for name, column in zip(wanted, columns, strict=True):
                if len(row) <= column:
                    raise _bad(file, f"the row has {len(row)} of {len(header)} fields, none for {name!r}", rows.line_num)
            score = None if field.first_stage is None else _number(file, field.first_stage, row[columns[1]], rows.line_num)
            yield Document(row[columns[0]], Source(file, row=number), score)
    except csv.Error as error:
        raise _bad(file, f"not CSV: {error}", rows.line_num) from None


def _column(file: str, header: Sequence[str], name: str, line: int) -> int:
    if header.count(name) != 1:
        raise _bad(file, f"the header names {name!r} {header.count(name)} times; it has {', '.join(header)}", line)
    return header.index(name)


def _number(file: str, name: str, text: str, line: int) -> float:
    try:
        return float(text)
    except ValueError:
        raise _bad(file, f"the field {name!r} is {text[:40]!r}; a number is needed", line) from None
