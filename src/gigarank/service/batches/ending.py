"""The end of a batch: its segments become its output and error files.

Blocks: not for the event loop. Invariant: the files are in the store before the batch says that it has ended; ended again after
a crash, the batch has the files of the last time alone.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

import orjson
from sqlalchemy import Connection, RowMapping

from gigarank.errors import InvalidInput, MissingFile
from gigarank.service.batches import files, repository
from gigarank.service.batches.lines import Line, lines, read_request
from gigarank.service.batches.schemas import OPEN, Ending, Purpose
from gigarank.service.batches.segment import unasked_row
from gigarank.service.batches.storage import Depot, Store, drop, finish, pieces, reader
from gigarank.service.metering.meter import House
from gigarank.service.settings import Settings

_UNASKED: Mapping[Ending, tuple[str, str]] = {
    "expired": ("batch_expired", "the batch expired before this request was asked"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before this request was asked"),
}

_LOST = {"code": "file_lost", "line": None, "message": "a file that the batch reads is gone", "param": "input_file_id"}


@dataclass(frozen=True, slots=True)
class End:
    """Which batch ends, how, and when: Unix seconds."""

    batch: RowMapping
    ending: Ending
    now: int


def end(house: House, depot: Depot, what: End, settings: Settings) -> bool:
    """False where another process has gone on with the batch. Raises StorageUnavailable, DatabaseUnavailable."""
    batch, ending = what.batch, what.ending
    streams = {"output": depot.spool.new(), "errors": depot.spool.new()}
    try:
        for segment in house.database.call(lambda one: repository.segments_of(one, batch["id"])):
            for kind, stream in streams.items():
                if segment[kind] is not None:
                    stream.writelines(_answers(depot.store, segment[kind], ending))
        if ending in _UNASKED:
            _write_unasked(streams["errors"], depot, batch, ending, settings)
        kept = {kind: _kept(house, depot, what, (kind, stream)) for kind, stream in streams.items()}
        return house.database.call(lambda one: _ended(one, house.owner, what, kept))
    finally:
        for stream in streams.values():
            drop(stream)


def _answers(store: Store, name: str, ending: Ending) -> Iterator[bytes]:
    """A segment's; a batch that has failed ends without what is gone."""
    try:
        yield from pieces(store, name)
    except MissingFile:
        if ending != "failed":
            raise


def _write_unasked(stream: IO[bytes], depot: Depot, batch: RowMapping, ending: Ending, settings: Settings) -> None:
    """Whatever the lines hold: a batch can be cancelled before they were checked."""
    read = reader(depot.store, batch["input_file_id"])
    try:
        for line in lines(read, batch["bytes_done"], batch["lines_done"], settings.max_body_bytes):
            row = unasked_row(_custom_id(line, batch["endpoint"], settings.max_json_depth), *_UNASKED[ending])
            stream.write(orjson.dumps(row) + b"\n")
    except (InvalidInput, MissingFile):  # a line that is too long, and was never checked, has no name to be called by
        return


def _custom_id(line: Line, endpoint: str, max_depth: int) -> str | None:
    try:
        return read_request(line, endpoint, max_depth).custom_id
    except InvalidInput:
        return None


def _kept(house: House, depot: Depot, ending: End, spooled: tuple[str, IO[bytes]]) -> str | None:
    """The file's id; None for an empty one, which is none, and for an account that was deleted."""
    kind, stream = spooled
    batch, now = ending.batch, ending.now
    size = stream.tell()
    if not size:
        return None
    file_id = files.new_file_id()
    expires = now + (batch["output_seconds"] or files.LIFE_S)
    what: tuple[Purpose, str, int] = ("batch_output", f"{batch['id']}_{kind}.jsonl", size)
    if not house.database.call(lambda one: files.announce_output(one, batch["account_id"], file_id, what, (now, expires))):
        return None
    files.store_announced(house.database, depot.store, file_id, finish(stream))
    return file_id


def _ended(one: Connection, owner: str, what: End, kept: Mapping[str, str | None]) -> bool:
    values = {"state": what.ending, "output_file_id": kept["output"], "error_file_id": kept["errors"], "owner": None}
    if what.ending == "failed":
        values["errors"] = json.dumps([_LOST])
    if not repository.advance(one, what.batch, owner, OPEN, **values, **{f"{what.ending}_at": what.now}):
        return False
    for file_id in kept.values():
        if file_id is not None:
            repository.set_file(one, file_id, state="ready")
    return True
