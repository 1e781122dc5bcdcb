"""A multipart/form-data body with one file, read as it comes: its bytes go to a spooled file, the small fields into memory.

Knows python-multipart and no database. Invariant: never more than a piece of the body is in memory; a file over the limit
ends the reading where the limit is.
"""

from collections.abc import AsyncIterator
from typing import IO, TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gigarank.errors import InvalidInput, RequestTooLarge
from gigarank.service.batches.storage import unavailable

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_MOST_FIELD_BYTES, _MOST_FIELDS = 1_000, 20
_MOST_HEADER_BYTES = 4_096


class Form:
    """`filename` is None until the file has come."""

    def __init__(self, target: IO[bytes], max_bytes: int) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.size = 0
        self._target, self._max_bytes = target, max_bytes
        self._name, self._is_file, self._text = "", False, bytearray()
        self._header, self._value, self._disposition, self._header_bytes = b"", b"", b"", 0

    async def read(self, chunks: AsyncIterator[bytes], content_type: str) -> None:
        """Raises InvalidInput, RequestTooLarge, and what the chunks raise."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            message = f"content-type: multipart/form-data with a boundary is expected; received {content_type[:60]!r}"
            raise InvalidInput(message, param="content-type", limit="multipart/form-data", received=content_type[:60])
        try:
            parser = MultipartParser(boundary, self._callbacks())
            async for chunk in chunks:
                parser.write(chunk)
            parser.finalize()
        except FormParserError as error:
            raise InvalidInput("body: no multipart/form-data as its boundary says", param="body", limit="form-data") from error
        if self.filename is None:
            raise InvalidInput("file: is required", param="file", received=None)

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._part_begin,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
        }

    def _part_begin(self) -> None:
        self._name, self._is_file, self._disposition, self._header_bytes = "", False, b"", 0
        self._text.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += self._counted(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += self._counted(data[start:end])

    def _counted(self, piece: bytes) -> bytes:
        self._header_bytes += len(piece)
        if self._header_bytes > _MOST_HEADER_BYTES:
            message = f"body: a part's headers have more than {_MOST_HEADER_BYTES} bytes"
            raise InvalidInput(message, param="body", limit=_MOST_HEADER_BYTES)
        return piece

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode(errors="replace")
        self._is_file = self._name == "file"
        if self._is_file and self.filename is not None:
            raise InvalidInput("file: one at a time", param="file", limit=1, received=2)
        if self._is_file:
            self.filename = options.get(b"filename", b"").decode(errors="replace")[:255] or "file"
        elif len(self.fields) >= _MOST_FIELDS:
            raise InvalidInput(f"body: more than {_MOST_FIELDS} fields", param="body", limit=_MOST_FIELDS)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._text += data[start:end]
            if len(self._text) > _MOST_FIELD_BYTES:
                name = self._name[:60]
                raise InvalidInput(f"{name}: more than {_MOST_FIELD_BYTES} bytes", param=name, limit=_MOST_FIELD_BYTES)
            return
        self.size += end - start
        if self.size > self._max_bytes:
            message = f"file: more than {self._max_bytes} bytes (max_file_bytes)"
            raise RequestTooLarge(message, param="file", limit=self._max_bytes, received=f"more than {self._max_bytes}")
        try:
            self._target.write(data[start:end])
        except OSError as error:
            raise unavailable(error) from error

    def _part_end(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._text.decode(errors="replace")
