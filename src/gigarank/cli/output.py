"""Writing: text to standard output and standard error, bytes to a file.

Knows nothing of what is written. Invariant: when a call returns, everything has left this process; a disk that is full,
or a reader that has gone, is an OSError here and not a message at the interpreter's end. What a machine reads is UTF-8.
"""

import errno
import os
import shutil
import sys
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TextIO

_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_terminal(stream: TextIO | None) -> bool:
    """False too for a stream that was closed before the program began; Python has None for those."""
    return stream is not None and not stream.closed and stream.isatty()


def emit(text: str) -> None:
    """Write `text` to standard output, all of it, now."""
    stream: TextIO | None = sys.stdout
    if stream is None:
        raise OSError(errno.EBADF, "closed", "standard output")
    encoding = stream.encoding if is_terminal(stream) else "utf-8"
    try:
        stream.flush()
        _write_all(stream.buffer, text.encode(encoding, "backslashreplace"))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def _write_all(stream: BinaryIO, content: bytes) -> None:
    """With PYTHONUNBUFFERED the stream is raw: one write may take a part only, and say so by its return value."""
    rest = memoryview(content)
    while rest:
        rest = rest[stream.write(rest) :]
    stream.flush()


def note(text: str) -> None:
    """Say something to the person at the terminal; if standard error takes nothing, there is nobody to tell."""
    stream: TextIO | None = sys.stderr
    if stream is None:
        return
    try:
        stream.write(text + "\n")
        stream.flush()
    except OSError:
        silence(stream)


def silence(stream: TextIO) -> None:
    """Let what is still buffered go nowhere, so that the interpreter's end does not trip over it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; devices and pipes are written as they are."""
    target = path.resolve()
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(content)
        else:
            _replace(target, content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _replace(target: Path, content: bytes) -> None:
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        if target.exists():
            shutil.copymode(target, beside)
        beside.replace(target)
    finally:
        with suppress(OSError):
            beside.unlink()


def printable(text: str) -> str:
    """`text` on one line, with the characters that would steer a terminal made visible."""
    return "".join(map(_visible, " ".join(text.split())))


def _visible(character: str) -> str:
    steers = unicodedata.category(character) == "Cc" or character in _BIDI_CONTROLS
    return "\N{REPLACEMENT CHARACTER}" if steers else character
