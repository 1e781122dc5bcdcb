"""`gigarank serve --accounts` as its own process, for tests that start, ask and end it: a state directory, and servers."""

import http.client
import json
import os
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

BODY = {"query": "plants eat light", "documents": ["plants eat", "stones"]}
COST = 2  # micro-dollars: 3 + 3 words and 2 templates of 9 tokens, at 0.05 USD a million


@dataclass
class House:
    """A state directory, and the commands that work on it."""

    command: list[str]
    folder: Path
    url: str = ""  # of PostgreSQL; SQLite in the folder where there is none
    more: dict[str, str] = field(default_factory=dict)  # variables of its processes

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "GIGARANK_STATE_DIR": str(self.folder), "GIGARANK_DATABASE_URL": self.url, **self.more}

    def admin(self, *words: str) -> Any:
        done = subprocess.run(
            [*self.command, "admin", *words, "--json"], capture_output=True, text=True, env=self.env, check=True, timeout=60
        )
        return json.loads(done.stdout)

    def serve(self, *more: str) -> "Server":
        return self.serve_plainly("--accounts", *more)

    def serve_plainly(self, *more: str) -> "Server":
        """Without accounts."""
        command = [*self.command, "serve", "--port", "0", "--log-level", "error", *more]
        return Server(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=self.env))

    def rows(self, query: str) -> list[Any]:
        if self.url:
            engine = create_engine(self.url)
            with engine.connect() as one:
                rows = [tuple(row) for row in one.execute(text(query))]
            engine.dispose()
            return rows
        with sqlite3.connect(self.folder / "gigarank.db") as connection:
            found = connection.execute(query).fetchall()
        connection.close()
        return found


class Server:
    """A running server. `lines`: three of its greeting, and what it logs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stderr is not None
        first = next(line for line in process.stderr if " at http://" in line)  # Ray has something to say before it
        self.lines = [line.rstrip("\n") for line in (first, process.stderr.readline(), process.stderr.readline())]
        self.url = "http://" + self.lines[0].split(" at http://")[1].split()[0]
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(line.rstrip("\n") for line in self.process.stderr)

    def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        end = time.monotonic() + timeout_s
        while True:
            try:
                urllib.request.urlopen(self.url + "/ready", timeout=5).close()
            except OSError:
                assert time.monotonic() < end and self.process.poll() is None
                time.sleep(0.05)
            else:
                return

    def rank(self, key: str, **headers: str) -> int:
        """The status; 0 where no answer came."""
        named = {"x-api-key": key, **{name.replace("_", "-"): value for name, value in headers.items()}}
        request = urllib.request.Request(self.url + "/v1/rerank", json.dumps(BODY).encode(), named)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                json.loads(reply.read())
                return int(reply.status)
        except urllib.error.HTTPError as refused:
            refused.close()
            return refused.code
        except (OSError, http.client.HTTPException):  # the latter: the answer broke off
            return 0

    def end(self, number: int, timeout_s: float = 30.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(timeout_s)
        self._reading.join(30)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status
