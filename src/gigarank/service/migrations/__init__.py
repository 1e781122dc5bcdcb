"""The database's versions, as Alembic runs them, and who asks for them: `migrate`.

Invariant: a database that `migrate` left is at the newest version, whoever else was at it at the same time; one that is
newer than this program is refused and not touched.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock
from sqlalchemy import Connection, inspect, text

from gigarank.errors import InvalidInput
from gigarank.service.db import Database

HEAD = "0012"
"""The newest version; tests/service/test_hosted_migrations.py holds it against the folder `steps`."""
_FOLDER = Path(__file__).parent / "steps"
_LOCK = 6_174_271  # PostgreSQL's advisory lock; any number of ours


def migrate(database: Database, version: str = HEAD) -> None:
    """To `version`, up or down; "base" is before the first. Nothing but a look where that is so already."""
    if database.transaction(current) == version:
        return
    with _alone(database):
        database.transaction(lambda connection: _to(connection, version))


def current(connection: Connection) -> str:
    """The database's version; "base" for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return "base"
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return "base" if found is None else str(found)


def _to(connection: Connection, version: str) -> None:
    from alembic import command  # noqa: PLC0415  # a tenth of a second that only a migration needs
    from alembic.config import Config  # noqa: PLC0415

    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = 0"))  # another server's migration takes as long as it takes
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    now = current(connection)
    if now > HEAD and now != "base":
        message = f"database: its version is {now}, and this program knows versions up to {HEAD}: install a newer gigarank"
        raise InvalidInput(message, param="database_url", limit=HEAD, received=now)
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    if version != "base" and (now == "base" or now <= version):
        command.upgrade(config, version)
    else:
        command.downgrade(config, version)


@contextlib.contextmanager
def _alone(database: Database) -> Iterator[None]:
    """SQLite's tables are made under a lock beside the file; PostgreSQL has one of its own, see `_to`."""
    name = database.engine.url.database
    if not database.embedded or name in (None, "", ":memory:"):
        yield
        return
    with FileLock(f"{name}.lock"):
        yield
