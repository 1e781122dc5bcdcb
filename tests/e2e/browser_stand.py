"""A server with accounts for tests in a browser: gigarank's own application and process around a backend that counts words.

    python browser_stand.py FOLDER      prints its address on the first line; ends at SIGTERM

ada@example.org has an account. A query with `wait-for-ever` in it is never answered, one with `no-room` is refused.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from gigarank.engine.work import Result, Work
from gigarank.errors import Overloaded
from gigarank.service.accounts import repository
from gigarank.service.app import create_app
from gigarank.service.db import Database
from gigarank.service.fake import FakeBackend
from gigarank.service.http.server import listen, run
from gigarank.service.migrations import migrate
from gigarank.service.settings import Settings
from people import KEPT


class Moody(FakeBackend):
    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        query = work.searches[0].query
        if "wait-for-ever" in query:
            await asyncio.Event().wait()
        if "no-room" in query:
            raise Overloaded("the queue is full", retry_after=2.0)
        return await super().score(model, work, wait_s)


def main() -> None:
    folder = Path(sys.argv[1])
    url = f"sqlite:///{folder / 'x.db'}"
    database = Database(url)
    migrate(database)
    database.transaction(lambda one: repository.open_account(one, "ada@example.org", KEPT, 1_764_000_000))
    database.close()
    own: dict[str, Any] = {"models": ("fake",), "state_dir": str(folder), "database_url": url, "accounts": True}
    most = {"demo_requests_per_minute": 10_000, "max_body_days": 30, "requests_per_minute": 600}
    settings = Settings(**{**own, **most})
    listener = listen("127.0.0.1", 0)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    raise SystemExit(run(create_app(settings, Moody()), settings, listener))


if __name__ == "__main__":
    main()
