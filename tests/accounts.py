"""Accounts for tests: made on a database as an operator makes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gigarank.service.accounts import service as accounts
from gigarank.service.credits.schemas import Grant
from gigarank.service.credits.service import grant
from gigarank.service.db import Database
from gigarank.service.keys.schemas import Terms
from gigarank.service.keys.secrets import Secrets
from gigarank.service.keys.service import issue

NOW = 1_795_700_000
"""2026-11-26 13:33:20 UTC, a Thursday."""


@dataclass(frozen=True)
class Made:
    account_id: str
    key_id: str
    key: str


def secrets_in(folder: Path) -> Secrets:
    return Secrets(folder / "key-secrets")


def make_account(
    database: Database, secrets: Secrets, micros: int = 1_000_000, email: str = "a@example.org", **terms: Any
) -> Made:
    """An account with one grant and one key."""

    def work(connection: Any) -> Made:
        account = accounts.create(connection, email, NOW)
        if micros:
            grant(connection, account.id, Grant(micros), NOW)
        key, text = issue(connection, secrets, account.id, Terms(**terms), NOW)
        return Made(account.id, key.id, text)

    return database.transaction(work)
