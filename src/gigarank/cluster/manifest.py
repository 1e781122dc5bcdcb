"""What an output is of: the settings, the input's files and the blocks, in one file beside the results.

Knows no model and no Ray. Invariant: an output holds the rows of one input under one set of settings; what would mix two is
refused with what differs, before anything is computed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from gigarank.cluster.blocks import (
    Block,
    InputFile,
    Limits,
    bad,
    fields_of_schema,
    format_of,
    lines_of,
    parquet_file,
    sha256_of,
    survey_lines,
    survey_parquet,
)
from gigarank.cluster.places import Found, Place
from gigarank.cluster.rows import Fields, parse_line
from gigarank.errors import InvalidInput
from gigarank.types import JsonObject

NAME = "_manifest.json"  # readers of folders leave out what begins with _ or a point
LOCK = ".lock"
DONE = "_SUCCESS"
_PART = "part-{number:06d}.{form}"
_FORMAT = 1
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an input. `documents` None: the field documents where there is one, else document. `settings`: what
    else the output depends on, by names that people know."""

    fields: Fields
    documents: str | None
    limits: Limits
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Manifest:
    form: str
    fields: Fields
    settings: JsonObject
    files: tuple[InputFile, ...]
    blocks: tuple[Block, ...]

    @property
    def rows(self) -> int:
        return sum(block.rows for block in self.blocks)

    def part(self, block: Block) -> str:
        """The name of a block's file in the output; in the order of names they are in the input's."""
        return _PART.format(number=block.number, form=self.form)

    def file(self, name: str) -> InputFile:
        return next(file for file in self.files if file.name == name)

    def to_json(self) -> bytes:
        files = [asdict(file) for file in self.files]
        places = {file.name: place for place, file in enumerate(self.files)}
        blocks = [[one.number, places[one.file], one.start, one.stop, one.first, one.rows] for one in self.blocks]
        about = {"format": _FORMAT, "form": self.form, "fields": asdict(self.fields), "settings": self.settings}
        return json.dumps({**about, "files": files, "blocks": blocks}, indent=None, ensure_ascii=True).encode()


def from_json(content: bytes, shown: str) -> Manifest:
    """Raises InvalidInput for what no version of this wrote."""
    try:
        raw = json.loads(content)
        if raw["format"] != _FORMAT:
            raise ValueError(f"format {raw['format']}")
        files = tuple(InputFile(**file) for file in raw["files"])
        blocks = tuple(Block(number, files[file].name, *rest) for number, file, *rest in raw["blocks"])
        return Manifest(raw["form"], Fields(**raw["fields"]), raw["settings"], files, blocks)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise InvalidInput(f"output: {shown}/{NAME}: no manifest of this version ({error})", param="output") from None


def prepare(source: Place, output: Place, asked: Asked) -> Manifest:
    """The manifest of the output: the one that it has, if it is of this input and these settings, else a new one, written.

    Raises InvalidInput or BadFile, and OSError.
    """
    found = input_files(source)
    if source.holds(output):
        message = f"output: {output.shown} lies in the input {source.shown}; its files would become input"
        raise InvalidInput(message, param="output", received=output.shown)
    own = [file.name for file in output.files() if file.name != LOCK]
    if NAME in own:
        return _continued(from_json(output.read(NAME), output.shown), source, output, found, asked)
    if own:
        message = f"output: {output.shown} holds other files ({own[0]}); name a new or an empty folder"
        raise InvalidInput(message, param="output", received=output.shown)
    made = survey(source, found, asked)
    output.write(NAME, made.to_json())
    return made


def input_files(source: Place) -> list[Found]:
    """The file, or those of the folder that are JSONL or Parquet; raises BadFile for none, and for both kinds."""
    below = [file for file in source.files() if not any(part.startswith((".", "_")) for part in file.name.split("/"))]
    forms = {file.name: format_of(source.called(file.name)) for file in below}
    known = [file for file in below if forms[file.name] is not None]
    if not known:
        raise bad(source.shown, "no .jsonl, .ndjson or .parquet file there")
    if len({forms[file.name] for file in known}) > 1:
        raise bad(source.shown, "both JSONL and Parquet lie there; rank them one after the other")
    return known


def survey(source: Place, found: Sequence[Found], asked: Asked) -> Manifest:
    """Reads the input once: the columns, the hashes, the blocks."""
    form = cast(str, format_of(source.called(found[0].name)))
    fields = _fields_of_lines(source, found, asked) if form == "jsonl" else _fields_of_tables(source, found, asked)
    files: list[InputFile] = []
    blocks: list[Block] = []
    for one in found:
        if form == "jsonl":
            file, cut = survey_lines(source, one, asked.limits, len(blocks))
        else:
            file, cut = survey_parquet(source, one, fields, asked.limits, len(blocks))
        files.append(file)
        blocks += cut
    return Manifest(form, fields, _settings(asked, fields), tuple(files), tuple(blocks))


def _settings(asked: Asked, fields: Fields) -> JsonObject:
    columns = {f"{name} field": getattr(fields, name) for name in ("query", "documents", "instruction", "id")}
    limits = {"rows a block": asked.limits.rows, "tokens a block": asked.limits.tokens}
    settings: JsonObject = json.loads(json.dumps({**asked.settings, **columns, **limits}))
    return settings


def _fields_of_tables(source: Place, found: Sequence[Found], asked: Asked) -> Fields:
    """The columns, which every file must have in the same types."""
    first, known = None, None
    for file in found:
        with source.random(file.name) as opened:
            schema = parquet_file(opened, source.called(file.name)).schema_arrow
        fields = fields_of_schema(schema, asked.fields, asked.documents, source.called(file.name))
        kind = schema.field(fields.id).type if fields.id in schema.names else None
        if first is not None and (fields, kind) != (first, known):
            reason = f"its column {fields.documents!r} or {fields.id!r} is not of the type it has in {found[0].name}"
            raise bad(source.called(file.name), reason)
        first, known = fields, kind
    assert first is not None
    return first


def _fields_of_lines(source: Place, found: Sequence[Found], asked: Asked) -> Fields:
    """By the input's first row. If that cannot be read the fields are named wrongly, or the file is something else."""
    for file in found:
        try:
            with source.stream(file.name) as stream:
                lines = ((number, line) for number, line in enumerate(lines_of(stream), start=1) if line.strip())
                number, line = next(lines, (0, b""))
        except ValueError as error:
            raise bad(source.called(file.name), f"a line is {error}") from None
        if number:
            return _fields_of_line(f"{source.called(file.name)}:{number}", line.removeprefix(b"\xef\xbb\xbf"), asked)
    return _with_documents(asked, {})


def _fields_of_line(place: str, line: bytes, asked: Asked) -> Fields:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = {}
    fields = _with_documents(asked, row if isinstance(row, dict) else {})
    first = parse_line(1, line, fields)
    if first.error is not None:
        raise bad(place, f"{first.error}; the first row must be sound")
    return fields


def _with_documents(asked: Asked, row: Mapping[str, Any]) -> Fields:
    name = asked.documents or ("documents" if "documents" in row else "document")
    return replace(asked.fields, documents=name, many=isinstance(row.get(name), list))


def _continued(kept: Manifest, source: Place, output: Place, found: Sequence[Found], asked: Asked) -> Manifest:
    differing = differences(kept.settings, _settings(replace(asked, documents=None), _asked_fields(kept, asked)))
    changed, files = _changes(kept, source, found)
    if differing or changed:
        shown = "; ".join([*differing, *changed][:_SHOWN])
        message = f"output: {output.shown} was begun with something else: {shown}. Name another folder, or remove this one"
        raise InvalidInput(message, param="output", received=output.shown)
    renewed = replace(kept, files=files)
    if renewed != kept:
        output.write(NAME, renewed.to_json())
    return renewed


def _asked_fields(kept: Manifest, asked: Asked) -> Fields:
    """Which field holds the documents is decided by the input, if nobody says it: then as it was."""
    return replace(asked.fields, documents=asked.documents or kept.fields.documents)


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One phrase a setting."""
    return [
        f"{name} was {json.dumps(was.get(name))}, now {json.dumps(now.get(name))}"
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]


def _changes(kept: Manifest, source: Place, found: Sequence[Found]) -> tuple[list[str], tuple[InputFile, ...]]:
    """What differs in the input, and its files as they are now. A file that was only touched, or copied, is the same."""
    now = {file.name: file for file in found}
    was = {file.name: file for file in kept.files}
    changed = [f"{source.called(name)} is new" for name in now if name not in was]
    files = []
    for name, known in was.items():
        one = now.get(name)
        if one is None:
            changed.append(f"{source.called(name)} is gone")
        elif known.is_still(one):
            files.append(known)
        elif one.size != known.size or sha256_of(source, name) != known.sha256:
            changed.append(f"{source.called(name)} has other content")
        else:
            files.append(replace(known, stamp=one.stamp))
    return changed, tuple(files)
