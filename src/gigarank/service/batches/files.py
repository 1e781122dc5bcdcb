"""Files of accounts: kept, found, deleted, and forgotten when their time is over. Knows no HTTP.

Invariant: a row that is `ready` has its bytes in the store, whenever a process ends; bytes without such a row are deleted by
`tidy`.
"""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, RowMapping

from gigarank.errors import InvalidInput, RequestTooLarge, StorageUnavailable
from gigarank.service.accounts.service import hold, hold_open
from gigarank.service.batches import repository
from gigarank.service.batches.schemas import MOST_LIFE_S, Purpose, not_found
from gigarank.service.batches.storage import Store
from gigarank.service.db import Database
from gigarank.service.ids import new_id

LIFE_S = MOST_LIFE_S
_PENDING_S = 6 * 3_600  # what is not in the store after so long will not come


def new_file_id() -> str:
    return new_id("file").replace("_", "-")


def announce(
    connection: Connection, account_id: str, file_id: str, what: tuple[Purpose, str, int], times: tuple[int, int]
) -> None:
    """A file whose bytes are about to be kept. `what`: purpose, name, bytes; `times`: now, and when it expires. Raises
    AccessDenied where the account has ended."""
    hold_open(connection, account_id)
    _announce(connection, account_id, file_id, what, times)


def announce_output(
    connection: Connection, account_id: str, file_id: str, what: tuple[Purpose, str, int], times: tuple[int, int]
) -> bool:
    """As `announce`, whatever an earlier try left of it. False: the account was deleted, and nothing is kept for it."""
    if hold(connection, account_id) == "deleted":
        return False
    repository.give_up_pending(connection, account_id, what[1])
    _announce(connection, account_id, file_id, what, times)
    return True


def _announce(
    connection: Connection, account_id: str, file_id: str, what: tuple[Purpose, str, int], times: tuple[int, int]
) -> None:
    purpose, filename, size = what
    now, expires = times
    values = {"id": file_id, "account_id": account_id, "purpose": purpose, "filename": filename, "bytes": size}
    repository.add_file(connection, **values, state="pending", created=now, expires=expires)


def check_room(connection: Connection, account_id: str, size: int, most: int) -> None:
    """Raises RequestTooLarge where all files of the account would have more than `most` bytes."""
    stored = repository.stored_bytes(connection, account_id)
    if stored + size > most:
        message = f"file: {size} bytes beside {stored} of other files; at most {most} in all (max_stored_bytes): delete some"
        raise RequestTooLarge(message, param="file", limit=most, received=stored + size)


def store_announced(database: Database, store: Store, file_id: str, source: Path) -> None:
    """Blocks. What cannot be kept counts in nobody's room. Raises StorageUnavailable."""
    try:
        store.put(file_id, source)
    except StorageUnavailable:
        database.call(lambda one: repository.set_file(one, file_id, state="gone"))  # `tidy` deletes what is there of it
        raise


def find(connection: Connection, account_id: str, file_id: str, now: int) -> RowMapping:
    """Raises ObjectNotFound."""
    row = repository.file_of(connection, account_id, file_id, now)
    if row is None:
        raise not_found("file", file_id)
    return row


def give_up(connection: Connection, account_id: str, file_id: str, now: int) -> None:
    """From now on nobody finds it. Raises ObjectNotFound, and InvalidInput while a batch reads it."""
    repository.lock_file(connection, file_id)
    find(connection, account_id, file_id, now)
    batch_id = repository.is_read(connection, file_id)
    if batch_id is not None:
        message = f"file_id: {file_id} is the input of {batch_id}, which is not done: cancel that first"
        raise InvalidInput(message, param="file_id", limit=batch_id, received=file_id)
    repository.set_file(connection, file_id, state="gone")


def tidy(database: Database, store: Store, now: int) -> None:
    """Blocks. Deletes what nobody can ask for any more: files that were given up or are over, segments of batches that have
    ended."""
    gone: Sequence[str] = database.call(lambda one: repository.files_to_go(one, now, now - _PENDING_S))
    for file_id in gone:
        if database.call(lambda one, file_id=file_id: _ended(one, file_id)):  # type: ignore[misc]
            store.delete(file_id)
            database.call(lambda one, file_id=file_id: repository.remove_file(one, file_id))  # type: ignore[misc]
    segments = database.call(repository.segments_to_go)
    for segment in segments:
        for name in (segment["output"], segment["errors"]):
            if name is not None:
                store.delete(name)
    for batch_id in {segment["batch_id"] for segment in segments}:
        database.call(lambda one, batch_id=batch_id: repository.remove_segments(one, batch_id))  # type: ignore[misc]


def _ended(connection: Connection, file_id: str) -> bool:
    """False where a batch has begun to read it meanwhile; else nobody finds it any more."""
    repository.lock_file(connection, file_id)
    if repository.is_read(connection, file_id) is not None:
        return False
    repository.set_file(connection, file_id, state="gone")
    return True
