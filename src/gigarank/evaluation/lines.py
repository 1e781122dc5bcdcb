"""Files by line, each with its place, so that what is wrong can be pointed at.

Knows UTF-8 and line feeds, no format. Invariant: a line ends at a line feed only; U+2028 and its kin are text.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from gigarank.errors import BadFile


def read_lines(path: Path, each: Callable[[bytes], None] | None = None) -> Iterator[tuple[str, str]]:
    """("FILE:LINE", text) of each line that is not blank; `each` sees every line's bytes. Raises BadFile."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if each is not None:
                    each(line)
                if line.strip():
                    yield f"{path}:{number}", _decoded(line, f"{path}:{number}")
    except OSError as error:
        raise BadFile(f"{path}: cannot be read: {error.strerror}", param=str(path)) from error


def _decoded(line: bytes, place: str) -> str:
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise BadFile(f"{place}: is no UTF-8: {error.reason} at byte {error.start}", param=place) from error


def integer(value: str, place: str, name: str) -> int:
    """A whole number; raises BadFile that names the field and its place."""
    try:
        return int(value)
    except ValueError as error:
        raise BadFile(f"{place}: {name} must be a whole number, not {value!r}", param=name, received=value) from error


MAX_GRADE = 1_000_000


def grade(value: str, place: str, name: str) -> int:
    """A judgment; trec_eval goes astray above its own limits in silence. Raises BadFile as `integer`."""
    found = integer(value, place, name)
    if abs(found) > MAX_GRADE:
        message = f"{place}: {name} must be from -{MAX_GRADE:,} to {MAX_GRADE:,}, not {value}"
        raise BadFile(message, param=name, limit=MAX_GRADE, received=found)
    return found


def number(value: str, place: str, name: str) -> float:
    """A finite number; raises BadFile that names the field and its place."""
    try:
        found = float(value)
    except ValueError:
        found = float("nan")
    if found - found != 0:  # neither NaN nor infinite
        raise BadFile(f"{place}: {name} must be a finite number, not {value!r}", param=name, received=value)
    return found
