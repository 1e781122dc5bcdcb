"""The input in blocks: where each begins and ends in its file, and its rows.

Knows JSONL and Parquet; no model, no Ray. Invariant: the blocks of a file, one after the other, are its rows, each once; a
block is read from its own part of the file, and no more of it is in memory than one block.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from gigarank.cluster.places import Found, Place
from gigarank.cluster.rows import Fields, Row, listed, parse_line, read_row
from gigarank.errors import BadFile

SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
LONGEST_LINE = 2**28  # bytes
BYTES_PER_TOKEN = 4  # as the server counts texts that it has no tokenizer for
_MARK = b"\xef\xbb\xbf"
_CHUNK = 2**23  # bytes read at once
_BATCH = 1_024  # rows of Parquet decoded at once


@dataclass(frozen=True, slots=True)
class Limits:
    """A block ends with so many rows, or before it has more tokens than that; a longer row is a block of its own."""

    rows: int = 1_000
    tokens: int = 100_000

    @property
    def bytes(self) -> int:
        return self.tokens * BYTES_PER_TOKEN


@dataclass(frozen=True, slots=True)
class Block:
    """`rows` rows of `file`, the first of which has the number `first`. [start, stop) are bytes of JSONL, rows of Parquet."""

    number: int
    file: str
    start: int
    stop: int
    first: int
    rows: int


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of the input as it was when the blocks were cut; the hash is of its whole content."""

    name: str
    size: int
    stamp: int
    sha256: str

    def is_still(self, found: Found | None) -> bool:
        return found is not None and (found.size, found.stamp) == (self.size, self.stamp)


def format_of(name: str) -> str | None:
    return next((form for suffix, form in SUFFIXES.items() if name.lower().endswith(suffix)), None)


def sha256_of(place: Place, name: str) -> str:
    digest = hashlib.sha256()
    with place.stream(name) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def lines_of(stream: Any, digest: Any = None) -> Iterator[bytes]:
    """Every line with its end, of a stream of any length; one that is longer than LONGEST_LINE raises ValueError."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        if digest is not None:
            digest.update(chunk)
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
        if len(rest) > LONGEST_LINE:
            raise ValueError(f"longer than {LONGEST_LINE:,} bytes")
    if rest:
        yield rest


def cut_lines(lines: Iterable[bytes], limits: Limits, file: str, first_block: int) -> Iterator[Block]:
    """The blocks of a file of JSONL. Lines without any text are no rows; they count as lines."""
    number, start, first, rows, place = first_block, 0, 1, 0, 0
    for line_number, line in enumerate(lines, start=1):
        is_row = bool((line.removeprefix(_MARK) if line_number == 1 else line).strip())
        if rows and (rows == limits.rows or place + len(line) - start > limits.bytes):
            yield Block(number, file, start, place, first, rows)
            number, start, first, rows = number + 1, place, line_number, 0
        place += len(line)
        rows += is_row
    if rows:
        yield Block(number, file, start, place, first, rows)


def survey_lines(place: Place, found: Found, limits: Limits, first_block: int) -> tuple[InputFile, list[Block]]:
    """One reading: the file's hash and its blocks. Raises BadFile for a line that no memory has to hold."""
    digest = hashlib.sha256()
    try:
        with place.stream(found.name) as stream:
            blocks = list(cut_lines(lines_of(stream, digest), limits, found.name, first_block))
    except ValueError as error:
        raise bad(place.called(found.name), f"a line is {error}") from None
    return InputFile(found.name, found.size, found.stamp, digest.hexdigest()), blocks


def survey_parquet(
    place: Place, found: Found, fields: Fields, limits: Limits, first_block: int
) -> tuple[InputFile, list[Block]]:
    """The blocks of each row group, by its mean row: of a Parquet file only the footer is decoded."""
    blocks: list[Block] = []
    start = 0
    with place.random(found.name) as opened:
        about = parquet_file(opened, place.called(found.name)).metadata
        for index in range(about.num_row_groups):
            group = about.row_group(index)
            step = _rows_a_block(group, fields, limits)
            for offset in range(0, group.num_rows, step):
                begin, end = start + offset, start + min(offset + step, group.num_rows)
                blocks.append(Block(first_block + len(blocks), found.name, begin, end, begin + 1, end - begin))
            start += group.num_rows
    return InputFile(found.name, found.size, found.stamp, sha256_of(place, found.name)), blocks


def _rows_a_block(group: Any, fields: Fields, limits: Limits) -> int:
    wanted = {fields.query, fields.documents, fields.instruction, fields.id}
    columns = [group.column(index) for index in range(group.num_columns)]
    size = sum(one.total_uncompressed_size for one in columns if one.path_in_schema.split(".")[0] in wanted)
    mean: int = max(1, size // max(1, group.num_rows))
    return max(1, min(limits.rows, limits.bytes // mean))


def parquet_file(opened: Any, shown: str) -> Any:
    """Raises BadFile for what is no Parquet."""
    try:
        return parquet.ParquetFile(opened, pre_buffer=False)
    except pa.ArrowInvalid as error:
        raise bad(shown, f"not Parquet: {error}") from None


@dataclass(frozen=True)
class Content:
    """A block's rows; `ids` are its ids as Parquet types them, None in JSONL and where there is no such column."""

    rows: Sequence[Row]
    ids: Any = None


def read_block(place: Place, block: Block, known: InputFile, fields: Fields) -> Content:
    """Raises BadFile where the file is not any more what was cut into blocks."""
    if not known.is_still(place.find(block.file)):
        raise bad(place.called(block.file), "has changed since the ranking began")
    content = (
        _read_lines(place, block, fields)
        if format_of(place.called(block.file)) == "jsonl"
        else _read_parquet(place, block, fields)
    )
    if len(content.rows) != block.rows:
        raise bad(place.called(block.file), f"{len(content.rows)} rows where {block.rows} were, from row {block.first}")
    return content


def _read_lines(place: Place, block: Block, fields: Fields) -> Content:
    with place.random(block.file) as opened:
        opened.seek(block.start)
        raw: bytes = opened.read(block.stop - block.start)
    if block.start == 0:
        raw = raw.removeprefix(_MARK)
    lines = enumerate(raw.split(b"\n"), start=block.first)
    return Content([parse_line(number, line, fields) for number, line in lines if line.strip()])


def _read_parquet(place: Place, block: Block, fields: Fields) -> Content:
    with place.random(block.file) as opened:
        file = parquet_file(opened, place.called(block.file))
        asked = (fields.query, fields.documents, fields.instruction, fields.id)
        columns = [name for name in dict.fromkeys(asked) if name in file.schema_arrow.names]
        table = pa.Table.from_batches(_slices(file, block, columns))
    ids = table.column(fields.id) if fields.id in columns else None
    texts = table.select([name for name in columns if name != fields.id or name in asked[:3]])
    rows = [read_row(number, row, fields) for number, row in enumerate(texts.to_pylist(), start=block.first)]
    return Content(rows, ids)


def _slices(file: Any, block: Block, columns: Sequence[str]) -> Iterator[Any]:
    """The batches that hold the block, cut to it."""
    group, begin = 0, 0
    while begin + file.metadata.row_group(group).num_rows <= block.start:
        begin += file.metadata.row_group(group).num_rows
        group += 1
    for batch in file.iter_batches(_BATCH, row_groups=[group], columns=list(columns), use_threads=False):
        end = begin + batch.num_rows
        if end > block.start:
            low = max(block.start - begin, 0)
            yield batch.slice(low, min(block.stop, end) - begin - low)
        if end >= block.stop:
            return
        begin = end


def bad(place: str, reason: str) -> BadFile:
    return BadFile(f"input: {place}: {reason}", param="input", received=place)


def fields_of_schema(schema: Any, asked: Fields, documents: str | None, shown: str) -> Fields:
    """The columns of a Parquet file, or BadFile: which is missing or of another type, and what there is."""
    names = schema.names
    chosen = documents or next((name for name in ("documents", "document") if name in names), "document")
    for name in (asked.query, chosen):
        if name not in names:
            raise bad(shown, f"no column {name!r}; it has {listed(names)}")
    kinds = {name: schema.field(name).type for name in (asked.query, chosen, asked.instruction) if name in names}
    many = _is_list(kinds[chosen])
    for name, kind in kinds.items():
        inner = kind.value_type if name == chosen and many else kind
        if not _is_text(inner):
            raise bad(shown, f"the column {name!r} holds {kind}; texts are needed")
    return Fields(asked.query, chosen, asked.instruction, asked.id, many)


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
