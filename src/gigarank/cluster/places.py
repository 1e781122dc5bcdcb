"""Folders, here or in a bucket of S3: what lies in them, reading it, and writing a file whole or not at all.

Knows bytes and names, no rows. Invariant: a name is there only with all of its content, whenever the writer or the machine
stops; and an error names the place.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyarrow import fs

from gigarank.errors import InvalidInput

_HALF = ".half"  # the end of a name that is being written


@dataclass(frozen=True, slots=True)
class Found:
    """A file: its name below the place, its size in bytes, and when it was written, in nanoseconds."""

    name: str
    size: int
    stamp: int


@dataclass(frozen=True)
class Place:
    """A folder or a single file. `path` is what its file system calls it, `shown` what people do."""

    filesystem: Any
    path: str
    shown: str

    @property
    def local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def under(self, name: str) -> str:
        """The path of a file; the place's own for the name of a place that is a file."""
        return f"{self.path}/{name}" if name else self.path

    def called(self, name: str) -> str:
        return f"{self.shown}/{name}" if name else self.shown

    def holds(self, other: "Place") -> bool:
        """Whether `other` is this folder or lies in it."""
        return type(self.filesystem) is type(other.filesystem) and f"{other.path}/".startswith(f"{self.path}/")

    def files(self) -> list[Found]:
        """Every file below the folder, sorted by name, or the file itself under the name ""; nothing where nothing is."""
        with self._named():
            (own,) = self.filesystem.get_file_info([self.path])
            if own.type == fs.FileType.File:
                return [Found("", own.size, own.mtime_ns)]
            selector = fs.FileSelector(self.path, recursive=True, allow_not_found=True)
            below = [one for one in self.filesystem.get_file_info(selector) if one.type == fs.FileType.File]
        return sorted(
            (Found(one.path.removeprefix(f"{self.path}/"), one.size, one.mtime_ns) for one in below), key=lambda one: one.name
        )

    def find(self, name: str) -> Found | None:
        with self._named(name):
            (own,) = self.filesystem.get_file_info([self.under(name)])
        return Found(name, own.size, own.mtime_ns) if own.type == fs.FileType.File else None

    @contextmanager
    def stream(self, name: str) -> Iterator[Any]:
        """The file's bytes, from its beginning to its end."""
        with self._named(name), self.filesystem.open_input_stream(self.under(name), compression=None) as opened:
            yield opened

    @contextmanager
    def random(self, name: str) -> Iterator[Any]:
        """The file's bytes, in any order."""
        with self._named(name), self.filesystem.open_input_file(self.under(name)) as opened:
            yield opened

    def read(self, name: str) -> bytes:
        with self.stream(name) as opened:
            content: bytes = opened.read()
        return content

    def write(self, name: str, content: bytes) -> None:
        """The file is there, whole, when this returns; until then whatever had the name before."""
        half = f".{name}.{uuid.uuid4().hex}{_HALF}"
        with self._named(name):
            if self.local:
                _write_here(Path(self.path), half, name, content)
            else:
                self._write_away(half, name, content)

    def _write_away(self, half: str, name: str, content: bytes) -> None:
        stream = self.filesystem.open_output_stream(self.under(half), compression=None)
        stream.write(content)
        stream.close()
        (written,) = self.filesystem.get_file_info([self.under(half)])
        if written.size != len(content):
            raise OSError(f"{written.size} bytes arrived of {len(content)}")
        self.filesystem.move(self.under(half), self.under(name))  # a copy within the store: whole or not at all

    def drop_halves(self) -> None:
        """Removes what writers left that were stopped."""
        for found in self.files():
            if found.name.endswith(_HALF):
                with self._named(found.name), suppress(FileNotFoundError):
                    self.filesystem.delete_file(self.under(found.name))

    def make(self) -> None:
        """The folder, with those above it."""
        if self.local:
            with self._named():
                Path(self.path).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def _named(self, name: str = "") -> Iterator[None]:
        """Whatever fails names the place; Arrow's own errors say the reason after a bracket, or in the last sentence."""
        try:
            yield
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise OSError(error.errno or 0, reason, self.called(name)) from error


def _write_here(folder: Path, half: str, name: str, content: bytes) -> None:
    try:
        with (folder / half).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        (folder / half).replace(folder / name)
    except OSError:
        with suppress(OSError):
            (folder / half).unlink()
        raise


def open_place(address: str, param: str) -> Place:
    """A path here, or s3://bucket/folder. Who may read the bucket, and where it is if not at Amazon, says the environment
    (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and their like). Raises InvalidInput."""
    if "://" not in address:
        path = str(Path(address).expanduser().resolve())
        return Place(fs.LocalFileSystem(), path, address.rstrip("/") or "/")
    parts = urlsplit(address)
    if parts.scheme != "s3" or not parts.netloc or parts.query:
        raise InvalidInput(
            f"{param}: {address} is neither a path nor s3://bucket/folder", param=param, limit="s3", received=address
        )
    path = f"{parts.netloc}{parts.path}".rstrip("/")
    return Place(_s3(parts.netloc), path, f"s3://{path}")


def _s3(bucket: str) -> Any:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if endpoint is None:
        return fs.S3FileSystem(region=region or fs.resolve_s3_region(bucket))
    parts = urlsplit(endpoint)
    return fs.S3FileSystem(region=region or "us-east-1", endpoint_override=parts.netloc, scheme=parts.scheme)
