"""Who may ask: static keys, compared in constant time.

Knows no accounts, and tells those who do what was presented. Invariant: a key is kept as its digest only; a keys file that
cannot be read, or that holds no key, opens nothing.
"""

import hashlib
import hmac
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from gigarank.errors import BadFile, InvalidInput, Unauthorized

_LOG = logging.getLogger(__name__)
_LOOK_AGAIN_S = 1.0


class KeyRing:
    """`fixed` keys hold as long as the process; those of `file`, one a line, are read again when the file has changed."""

    def __init__(self, fixed: tuple[str, ...], file: Path | None = None) -> None:
        self._fixed = tuple(_digest(_plain(key)) for key in fixed)
        self._file = file
        self._looked = 0.0
        self._version = _version(file)
        self._digests = self._fixed + _read(file)

    @property
    def open(self) -> bool:
        """Whether nobody needs a key."""
        return not self._fixed and self._file is None

    def __len__(self) -> int:
        return len(self._digests)

    def check(self, headers: Mapping[str, str]) -> None:
        """Raises Unauthorized, unless nobody needs a key."""
        if self.open or self.knows(headers):
            return
        if not list(_presented(headers)):
            raise Unauthorized("no API key: send it as `Authorization: Bearer KEY`, or in x-api-key", param="authorization")
        raise Unauthorized("the API key is not known here", param="authorization")

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether one of these keys was presented."""
        self._look()
        return self._known([_digest(key, "latin-1") for key in _presented(headers)])  # as headers are read: a character a byte

    def _known(self, given: list[bytes]) -> bool:
        """Whether one is among ours. Every one is compared with every other, so that the time tells nothing."""
        found = False
        for digest in self._digests:
            for one in given:
                found |= hmac.compare_digest(digest, one)
        return found

    def _look(self) -> None:
        now = time.monotonic()
        if self._file is not None and now - self._looked > _LOOK_AGAIN_S:
            self._looked = now
            if _version(self._file) != self._version:
                self.reload()

    def reload(self) -> None:
        """Read the file again. One that cannot be read changes nothing: those who had a key keep it."""
        self._version = _version(self._file)
        try:
            self._digests = self._fixed + _read(self._file)
        except BadFile as error:
            _LOG.warning("keys kept as they were: %s", error.message)
            return
        _LOG.info("keys read again: %d", len(self._digests))


def _plain(key: str) -> str:
    if not key.strip():
        raise InvalidInput("api_keys: a key is empty", param="api_keys", limit="at least one character", received=key)
    return key.strip()


def _digest(key: str, encoding: str = "utf-8") -> bytes:
    return hashlib.sha256(key.encode(encoding)).digest()


def presented(headers: Mapping[str, str]) -> list[str]:
    """Every key that the client sent, each once."""
    return list(dict.fromkeys(_presented(headers)))


def _presented(headers: Mapping[str, str]) -> Iterator[str]:
    """Clients send `Authorization: Bearer KEY` or the bare key there, x-api-key or api-key; some send two of them."""
    authorization = headers.get("authorization", "").strip()
    scheme, _, rest = authorization.partition(" ")
    if authorization:
        yield rest.strip() if rest and scheme.lower() == "bearer" else authorization
    for name in ("x-api-key", "api-key"):
        if headers.get(name):
            yield headers[name].strip()


def _read(file: Path | None) -> tuple[bytes, ...]:
    if file is None:
        return ()
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8"
        raise BadFile(f"api_keys_file: {file}: {reason}", param="api_keys_file", received=str(file)) from error
    kept = [line.strip() for line in lines]
    return tuple(_digest(line) for line in kept if line and not line.startswith("#"))


def _version(file: Path | None) -> tuple[int, ...]:
    """Changes with the file. A file that is not there has a version too."""
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found else ()
