"""A server for the clients' tests: gigarank's own application and process around a backend that does what a query says.

    python stand.py [KEY]...      prints its address on the first line; ends at SIGTERM

A query with busy-STATUS-NONCE in it is refused once with that status, and answered when it is asked again. Instructions count
as words of the query, so that one that got lost is seen in the scores.
"""

import dataclasses
import re
import sys

from gigarank.engine.work import Result, Search, Work
from gigarank.errors import ModelLoading, Overloaded, TryLater
from gigarank.service.app import create_app
from gigarank.service.fake import FakeBackend
from gigarank.service.http.server import listen, run
from gigarank.service.settings import Settings

_BUSY = re.compile(r"busy-(429|503)-(\d+)")
_RETRY_AFTER_S = 0.3


class Busy(FakeBackend):
    def __init__(self) -> None:
        super().__init__()
        self._refused: set[str] = set()

    async def score(self, model: str, work: Work, wait_s: float = 0.0) -> Result:
        for search in work.searches:
            self._refuse_once(search.query)
        return await super().score(model, dataclasses.replace(work, searches=tuple(map(_instructed, work.searches))), wait_s)

    def _refuse_once(self, query: str) -> None:
        if (found := _BUSY.search(query)) is None or found[2] in self._refused:
            return
        self._refused.add(found[2])
        kind: type[TryLater] = Overloaded if found[1] == "429" else ModelLoading
        raise kind("busy, as the query asked", retry_after=_RETRY_AFTER_S)


def _instructed(search: Search) -> Search:
    return dataclasses.replace(search, query=f"{search.query} {search.instruction or ''}")


def main() -> None:
    settings = Settings(models=("fake",), api_keys=tuple(sys.argv[1:]), drain_delay_s=0.0, drain_timeout_s=2.0)
    app = create_app(settings, Busy())
    listener = listen("127.0.0.1", 0)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    raise SystemExit(run(app, settings, listener))


if __name__ == "__main__":
    main()
