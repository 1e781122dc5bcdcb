"""The secrets under which keys are kept, and addresses that had free credit: a file beside the database, never in it.

A database that is stolen without this file tells no key, and lets nobody make one. Invariants: the first secret makes the
digests of new keys and signs tokens; the others are known until no key needs them. A secret of addresses signs nothing: it can
never be replaced, for the addresses of accounts that are gone are kept nowhere. The file is read again when it has changed.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from filelock import FileLock

from gigarank.errors import BadFile

FILE = "key-secrets"
"""In the state directory. One line a secret: its id, 64 hexadecimal digits, and what it is for, with blanks between them:
nothing for the one of keys that is current, the Unix second in which it was replaced for an older one, `address` for one of
addresses."""
_ADDRESS = "address"
_OVERLAP_S = 24 * 3_600  # a secret that was replaced is kept so long, for the tokens that it signed


@dataclass(frozen=True, slots=True)
class _Secret:
    """`replaced` None: it is current, or was replaced when nobody wrote down when."""

    id: str
    bytes: bytes
    kind: Literal["key", "address"]
    replaced: int | None = None

    def digest(self, text: str) -> str:
        return hmac.digest(self.bytes, text.encode(), hashlib.sha256).hex()

    @property
    def line(self) -> str:
        use = _ADDRESS if self.kind == _ADDRESS else "" if self.replaced is None else str(self.replaced)
        return f"{self.id} {self.bytes.hex()} {use}".rstrip() + "\n"


class Secrets:
    """`file` is made, with one secret of each kind, where it is missing."""

    def __init__(self, file: Path) -> None:
        self._file = file
        if not file.exists():
            with _alone(file):
                if not file.exists():
                    _write(file, [_new(), _new("address")])
        self._version = self._stat()
        self._known = _read(file)

    def digests(self, key: str) -> Mapping[str, str]:
        """The key's HMAC under every secret of keys, by the secret's id; the current one first."""
        self._look()
        return {one.id: one.digest(key) for one in self._known if one.kind == "key"}

    def current(self, key: str) -> tuple[str, str]:
        """(secret's id, digest)"""
        return next(iter(self.digests(key).items()))

    def fresh(self, text: str, since: int) -> Iterable[str]:
        """What is signed so by the current secret, or by one that was replaced after that moment."""
        self._look()
        current, *others = [one for one in self._known if one.kind == "key"]
        return [one.digest(text) for one in (current, *others) if one is current or (one.replaced or 0) > since]

    def of_address(self, address: str) -> Mapping[str, str]:
        """As `digests`, by the secrets of addresses; by those of keys too, which kept addresses before there were others."""
        self._look()
        return {one.id: one.digest(address) for one in sorted(self._known, key=lambda one: one.kind)}

    def rotate(self, by_keys: set[str], by_addresses: set[str], now: int) -> str:
        """Puts a new secret of keys first, and gives its id. Those that neither keys nor fresh tokens need are forgotten; those
        that addresses need are from now on theirs alone."""
        with _alone(self._file):
            known = _read(self._file)
            current, *older = [one for one in known if one.kind == "key"]
            made, keys = _new(), [replace(current, replaced=now), *older]
            kept = [one for one in keys if one.id in by_keys or (one.replaced or 0) > now - _OVERLAP_S]
            ours = [one for one in known if one.kind == "address"]
            had = {one.id for one in ours}
            left = [_Secret(one.id, one.bytes, "address") for one in keys if one.id in by_addresses - had]
            _write(self._file, [made, *kept, *(ours or [_new("address")]), *left])
        self._look()
        return made.id

    def _look(self) -> None:
        version = self._stat()
        if version != self._version:
            self._known, self._version = _read(self._file), version

    def _stat(self) -> tuple[int, ...]:
        with contextlib.suppress(OSError):
            found = self._file.stat()
            return found.st_mtime_ns, found.st_size, found.st_ino
        return ()


def _new(kind: Literal["key", "address"] = "key") -> _Secret:
    return _Secret(secrets.token_hex(4), secrets.token_bytes(32), kind)


def _read(file: Path) -> list[_Secret]:
    try:
        known = [_secret(line) for line in file.read_text(encoding="ascii").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not as gigarank writes it"
        raise BadFile(f"{FILE}: {file}: {reason}", param=FILE, received=str(file)) from error
    if not any(one.kind == "key" for one in known) or any(len(one.bytes) != 32 for one in known):
        raise BadFile(f"{FILE}: {file}: no secret of 32 bytes", param=FILE, received=str(file))
    return known


def _secret(line: str) -> _Secret:
    """Raises ValueError."""
    name, digits, *use = line.split()
    if use == [_ADDRESS]:
        return _Secret(name, bytes.fromhex(digits), "address")
    (replaced,) = map(int, use) if use else (None,)
    return _Secret(name, bytes.fromhex(digits), "key", replaced)


def _write(file: Path, known: Iterable[_Secret]) -> None:
    """Whole or not at all, and for nobody else to read."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as stream:
        stream.writelines(one.line for one in known)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(file)


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        yield
