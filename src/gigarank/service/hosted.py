"""What hosting for others opens: the database at its newest version, and the secrets of its keys.

Invariant: nothing is opened, made or imported for a server without `accounts`.
"""

from pathlib import Path

from gigarank.service.db import Database, usual_url
from gigarank.service.keys.secrets import FILE, Secrets
from gigarank.service.migrations import migrate
from gigarank.service.settings import Settings


def open_database(settings: Settings) -> Database:
    """Raises InvalidInput for a URL that is none, DatabaseUnavailable where nobody answers."""
    database = Database(settings.database_url or usual_url(settings.state_dir))
    migrate(database)
    return database


def open_secrets(settings: Settings) -> Secrets:
    return Secrets(Path(settings.key_secrets_file or Path(settings.state_dir) / FILE))
