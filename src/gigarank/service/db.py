"""The database: one engine, a few threads, and the only commit.

Knows SQLAlchemy and no table. Invariant: `transaction` is the one place that commits (scripts/commit_points.py checks it), so
that whatever a request changes, it changes in whole transactions; one that raises leaves nothing behind.

On SQLite a single thread does all the work of a process, so that writers never wait for each other's lock in here, and
every transaction begins as a writer, so that none has to be given up half-way.

A PostgreSQL that does not answer holds nobody up for long, and what it did for a server that is gone it gives up itself: the
server's end may be no more than a network that brings nothing through.
"""

import asyncio
import logging
import select
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from gigarank.errors import DatabaseUnavailable, InvalidInput

FILE = "gigarank.db"
"""In the state directory, where no other database is named."""
_POSTGRES_THREADS = 8
_GONE = ("25006", "25P03")  # PostgreSQL's SQLSTATEs: it only reads; it ended a transaction that nothing more came of
_REST_S = 1.0  # nobody tries to connect again for so long: each try may take the seconds of `connect_timeout`
_WAITS: dict[str, str | int] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,  # milliseconds until what was sent, and is not acknowledged, is given up
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "options": "-c lock_timeout=15s -c idle_in_transaction_session_timeout=15s",  # the server's end, which may outlive ours
}
"""libpq's parameters of a connection; what the URL says of one of them counts instead."""
_RESTED_S = 1.0  # after a pause of less nobody asks whether a connection still leads anywhere, unless something came from it
_BUSY_MS = 10_000  # how long another process's transaction is waited for
_BUSY_REST_S = 0.01  # between tries where SQLite itself does not wait
_SCRUB_S = 0.2  # how long a scrub waits, and so keeps writers waiting, for whoever reads
_ERASED = "erased"
_LOG = logging.getLogger(__name__)
T = TypeVar("T")
Work = Callable[[Connection], T]


@dataclass(frozen=True, slots=True)
class _Kept:
    """`since`: time.monotonic() of its last use."""

    connection: Connection
    since: float


class Database:
    """Thread-safe. `close` it."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.embedded = self.engine.dialect.name == "sqlite"
        count = 1 if self.embedded else _POSTGRES_THREADS
        self._threads = ThreadPoolExecutor(count, "gigarank-db", initializer=self._enroll)
        self._unscrubbed = self.embedded  # a process that was killed may have left something
        self._rests_until = 0.0
        self._own: set[int] = set()  # threads of the database's
        self._kept: dict[int, _Kept] = {}  # by thread

    def _enroll(self) -> None:
        self._own.add(threading.get_ident())

    def transaction(self, work: Work[T]) -> T:
        """What `work` gives, once it is committed. In this thread."""
        try:
            with self._borrowed() as connection:
                result = work(connection)
                connection.commit()
                if connection.info.pop(_ERASED, False):
                    self._unscrubbed = self.embedded
        except DBAPIError as error:
            raise _told(error) from error
        return result

    @contextmanager
    def _borrowed(self) -> Iterator[Connection]:
        """A thread of the database's keeps its connection as long as all goes well: to take one from the pool and to give it
        back costs as much as a small transaction. One that rested goes back, and the pool asks it whether it still leads
        anywhere before it gives it to anybody."""
        me, well = threading.get_ident(), False
        connection = self._taken(self._kept.pop(me, None))
        try:
            yield connection
            well = True
        finally:
            if well and me in self._own:
                self._kept[me] = _Kept(connection, time.monotonic())
            else:
                connection.close()  # what is open is rolled back

    def _taken(self, kept: "_Kept | None") -> Connection:
        if kept is None:
            return self._connected()
        if self.embedded or (time.monotonic() - kept.since < _RESTED_S and not _heard(kept.connection)):
            return kept.connection
        kept.connection.close()
        return self._connected()

    def _connected(self) -> Connection:
        if time.monotonic() < self._rests_until:
            raise _silent()
        try:
            return self.engine.connect()
        except OperationalError:
            if not self.embedded:
                self._rests_until = time.monotonic() + _REST_S
            raise

    def call(self, work: Work[T]) -> T:
        """`transaction`, on a thread of the database's; not to be called from one, nor from an event loop."""
        return self._threads.submit(self.transaction, work).result()

    async def run(self, work: Work[T]) -> T:
        """`transaction`, without holding up the event loop. Cancelling the caller does not undo what has begun."""
        return await asyncio.wrap_future(self._threads.submit(self.transaction, work))

    def submit(self, run: Callable[[], None]) -> None:
        """On a thread of the database's, where `transaction` keeps its connection; `close` waits for it. Raises RuntimeError
        once it is closing."""
        self._threads.submit(run)

    def scrub(self) -> bool:
        """Blocks, for a moment. What was `erased` is gone from SQLite's files too: pages are overwritten, and their log is
        emptied; PostgreSQL vacuums by itself. False: not yet, for somebody reads what was there before. Raises
        DatabaseUnavailable. One at a time."""
        if not self._unscrubbed:
            return True
        self._unscrubbed, done = False, False
        try:
            done = _emptied(str(self.engine.url.database))
        finally:
            self._unscrubbed = self._unscrubbed or not done
        return done

    def close(self) -> None:
        self._threads.shutdown(wait=True)
        self._own.clear()
        while self._kept:
            self._kept.popitem()[1].connection.close()
        self.engine.dispose()


def begun(connection: Connection) -> None:
    """What goes past SQLAlchemy is in the transaction too: its own statements see to that by themselves."""
    if not connection.in_transaction():
        connection.begin()


@contextmanager
def driver_errors(connection: Connection) -> Iterator[Any]:
    """The driver's connection, whose errors become SQLAlchemy's; one that has ended is not used again."""
    driver: Any = connection.connection.dbapi_connection
    base: Any = connection.dialect.loaded_dbapi.Error
    try:
        yield driver
    except base as error:
        gone = connection.dialect.is_disconnect(error, driver, None)
        if gone:
            connection.invalidate(error)
        raise DBAPIError.instance(None, None, error, base, True, gone, connection.dialect) from error


def erased(connection: Connection) -> None:
    """What the transaction deletes is to be gone from the disk too, once it is committed and the next `scrub` is done."""
    connection.info[_ERASED] = True


def _emptied(file: str) -> bool:
    """SQLite's log, into its file. False where somebody needs it still."""
    try:
        with closing(sqlite3.connect(file, timeout=_SCRUB_S)) as connection:
            (busy, *_pages) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise DatabaseUnavailable("the database cannot be scrubbed", retry_after=1.0) from error
    return not busy


def _told(error: DBAPIError) -> Exception:
    """The error as its reader can act on it. A server that has come to be a standby, which only reads, does not answer."""
    reason = str(error.orig).partition("\n")[0]
    if isinstance(error, DataError):
        message = f"a value is none that the database takes: {reason}"
        return InvalidInput(message, limit="text without U+0000, whole numbers of 64 bits")
    if isinstance(error, OperationalError) or getattr(error.orig, "sqlstate", None) in _GONE:
        _LOG.warning("database: %s", reason)
        return _silent()
    return error


def _silent() -> DatabaseUnavailable:
    return DatabaseUnavailable("the database does not answer", retry_after=1.0)


def usual_url(state_dir: str) -> str:
    folder = Path(state_dir)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"sqlite:///{folder / FILE}"


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise _no_url() from error
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise _no_url(parsed.get_backend_name())
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed)
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        return engine
    try:
        return create_engine(parsed, pool_size=_POSTGRES_THREADS, pool_pre_ping=True, connect_args=_waits(parsed))
    except ImportError as error:
        message = f"database_url: {error.name} is not installed: pip install 'gigarank[postgres]'"
        raise InvalidInput(message, param="database_url") from error


def _heard(connection: Connection) -> bool:
    """Whether the server said something meanwhile, or the connection has ended: it says so when it ends one."""
    driver: Any = connection.connection.dbapi_connection
    if driver.closed:
        return True
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _waits(url: URL) -> dict[str, str | int]:
    return {name: value for name, value in _WAITS.items() if name not in url.query}


def _no_url(received: str | None = None) -> InvalidInput:
    message = "database_url: sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME is expected"
    return InvalidInput(message, param="database_url", limit="sqlite, postgresql", received=received)


def _prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
    """WAL: readers do not wait for a writer. NORMAL: a commit survives the end of the process, and the loss of power may
    take the last ones with it."""
    connection.isolation_level = None  # sqlite3 itself begins nothing; `_begin` does
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    _write_ahead(connection)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: Any) -> None:
    """A new file's change to WAL is refused at once, whatever the busy timeout, where another connection reads it or makes the
    same change."""
    until = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_BUSY_REST_S)
        else:
            return


def _begin(connection: Connection) -> None:
    with driver_errors(connection) as driver:
        driver.execute("BEGIN IMMEDIATE")
