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
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, InvalidatePoolError, OperationalError
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
_RESTED_S = 1.0  # a connection that was used later is not asked whether it still leads anywhere, unless something came from it
_RESTS = "rests"
_BUSY_MS = 10_000  # how long another process's transaction is waited for
_SCRUB_S = 0.2  # how long a scrub waits, and so keeps writers waiting, for whoever reads
_ERASED = "erased"
_LOG = logging.getLogger(__name__)
T = TypeVar("T")
Work = Callable[[Connection], T]


class Database:
    """Thread-safe. `close` it."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self.embedded = self.engine.dialect.name == "sqlite"
        self._threads = ThreadPoolExecutor(1 if self.embedded else _POSTGRES_THREADS, "gigarank-db")
        self._unscrubbed = self.embedded  # a process that was killed may have left something
        self._rests_until = 0.0
        self._own: Connection | None = None  # SQLite's, of its one thread

    def transaction(self, work: Work[T]) -> T:
        """What `work` gives, once it is committed. In this thread."""
        try:
            with self._connected() as connection:
                return self._committed(connection, work)
        except DBAPIError as error:
            raise _told(error) from error

    def _committed(self, connection: Connection, work: Work[T]) -> T:
        result = work(connection)
        connection.commit()
        if connection.info.pop(_ERASED, False):
            self._unscrubbed = self.embedded
        return result

    def _on_thread(self, work: Work[T]) -> T:
        """`transaction`, on a thread of the database's. SQLite's keeps its connection, as long as all goes well: to take one from
        the pool and to give it back costs as much as a small transaction."""
        if not self.embedded:
            return self.transaction(work)
        done = False
        try:
            if self._own is None:
                self._own = self._connected()
            result = self._committed(self._own, work)
            done = True
        except DBAPIError as error:
            raise _told(error) from error
        finally:
            if not done:
                self._disown()
        return result

    def _disown(self) -> None:
        """What is open is rolled back."""
        if self._own is not None:
            own, self._own = self._own, None
            own.close()

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
        return self._threads.submit(self._on_thread, work).result()

    async def run(self, work: Work[T]) -> T:
        """`transaction`, without holding up the event loop. Cancelling the caller does not undo what has begun."""
        return await asyncio.wrap_future(self._threads.submit(self._on_thread, work))

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
        self._disown()
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
        engine = create_engine(parsed, pool_size=_POSTGRES_THREADS, connect_args=_waits(parsed))
    except ImportError as error:
        message = f"database_url: {error.name} is not installed: pip install 'gigarank[postgres]'"
        raise InvalidInput(message, param="database_url") from error
    event.listen(engine, "checkin", _rest)
    event.listen(engine, "checkout", partial(_look, engine))
    return engine


def _rest(_driver: Any, entry: ConnectionPoolEntry) -> None:
    entry.info[_RESTS] = time.monotonic()


def _look(engine: Engine, driver: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
    """Asks a connection that rested, or that a server has said something to, which is how it ends one; a connection that is
    new or was just used costs no round trip. With the first that has ended, all of them are made anew."""
    since = entry.info.get(_RESTS)
    if since is None or (time.monotonic() - since < _RESTED_S and not _heard(driver)):
        return
    try:
        engine.dialect.do_ping(driver)
    except engine.dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error


def _heard(driver: Any) -> bool:
    """Whether something is to be read, or the connection has ended."""
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
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON", f"busy_timeout={_BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    with driver_errors(connection) as driver:
        driver.execute("BEGIN IMMEDIATE")
