"""What accounts cost a request: the same server without them and with them, on each database, asked in turns.

Knows the servers as clients do, and the operator's commands by their output. The model is one that counts words and takes as
long as it is told, so that the rest is the server's. Where it always takes the same, clients that ask again once they have
their answer fall into step; where it takes now more and now less, they do not. Invariant: a difference is taken between two
servers in one round, every answered request was paid for, and the ledgers are sound; otherwise nothing is reported.
"""

import asyncio
import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gigarank.bench.serve_bodies import Workload, bodies
from gigarank.bench.serve_load import Generator, Load, Target
from gigarank.bench.serve_process import PROGRAM, free_port, running, until_ready, usage
from gigarank.bench.serve_summary import Sample, rounded
from gigarank.errors import GigarankError, InvalidInput
from gigarank.types import JsonObject

PLAIN = "no accounts"
PATH = "/v1/rerank"
_KEY = "bench-of-hosting"
_LIMITS = ("--requests-per-minute", "100000000", "--tokens-per-minute", "1000000000", "--concurrent-requests", "1000000")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """`databases`: an empty one each, by name; "" is SQLite in a folder of its own. `requests`: to each server in a round.
    `model_ms`: the least and the most that the model takes."""

    databases: Mapping[str, str]
    clients: int = 50
    requests: int = 1_000
    repeats: int = 5
    model_ms: tuple[float, float] = (250.0, 250.0)
    workload: Workload = field(default_factory=lambda: Workload(model="fake"))

    @property
    def load(self) -> Load:
        """Where the model takes now more and now less, clients that began together would be together for many requests."""
        least, most = self.model_ms
        return Load(clients=self.clients, over_s=(least + most) / 2e3 if least < most else 0.0)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server that runs. `env`: where its database is, for the operator's commands; None: it keeps no accounts."""

    name: str
    target: Target
    process: Any
    env: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Turn:
    """One server's part of a round. Latencies in milliseconds."""

    p50: float
    p95: float
    requests_per_second: float
    cpu_ms: float


def run(settings: Settings, folder: Path, say: Say) -> JsonObject:
    """`folder`: an empty one, for the servers' state. Raises InvalidInput, ModelUnavailable (a server does not become ready),
    GigarankError (a request was not answered, or a ledger is not sound)."""
    for name, value in (("clients", settings.clients), ("requests", settings.requests), ("repeats", settings.repeats)):
        if value < 1:
            raise InvalidInput(f"{name}: at least 1, not {value}", param=name, limit=1, received=value)
    load_before = round(os.getloadavg()[0], 2)
    with ExitStack() as stack:
        contestants = [stack.enter_context(one) for one in _servers(settings, folder)]
        turns = asyncio.run(_measure(settings, contestants, say))
        for contestant in contestants:
            check_ledger(contestant, settings)
    return {
        "bench": "hosted",
        "workload": {"documents": settings.workload.documents, "document_bytes": settings.workload.document_bytes},
        "clients": settings.clients,
        "model_ms": settings.model_ms,
        "repeats": settings.repeats,
        "requests": settings.requests,
        "load_average_before": load_before,
        "results": [summary(name, found, turns[PLAIN]) for name, found in turns.items()],
    }


def _servers(settings: Settings, folder: Path) -> Iterator[Any]:
    yield _server(settings, PLAIN, None)
    for name, url in settings.databases.items():
        env = {"GIGARANK_STATE_DIR": str(folder / name), "GIGARANK_DATABASE_URL": url}
        yield _server(settings, name, env)


@contextmanager
def _server(settings: Settings, name: str, env: Mapping[str, str] | None) -> Iterator[Contestant]:
    key, more = _KEY, ["--api-key", _KEY]
    if env is not None:
        key = _admin(env, "account", "create", "--email", "bench@example.org", "--grant-usd", "1000")["api_key"]
        more = ["--accounts", *_LIMITS]
    port = free_port()
    took = "-".join(f"{milliseconds / 1e3:g}" for milliseconds in settings.model_ms)
    backend = ("--backend", f"fake:{took}", "--model", "fake", "--log-level", "error")
    with running((*PROGRAM, "serve", "--port", str(port), *backend, *more), env or {}) as (process, _):
        asyncio.run(until_ready(f"http://127.0.0.1:{port}", process))
        sent = bodies(settings.workload)
        yield Contestant(name, Target(f"http://127.0.0.1:{port}{PATH}", sent, settings.workload.documents, key), process, env)


def _admin(env: Mapping[str, str], *words: str) -> JsonObject:
    command = (*PROGRAM, "admin", *words, "--json")
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise GigarankError(f"gigarank admin {' '.join(words)}: {done.stderr.strip()}")
    answered: JsonObject = json.loads(done.stdout)
    return answered


async def _measure(settings: Settings, contestants: Sequence[Contestant], say: Say) -> dict[str, list[Turn]]:
    """Who begins moves on by one each round; before the first, every server warms up."""
    turns: dict[str, list[Turn]] = {contestant.name: [] for contestant in contestants}
    async with asyncio.TaskGroup() as group:
        for contestant in contestants:
            group.create_task(_turn(contestant, settings.load, settings.clients))
    for number in range(settings.repeats):
        begin = number % len(contestants)
        for contestant in (*contestants[begin:], *contestants[:begin]):
            turn = await _turn(contestant, settings.load, settings.requests)
            turns[contestant.name].append(turn)
            say(f"round {number + 1} of {settings.repeats}, {contestant.name}: p50 {turn.p50:.1f} ms, p95 {turn.p95:.1f} ms")
    return turns


async def _turn(contestant: Contestant, load: Load, requests: int) -> Turn:
    async with Generator(contestant.target) as generator:
        before = usage(contestant.process).cpu_s
        samples = await generator.run(load, requests)
        spent = usage(contestant.process).cpu_s - before
    return turn_of(samples, spent)


def turn_of(samples: Sequence[Sample], cpu_s: float) -> Turn:
    """Raises GigarankError where a request was not answered: what is refused is refused fast."""
    wrong = [one.outcome for one in samples if not one.pairs]
    if wrong:
        raise GigarankError(f"{len(wrong)} of {len(samples)} requests were not answered with a ranking, but with {wrong[0]}")
    ranked = sorted(one.latency_ms for one in samples)
    seconds = max(one.done for one in samples) - min(one.intended for one in samples)
    p50, p95 = (ranked[-(-len(ranked) * percent // 100) - 1] for percent in (50, 95))
    return Turn(p50, p95, len(samples) / seconds, cpu_s * 1e3 / len(samples))


def check_ledger(contestant: Contestant, settings: Settings) -> None:
    """Raises GigarankError where its requests are not all paid for once."""
    if contestant.env is None:
        return
    rows = _admin(contestant.env, "usage", "--group-by", "account")["usage"]
    paid, asked = sum(int(row["requests"]) for row in rows), settings.clients + settings.repeats * settings.requests
    if paid != asked:
        raise GigarankError(f"{contestant.name}: {asked} requests were answered, and {paid} paid for")
    if not _admin(contestant.env, "check")["sound"]:
        raise GigarankError(f"{contestant.name}: the ledger does not add up")


def summary(name: str, turns: Sequence[Turn], plain: Sequence[Turn]) -> JsonObject:
    """Medians over the rounds; what it takes more than `plain` is taken round by round."""
    own = {field: rounded(statistics.median(getattr(one, field) for one in turns)) for field in Turn.__slots__}
    if turns is plain:
        return {"name": name, **own}
    pairs = list(zip(turns, plain, strict=True))
    return {
        "name": name,
        **own,
        "more_p50_ms": spread([one.p50 - other.p50 for one, other in pairs]),
        "more_p95_ms": spread([one.p95 - other.p95 for one, other in pairs]),
        "more_cpu_ms": spread([one.cpu_ms - other.cpu_ms for one, other in pairs]),
        "requests_ratio": spread([one.requests_per_second / other.requests_per_second for one, other in pairs]),
    }


def spread(values: Sequence[float]) -> JsonObject:
    return {"median": rounded(statistics.median(values)), "min": rounded(min(values)), "max": rounded(max(values))}
