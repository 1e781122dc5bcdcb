"""Where files' bytes are kept: a folder, or a bucket of any store that speaks S3.

Knows no database. Invariant: what stands under a name is whole, or is not there. All calls wait for a disk or a network: not
for the event loop.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Protocol

from gigarank.errors import InvalidInput, MissingFile, StorageUnavailable
from gigarank.service.settings import Settings

FOLDER, _INCOMING = "files", "incoming"
BLOCK = 1024 * 1024
_LEFT_S = 24 * 3_600  # what an ended process left of an upload


class Store(Protocol):
    """Raises StorageUnavailable."""

    def put(self, name: str, source: Path) -> None:
        """Keeps the file's bytes under a name, over what stood there; the file itself may be gone afterwards."""
        ...

    def read(self, name: str, offset: int, size: int) -> bytes:
        """As many as there are, up to `size`. Raises MissingFile."""
        ...

    def delete(self, name: str) -> None:
        """What is not there is no error."""
        ...


class FolderStore:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def put(self, name: str, source: Path) -> None:
        try:
            source.replace(self._folder / name)
        except OSError as error:
            raise unavailable(error) from error

    def read(self, name: str, offset: int, size: int) -> bytes:
        try:
            with (self._folder / name).open("rb") as stream:
                stream.seek(offset)
                return stream.read(size)
        except FileNotFoundError as error:
            raise MissingFile(unavailable(error).message, retry_after=5.0) from error
        except OSError as error:
            raise unavailable(error) from error

    def delete(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise unavailable(error) from error


class Spool:
    """Files on their way into the store, in a folder on this machine; what is left of ended processes goes after a day."""

    def __init__(self, state_dir: str) -> None:
        self._folder = Path(state_dir) / FOLDER / _INCOMING
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._folder.iterdir():
            if left.stat().st_mtime < time.time() - _LEFT_S:
                left.unlink(missing_ok=True)

    def new(self) -> IO[bytes]:
        """To be closed, and then put or removed."""
        try:
            return NamedTemporaryFile(dir=self._folder, delete=False)
        except OSError as error:
            raise unavailable(error) from error


def open_store(settings: Settings) -> Store:
    """Raises InvalidInput for a place that is none."""
    url = settings.files_url
    if not url:
        return FolderStore(Path(settings.state_dir) / FOLDER)
    if url.startswith("s3://") and len(url) > len("s3://"):
        from gigarank.service.batches.s3 import BucketStore  # noqa: PLC0415  # a package that a folder does not need

        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        return BucketStore(bucket, prefix)
    message = f"files_url: s3://BUCKET/PREFIX is expected, or nothing; received {url[:60]!r}"
    raise InvalidInput(message, param="files_url", limit="s3", received=url[:60])


def pieces(store: Store, name: str) -> Iterator[bytes]:
    offset = 0
    while block := store.read(name, offset, BLOCK):
        offset += len(block)
        yield block


def reader(store: Store, name: str) -> Callable[[int, int], bytes]:
    return lambda offset, size: store.read(name, offset, size)


def finish(stream: IO[bytes]) -> Path:
    """The spooled file, safe on disk and closed."""
    try:
        with stream:
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise unavailable(error) from error
    return Path(stream.name)


def drop(stream: IO[bytes]) -> None:
    """A spooled file that is not put anywhere, or no longer."""
    stream.close()
    Path(stream.name).unlink(missing_ok=True)


def unavailable(error: OSError) -> StorageUnavailable:
    return StorageUnavailable(f"files cannot be kept or read: {error.strerror}", retry_after=5.0)


@dataclass(frozen=True, slots=True)
class Depot:
    """`work`: set when there is something to do for whoever works on batches."""

    store: Store
    spool: Spool
    work: asyncio.Event
