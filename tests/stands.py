"""Servers for tests in a browser, each in its own process; see browser_stand.py."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import update

from batching import lines
from gigarank.service.bodies.schemas import Asked
from gigarank.service.bodies.service import set_terms
from gigarank.service.credits.schemas import Grant
from gigarank.service.credits.service import grant
from gigarank.service.db import Database
from gigarank.service.tables import accounts
from people import PASSWORD

SCRIPT = Path(__file__).parent / "e2e" / "browser_stand.py"
ADA = "ada@example.org"


@dataclass(frozen=True)
class Stand:
    """A server with accounts. `database`: its own, looked at from outside."""

    address: str
    database: Database

    def sign_in(self, page: Page, onward: str) -> None:
        """Led to the form and back."""
        page.goto(self.address + onward)
        page.get_by_label("E-mail address").fill(ADA)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(self.address + onward)

    def use(self, page: Page) -> dict[str, str]:
        """What an account has that is used: a key, requests with their bodies, a file, a batch. Their ids, by the names in
        paths. `page`: of who has signed in."""
        asking, asked = page.request, {"query": "what do plants eat", "documents": ["stones", "plants eat light"]}
        token = asking.get(f"{self.address}/v1/auth/session").json()["csrf_token"]
        proof = {"x-csrf-token": token, "origin": self.address}
        made = asking.post(f"{self.address}/v1/me/keys", data={"name": "production"}, headers=proof).json()
        account_id = made["account_id"]
        self.database.transaction(lambda one: set_terms(one, account_id, Asked(7, None), int(time.time())))
        key = {"authorization": f"Bearer {made['api_key']}"}
        for _ in range(3):
            assert asking.post(f"{self.address}/v1/rerank", data=asked, headers=key).ok
        sent = {"purpose": "batch", "file": {"name": "in.jsonl", "mimeType": "application/jsonl", "buffer": lines(20)}}
        file = asking.post(f"{self.address}/v1/files", multipart=sent, headers=key).json()  # type: ignore[arg-type]
        started = {"input_file_id": file["id"], "endpoint": "/v1/rerank", "completion_window": "24h"}
        batch = asking.post(f"{self.address}/v1/batches", data=started, headers=key).json()
        (log, *_) = asking.get(f"{self.address}/v1/logs", headers={**key}).json()["data"]
        ids = {"account_id": account_id, "key_id": made["key_id"], "log_id": log["id"]}
        return {**ids, "file_id": file["id"], "batch_id": batch["id"]}


@contextmanager
def stand_in(folder: Path) -> Iterator[Stand]:
    """Ada is an operator here, with a dollar."""
    command = [sys.executable, str(SCRIPT), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    first = cast(IO[str], process.stdout).readline().strip()
    if not first:
        pytest.fail(process.communicate(timeout=10)[1][-2_000:])
    threading.Thread(target=cast(IO[str], process.stderr).read, daemon=True).start()  # its log, so that the pipe never fills
    database, now = Database(f"sqlite:///{folder / 'x.db'}"), int(time.time())
    ada = database.transaction(
        lambda one: one.execute(update(accounts).values(role="operator").returning(accounts.c.id)).scalar_one()
    )
    database.transaction(lambda one: grant(one, ada, Grant(1_000_000), now))
    try:
        yield Stand(first, database)
    finally:
        database.close()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        for pipe in (process.stdout, process.stderr):
            cast(IO[str], pipe).close()
