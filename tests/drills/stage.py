"""What drills start: houses with an account, replicas, PostgreSQL and Redis, a balancer; and what ends all of it.

Invariant: no process outlives the drill that started it.
"""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import create_engine, text

from drills.network import Impossible, Island
from houses import House, Server

GIGARANK = [sys.executable, "-m", "gigarank"]
SCRIPTS = Path(__file__).parents[2] / "scripts"


@dataclass
class Stage:
    """`requests`: of a phase, before the fault, during and after it."""

    folder: Path
    requests: int = 20
    clients: int = 4
    ending: ExitStack = field(default_factory=ExitStack)

    def house(self, url: str = "", **more: str) -> tuple[House, str]:
        """With an account of 10 USD, and its key."""
        house = House(GIGARANK, self.folder / "state", url, more)
        made = house.admin("account", "create", "--email", "a@example.org", "--grant-usd", "10")
        return house, made["api_key"]

    def start(self, house: House, *more: str, timeout_s: float = 60.0) -> Server:
        return self._ready(house.serve(*more), timeout_s)

    def replica(self, port: int = 0, delay_s: float = 0.02) -> Server:
        """Without accounts, as one of several behind a server."""
        plain = House(GIGARANK, self.folder / "replica")
        return self._ready(plain.serve_plainly("--backend", f"fake:{delay_s}", "--port", str(port), "--no-pages"))

    def _ready(self, server: Server, timeout_s: float = 60.0) -> Server:
        self.ending.callback(server.end, signal.SIGKILL)
        server.wait_until_ready(timeout_s)
        return server


@contextmanager
def stage(requests: int, clients: int) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="gigarank-drill-") as folder, ExitStack() as ending:
        yield Stage(Path(folder), requests, clients, ending)


@dataclass(frozen=True)
class Postgres:
    url: str
    folder: Path

    def restart(self) -> None:
        """As after a crash: connections are cut, and what was not committed is gone."""
        subprocess.run([SCRIPTS / "postgres", "restart", self.folder], check=True)


@contextmanager
def postgres(place: Island | None = None) -> Iterator[Postgres]:
    """On a socket, or on the island."""
    folder = tempfile.mkdtemp(prefix="gigarank-pg-")
    command = [str(SCRIPTS / "postgres"), "start", folder, *([place.address] if place else [])]
    done = subprocess.run(place.inside(*command) if place else command, capture_output=True, text=True, check=False)
    try:
        if done.returncode:
            raise Impossible(done.stderr.strip())
        url = done.stdout.strip().replace("postgresql://", "postgresql+psycopg://")
        _keep_commits(url)
        yield Postgres(url, Path(folder))
    finally:
        subprocess.run([SCRIPTS / "postgres", "stop", folder], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _keep_commits(url: str) -> None:
    """scripts/postgres is in a hurry: its servers forget the last commits in a crash, and then so does the ledger."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("ALTER DATABASE postgres SET synchronous_commit = on"))
    engine.dispose()


@dataclass
class Redis:
    program: str
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis+unix://{self.folder / 'redis'}"

    def start(self) -> None:
        where = self.folder / "redis"
        words = (self.program, "--port", "0", "--unixsocket", where, "--save", "", "--appendonly", "no", "--dir", self.folder)
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 20.0
        while not self._answers():
            assert time.monotonic() < end
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(20)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as one:
            try:
                one.connect(str(self.folder / "redis"))
                one.sendall(b"PING\r\n")
                return one.recv(7) == b"+PONG\r\n"
            except OSError:
                return False


@contextmanager
def redis(folder: Path) -> Iterator[Redis]:
    found = subprocess.run([SCRIPTS / "redis"], capture_output=True, text=True, check=False)
    if found.returncode:
        raise Impossible(found.stderr.strip())
    made = Redis(found.stdout.strip(), folder)
    made.start()
    try:
        yield made
    finally:
        made.signal(signal.SIGKILL)
