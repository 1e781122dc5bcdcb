"""Brings one file of known content: by HTTP or from a folder, resumed where it was cut, checked before it counts.

Knows nothing of what is in the file. Invariant: under the target's name there is the whole, checked file or nothing; what
is half there lies beside it as `.part`, and a later call goes on from it.
"""

import hashlib
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from gigarank.engine.registry import local_path, reason, shown
from gigarank.errors import CheckpointError, ModelUnavailable

DownloadProgress = Callable[[str, int, int], None]
"""Called as `progress(what, bytes done, bytes total)`."""

_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416
_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a transfer may fail in a row without a new byte, and the wait before each next try, doubled each time."""

    limit: int = 3
    wait_seconds: float = 0.5


_RETRIES = Retries()


def open_client(cert: str | None = None) -> httpx2.Client:
    """A client with bounded waits; `cert` is a file of authorities, None takes the machine's own."""
    try:
        verify = ssl.create_default_context(cafile=cert) if cert else True
    except OSError as error:
        raise ModelUnavailable(f"cert: {cert} cannot be read: {error.strerror}", param="cert", received=cert) from error
    return httpx2.Client(follow_redirects=True, timeout=_TIMEOUT, verify=verify)


def download(
    url: str,
    target: Path,
    sha256: str,
    client: httpx2.Client,
    progress: DownloadProgress | None = None,
    retries: Retries = _RETRIES,
) -> None:
    """Leaves the file at `target`. Raises ModelUnavailable (not to be had, no room) or CheckpointError (other content).

    A `.part` that turns out to hold something else is thrown away, and the file fetched once more from its start.
    """
    part = target.with_name(target.name + ".part")
    with writing_to(part):
        target.parent.mkdir(parents=True, exist_ok=True)
        resumed = part.is_file() and part.stat().st_size > 0
        _bring(url, part, client, progress, retries)
        if (found := file_sha256(part)) != sha256 and resumed:
            part.unlink()
            _bring(url, part, client, progress, retries)
            found = file_sha256(part)
        if found != sha256:
            part.unlink()
            raise CheckpointError(
                f"{shown(url)}: the file's sha256 is {found}, expected {sha256}; it was thrown away",
                param="sha256",
                limit=sha256,
                received=found,
            )
        part.replace(target)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turns the disk's errors (no room, no permission) into ModelUnavailable that names the path."""
    try:
        yield
    except OSError as error:
        raise ModelUnavailable(
            f"{path}: cannot be written: {error.strerror or error}; free some room or set GIGARANK_CACHE to another folder",
            param="GIGARANK_CACHE",
            received=str(path),
        ) from error


def _bring(url: str, part: Path, client: httpx2.Client, progress: DownloadProgress | None, retries: Retries) -> None:
    source = local_path(url)
    if source is not None:
        shutil.copyfile(source, part)
        return
    failures = 0
    while True:
        before = _size(part)
        try:
            _transfer(url, part, client, progress)
            return
        except httpx2.HTTPError as error:
            failures = 1 if _size(part) > before else failures + 1
            if failures >= retries.limit or _is_final(error):
                raise ModelUnavailable(
                    f"{shown(url)}: the download failed after {_size(part)} bytes: {reason(error)}",
                    received=_size(part),
                ) from error
        time.sleep(retries.wait_seconds * 2 ** (failures - 1))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _is_final(error: httpx2.HTTPError) -> bool:
    """A refusal that asking again will not change."""
    return isinstance(error, httpx2.HTTPStatusError) and error.response.status_code in range(400, 408)


def _transfer(url: str, part: Path, client: httpx2.Client, progress: DownloadProgress | None) -> None:
    """One request for what is missing; a server that ignores ranges, or knows no such range, is asked from the start."""
    start = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == _RANGE_NOT_SATISFIABLE:
            return  # nothing is missing, or the part is of another file: its hash will say
        answer.raise_for_status()
        if answer.status_code != _PARTIAL_CONTENT:
            start = 0
        total = start + int(answer.headers.get("content-length", 0))
        name = part.name.removesuffix(".part")
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            for chunk in answer.iter_raw():
                file.write(chunk)
                if progress is not None:
                    progress(name, file.tell(), max(total, file.tell()))
