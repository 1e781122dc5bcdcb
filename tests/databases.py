"""Databases for tests: SQLite in a folder, and a real PostgreSQL that scripts/postgres starts once a session.

Every test has a database of its own. Where PostgreSQL cannot be had its tests are skipped with the reason, and under CI=true
they fail.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

SCRIPT = Path(__file__).parents[1] / "scripts" / "postgres"
KINDS = ("sqlite", "postgres")


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a server, whose database `postgres` is empty."""
    folder = tempfile.mkdtemp(prefix="gigarank-pg-")
    done = subprocess.run([SCRIPT, "start", folder], capture_output=True, text=True, check=False)
    try:
        if done.returncode:
            reason = done.stderr.strip()
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        yield done.stdout.strip()
    finally:
        if not done.returncode:
            subprocess.run([SCRIPT, "stop", folder], check=True, capture_output=True)
        remove = 'rm -rf "$0" >/dev/null 2>&1 &'  # hundreds of databases of hundreds of files: nobody waits for that
        subprocess.run(["sh", "-c", remove, folder], check=True)  # a Popen that is forgotten while it runs is a warning


def new_database(server: str, name: str, template: str = "template1") -> str:
    """Makes a database on the server; its URL."""
    url = make_url(server).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)
