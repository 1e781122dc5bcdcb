"""A real HTTP server on loopback that can be told to misbehave as registries and networks do."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest


class Loopback:
    """`files` by path; `asked` is each GET's path and range, `cuts` after how many bytes the next answers below /files end."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.status: dict[str, int] = {}
        self.error_codes: dict[str, str] = {}  # as the hub's X-Error-Code
        self.cuts: list[int] = []
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []
        self.accepted: list[str | None] = []
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                loopback.answer(self)

            def do_HEAD(self) -> None:
                loopback.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def asked_for(self, path: str) -> list[str | None]:
        return [asked_range for asked_path, asked_range in self.asked if asked_path == path]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, wanted = urlsplit(request.path).path, request.headers.get("Range")
        if request.command == "GET":
            self.asked.append((path, wanted))
            self.accepted.append(request.headers.get("Accept"))
        body = self.files.get(path)
        if path in self.status or body is None:
            request.send_response(self.status.get(path, 404))
            request.send_header("Content-Length", "0")
            if path in self.error_codes:
                request.send_header("X-Error-Code", self.error_codes[path])
            request.end_headers()
            return
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted and self.ranges else 0
        if start and start >= len(body):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body) - start))
        request.send_header("Content-Type", self.types.get(path, "application/octet-stream"))
        request.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "GET":
            stop = start + self.cuts.pop(0) if self.cuts and path.startswith("/files/") else len(body)
            request.wfile.write(body[start:stop])

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    server = Loopback()
    yield server
    server.close()


@pytest.fixture
def own_index(loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> Loopback:
    """The server as the only index that pip's settings name."""
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"{loopback.url}/simple/")
    return loopback
