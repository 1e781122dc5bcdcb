"""The server's parts together, without a network: real workers, real small models, real databases, real requests."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import databases
import hosting
from gigarank.service.db import Database
from gigarank.service.migrations import migrate

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small checkpoints, see hosting.write_models."""
    return hosting.write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with databases.postgres() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> str:
    """The name of a database at the newest version, to be copied."""
    database = Database(databases.new_database(postgres_url, "migrated"))
    migrate(database)
    database.close()
    return "migrated"


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file at the newest version, to be copied: closed, it has no log beside it."""
    file = tmp_path_factory.mktemp("migrated") / "migrated.db"
    database = Database(f"sqlite:///{file}")
    migrate(database)
    database.close()
    assert not file.with_name("migrated.db-wal").exists()
    return file


@pytest.fixture(params=databases.KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return databases.new_database(request.getfixturevalue("postgres_url"), f"test{next(_NUMBERS)}")


@pytest.fixture(params=databases.KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database at the newest version, of each kind."""
    if request.param == "postgres":
        server, template = request.getfixturevalue("postgres_url"), request.getfixturevalue("migrated_postgres")
        return databases.new_database(server, f"test{next(_NUMBERS)}", template)
    copied = shutil.copyfile(request.getfixturevalue("migrated_sqlite"), tmp_path / "test.db")
    return f"sqlite:///{copied}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()
