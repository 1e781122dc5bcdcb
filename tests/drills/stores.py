"""Drills of what servers share: PostgreSQL restarted and cut off, Redis gone and hanging, holds that two servers sweep at once.

Clients send a request again until it is answered, under its Idempotency-Key, as docs/hosting.md tells them to: each is answered
in the end, and paid for once.
"""

import asyncio
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import Connection, create_engine, text

from drills.load import Load
from drills.network import island
from drills.replicas import Ready
from drills.stage import Stage, postgres, redis
from drills.verdict import Verdict, judge
from gigarank.service.credits.service import HOLD_S
from gigarank.service.db import Database
from gigarank.service.metering.sweeper import SWEEP_S, tend
from houses import House, Server

_PATIENCE_S = 120.0
_STALE_S = HOLD_S + 4 * SWEEP_S  # until a server looks at holds that nobody renews, on a busy machine
_WAITING = text(
    """WITH first AS (SELECT pid FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))
    SELECT count(DISTINCT pid) FROM pg_locks
    WHERE NOT granted AND pg_blocking_pids(pid) && (SELECT array_append(array_agg(pid), pg_backend_pid()) FROM first)"""
)
"""How many connections wait for this one, or for one that does."""


def postgres_restarted(stage: Stage) -> Verdict:
    """At once, as after a crash, twice."""
    with postgres() as database:
        house, key = stage.house(database.url)
        server = stage.start(house, "--backend", "fake:0.02")
        with Load(lambda: server.url, key, stage.clients, _PATIENCE_S) as load:
            calm = load.further(stage.requests)
            for _ in range(2):
                database.restart()
                load.further(stage.requests)
        verdict = judge("postgres_restarted", house, load, calm)
        server.end(signal.SIGTERM)
        return verdict


def postgres_partitioned(stage: Stage, seconds: float = 8.0) -> Verdict:
    """Packets are dropped both ways, and come through again later."""
    with island() as far, postgres(far) as database:
        house, key = stage.house(database.url)
        server = stage.start(house, "--backend", "fake:0.02")
        with Load(lambda: server.url, key, stage.clients, _PATIENCE_S) as load:
            calm = load.further(stage.requests)
            far.cut()
            time.sleep(seconds)  # of the fault itself
            far.mend()
            load.further(stage.requests)
        verdict = judge("postgres_partitioned", house, load, calm, note=f"cut off for {seconds:g} s")
        server.end(signal.SIGTERM)
        return verdict


def redis_down(stage: Stage) -> Verdict:
    """`closed`: requests that cannot be counted wait for it to be back."""
    return _redis(stage, "closed", signal.SIGKILL)


def redis_down_open(stage: Stage) -> Verdict:
    """`open`: requests are served, uncounted."""
    return _redis(stage, "open", signal.SIGKILL)


def redis_hangs(stage: Stage) -> Verdict:
    """It takes connections and answers nothing."""
    return _redis(stage, "closed", signal.SIGSTOP)


def _redis(stage: Stage, outage: str, number: signal.Signals) -> Verdict:
    with redis(stage.folder) as counter:
        house, key = stage.house()
        house.admin("account", "limits", "a@example.org", "--requests-per-minute", "1000000")
        limits = ("--rate-limit-url", counter.url, "--rate-limit-outage", outage)
        server = stage.start(house, "--backend", "fake:0.02", *limits)
        with Load(lambda: server.url, key, stage.clients, _PATIENCE_S if outage == "closed" else 0.0) as load:
            calm = load.further(stage.requests)
            counter.signal(number)
            if outage == "open":
                load.further(stage.requests)
            else:
                load.until(lambda: 503 in load.statuses())
            if number == signal.SIGKILL:
                counter.start()
            else:
                counter.signal(signal.SIGCONT)
            load.further(stage.requests)
        name = {"closed": "redis_down", "open": "redis_down_open"}[outage] if number == signal.SIGKILL else "redis_hangs"
        verdict = judge(name, house, load, calm, note=f"rate_limit_outage {outage}")
        server.end(signal.SIGTERM)
        return verdict


def two_sweepers(stage: Stage) -> Verdict:
    """A server is killed while it holds, and what four servers do about it is done at one moment."""
    with postgres() as database:
        house, key = stage.house(database.url)
        load, held = _killed_holding(stage, house, key)
        swept = _swept_at_once(database.url, 4)
        faults = () if sum(swept) == held else (f"{held} holds, and {swept} were released",)
        note = f"{held} holds, released {swept}"
        verdict = judge("two_sweepers", house, load, [], cut=stage.requests, losing=True, note=note)
        return verdict.but(*faults)


def _killed_holding(stage: Stage, house: House, key: str) -> tuple[Load, int]:
    """A server with all its requests running, killed: what became of them, and how many holds are left."""
    server = stage.start(house, "--backend", "fake:20")
    with Load(lambda: server.url, key, stage.requests) as load:
        _until(lambda: house.rows("SELECT count(*) FROM reservations")[0][0] == stage.requests, 60.0)
        load.stop()
        server.end(signal.SIGKILL)
    return load, house.rows("SELECT count(*) FROM reservations")[0][0]


def _until(reached: Callable[[], bool], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < end, f"not in {timeout_s:g} s"
        time.sleep(0.02)


def _swept_at_once(url: str, servers: int) -> list[int]:
    """How many holds each released."""
    together, later = threading.Barrier(servers), int(time.time()) + 2 * HOLD_S

    def sweep(_: int) -> int:
        database = Database(url)
        try:
            database.transaction(lambda one: one.exec_driver_sql("SELECT 1"))
            together.wait(30.0)
            return asyncio.run(tend(database, "nobody", later))
        finally:
            database.close()

    with ThreadPoolExecutor(servers) as several:
        return list(several.map(sweep, range(servers)))


def two_servers_sweep(stage: Stage) -> Verdict:
    """A server is killed while it holds, and two others, whose clients ask all the time, sweep what it held. The account is
    kept locked until both wait for it, so that each of them has found every hold."""
    with postgres() as database, Ready() as ready:
        house, key = stage.house(database.url)
        other = house.admin("account", "create", "--email", "b@example.org", "--grant-usd", "10")
        _, held = _killed_holding(stage, house, other["api_key"])
        servers = [stage.start(house, "--backend", "fake:0.02", "--log-level", "warning") for _ in range(2)]
        for server in servers:
            ready.add(server)
        with _kept(database.url, other["account_id"]) as keeper, Load(ready.where, key, stage.clients) as load:
            calm = load.further(stage.requests)
            _until(lambda: keeper.execute(_WAITING).scalar_one() == 2, _STALE_S)
            keeper.commit()
            load.further(stage.requests)
        verdict = judge("two_servers_sweep", house, load, calm)
        codes = [server.end(signal.SIGTERM) for server in servers]
    released = [_released(server) for server in servers]
    right = sorted(released) == [0, held] and not any(codes)
    faults = () if right else (f"{held} holds, released {released}, exit codes {codes}",)
    return replace(verdict, note=f"{held} holds, released {released}").but(*faults)


@contextmanager
def _kept(url: str, account: object) -> Iterator[Connection]:
    """The connection that keeps the account locked, until it commits."""
    engine = create_engine(url)
    try:
        with engine.connect() as keeper:
            keeper.execute(text("SELECT id FROM accounts WHERE id = :id FOR UPDATE"), {"id": account})
            yield keeper
    finally:
        engine.dispose()


def _released(server: Server) -> int:
    """How many holds it gave back, by its log."""
    return sum(map(int, re.findall(r"released (\d+) holds", "\n".join(server.lines))))
