"""Clients that ask a server over HTTP for as long as they are told to, and how each of their requests ended.

A client without patience asks once. One with patience sends the same request again, under the same Idempotency-Key, until it is
answered. Knows no server's inside. Invariant: every request that began is in `done` when the load has ended.
"""

import http.client
import json
import threading
import time
import urllib.parse
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from types import TracebackType
from typing import Any

from houses import BODY

_PAUSE_S = 0.05  # of a patient client, between two tries


@dataclass(frozen=True)
class Question:
    """A body, and the score that each of its documents must have, by its place; None: whatever it has."""

    body: Mapping[str, Any]
    scores: Mapping[int, float] | None = None

    def is_answered_by(self, reply: Any) -> bool:
        return self.scores is None or {one["index"]: one["relevance_score"] for one in reply["results"]} == self.scores


@dataclass(frozen=True)
class Asked:
    """`ended`: by time.monotonic(). `seconds`: until the last word. `statuses`: of its tries, 0 where no answer came."""

    ended: float
    seconds: float
    statuses: tuple[int, ...]

    @property
    def answered(self) -> bool:
        return self.statuses[-1] == 200

    def met(self, span: tuple[float, float]) -> bool:
        """Whether a part of the time between its beginning and its end was in `span`."""
        return self.ended > span[0] and self.ended - self.seconds < span[1]


@dataclass
class Load:
    """`where`: the server's URL at this moment. `patience_s`: how long a request is sent again. `rest_s`: of a client without
    patience that was refused. `questions`: asked in turns. `wrong`: answers with other scores than they must have."""

    where: Callable[[], str]
    key: str
    clients: int = 4
    patience_s: float = 0.0
    timeout_s: float = 30.0
    rest_s: float = 0.0
    questions: Sequence[Question] = (Question(BODY),)
    wrong: list[Any] = field(default_factory=list)
    done: list[Asked] = field(default_factory=list)
    tries: list[int] = field(default_factory=list)
    _turns: "count[int]" = field(default_factory=count)
    _stop: threading.Event = field(default_factory=threading.Event)
    _more: threading.Condition = field(default_factory=threading.Condition)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Nothing new is asked."""
        self._stop.set()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(self.patience_s + 2 * self.timeout_s)

    def further(self, count: int, timeout_s: float = 120.0) -> list[Asked]:
        """Waits until so many more requests were answered; those that ended meanwhile, whatever way."""
        with self._more:
            place = len(self.done)
            enough = self._more.wait_for(lambda: sum(one.answered for one in self.done[place:]) >= count, timeout_s)
            assert enough, f"{count} answers did not come in {timeout_s:g} s: {self.statuses()}"
            return self.done[place:]

    def until(self, reached: Callable[[], bool], timeout_s: float = 120.0) -> None:
        """Waits until what became of the requests is so."""
        with self._more:
            assert self._more.wait_for(reached, timeout_s), f"not in {timeout_s:g} s: {self.statuses()}"

    def statuses(self) -> Counter[int]:
        """Of all tries, those of requests that are being asked among them."""
        return Counter(self.tries)

    def _run(self) -> None:
        while not self._stop.is_set():
            asked = self._ask()
            with self._more:
                self.done.append(asked)
                self._more.notify_all()
            if not asked.answered:
                self._stop.wait(self.rest_s)

    def _ask(self) -> Asked:
        began, statuses = time.monotonic(), []
        question = self.questions[next(self._turns) % len(self.questions)]
        headers = {"x-api-key": self.key, **({"idempotency-key": uuid.uuid4().hex} if self.patience_s else {})}
        while True:
            statuses.append(self._sent(headers, question))
            now = time.monotonic()
            with self._more:
                self.tries.append(statuses[-1])
                self._more.notify_all()
            if statuses[-1] == 200 or now - began >= self.patience_s:
                return Asked(now, now - began, tuple(statuses))
            time.sleep(_PAUSE_S)

    def _sent(self, headers: dict[str, str], question: Question) -> int:
        place = urllib.parse.urlsplit(self.where())
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=self.timeout_s)
        try:
            connection.request("POST", "/v1/rerank", json.dumps(question.body), headers)
            reply = connection.getresponse()
            told = json.loads(reply.read())
            if reply.status == 200 and not question.is_answered_by(told):
                self.wrong.append(told)
            return reply.status
        except (OSError, http.client.HTTPException, ValueError):
            return 0
        finally:
            connection.close()


def quantile(asked: Sequence[Asked], part: float) -> float:
    """Milliseconds within which so large a part of them ended."""
    ordered = sorted(one.seconds for one in asked)
    return 1e3 * ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def longest_silence(asked: Sequence[Asked]) -> float:
    """Seconds between two answers that nothing was answered between."""
    ends = sorted(one.ended for one in asked if one.answered)
    return max((later - earlier for earlier, later in pairwise(ends)), default=0.0)
