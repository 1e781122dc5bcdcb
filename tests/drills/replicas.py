"""Drills of several servers: replicas that score behind one with accounts, and servers that are replaced while they serve.

Clients ask once, and send nothing again.
"""

import http.client
import itertools
import signal
import threading
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from drills.load import Load
from drills.stage import Stage, postgres
from drills.verdict import Verdict, judge
from houses import BODY, Server
from upstream_server import Answer, Fault, Scorer, by_words, closing, hanging, saying, scorer, written


def _port(server: Server) -> int:
    return int(urlsplit(server.url).port or 0)


def replica_killed(stage: Stage) -> Verdict:
    """One of two, with -9; the other one goes on, and the first comes back."""
    first, second = stage.replica(), stage.replica()
    house, key = stage.house()
    front = stage.start(house, "--model", "fake", "--backend", f"rerank={first.url},{second.url}")
    with Load(lambda: front.url, key, stage.clients) as load:
        calm = load.further(stage.requests)
        first.end(signal.SIGKILL)
        load.further(stage.requests)
        stage.replica(_port(first))
        load.further(stage.requests)
    return judge("replica_killed", house, load, calm, note="1 of 2 replicas")


def only_replica_killed(stage: Stage) -> Verdict:
    """There is nobody to serve: 503, for nothing, until it is back."""
    only = stage.replica()
    house, key = stage.house()
    front = stage.start(house, "--model", "fake", "--backend", f"rerank={only.url}")
    with Load(lambda: front.url, key, stage.clients) as load:
        calm = load.further(stage.requests)
        only.end(signal.SIGKILL)
        load.until(lambda: 503 in load.statuses())
        stage.replica(_port(only))
        load.further(stage.requests)
    return judge("only_replica_killed", house, load, calm, losing=True, note="until it is back")


def upstream_spoilt(stage: Stage) -> Verdict:
    """One of two hangs, then answers NaN, then what is no JSON, then closes connections; the other one is well. Before each
    fault it is well again and has questions, so that each is met by some and not only by its trials."""
    with scorer(logit=by_words) as well, scorer(logit=by_words) as ill:
        house, key = stage.house()
        waits = ("--upstream-timeout-s", "1")
        front = stage.start(house, "--model", "mine", "--backend", f"rerank={well.url},{ill.url}", *waits)
        with Load(lambda: front.url, key, stage.clients) as load:
            calm = load.further(stage.requests)
            met = [_spoilt(ill, fault, load, stage.requests) for fault in (hanging, _nan, saying(b"<html>"), closing)]
        note = f"hangs, NaN, no JSON, closes: {', '.join(map(str, met))} questions met it"
        return judge("upstream_spoilt", house, load, calm, note=note).but("" if all(met) else "a fault that no question met")


def _spoilt(ill: Scorer, fault: Fault, load: Load, requests: int) -> int:
    """How many questions met the fault, trials not counted. Afterwards it is well, and asked again."""
    met = []

    def broken(state: Scorer, body: dict[str, Any]) -> Answer | None:
        if body.get("query") == BODY["query"]:
            met.append(body)
        return fault(state, body)

    ill.broken = broken
    load.further(requests)
    ill.broken, asked = None, len(ill.asked)
    ill.quit.set()  # what hangs ends
    ill.quit.clear()
    load.until(lambda: len(ill.asked) > asked)
    return len(met)


def _nan(state: Scorer, body: dict[str, Any]) -> Answer:
    results = [{"index": place, "relevance_score": float("nan")} for place in range(len(body.get("documents", ())))]
    return written({"results": results})


class Ready:
    """The servers that said a moment ago that they are ready, in turns: what a balancer in front of them does."""

    def __init__(self) -> None:
        self.servers: list[Server] = []
        self._ready: list[str] = []
        self._turn = itertools.count()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Ready":
        self._thread.start()
        return self

    def __exit__(self, *rest: object) -> None:
        self._end.set()
        self._thread.join(30.0)

    def add(self, server: Server) -> None:
        self.servers = [*self.servers, server]
        while server.url not in self._ready:
            self._end.wait(0.02)

    def where(self) -> str:
        return self._ready[next(self._turn) % len(self._ready)]

    def _watch(self) -> None:
        while not self._end.wait(0.05):
            self._ready = [server.url for server in self.servers if _is_ready(server.url)] or self._ready


def _is_ready(url: str) -> bool:
    try:
        urllib.request.urlopen(url + "/ready", timeout=5).close()
    except (OSError, http.client.HTTPException):
        return False
    return True


def rolling_update(stage: Stage) -> Verdict:
    """Two servers on one PostgreSQL, each ended with SIGTERM and replaced, while clients go by /ready and ask once."""
    with postgres() as database, Ready() as ready:
        house, key = stage.house(database.url)
        first = [stage.start(house, "--backend", "fake:0.02", "--drain-delay-s", "2") for _ in range(2)]
        for server in first:
            ready.add(server)
        codes = []
        with Load(ready.where, key, stage.clients) as load:
            calm = load.further(stage.requests)
            for server in first:
                codes.append(server.end(signal.SIGTERM))
                ready.add(stage.start(house, "--backend", "fake:0.02"))
                load.further(stage.requests)
        verdict = judge("rolling_update", house, load, calm, note=f"exit codes {codes}")
        for server in ready.servers:
            server.end(signal.SIGTERM)
        return verdict
