"""The bench of the server: loads take turns, round after round, against one `gigarank serve` in a process of its own.

Knows the server only as a client and by its process. Invariant: the generator's own ceiling is measured before, on the same
cores and bodies, so that a figure near it is seen to be the generator's.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from gigarank.bench.serve_bodies import Workload, bodies
from gigarank.bench.serve_load import Generator, Load, Target
from gigarank.bench.serve_process import PROGRAM, free_port, one_core_each, running, to_the_other, until_ready, watch
from gigarank.bench.serve_summary import Round, Usage, memory, ratios, rounded, summarise
from gigarank.errors import InvalidInput
from gigarank.types import JsonObject

WARM_UP, CEILING_REQUESTS = 50, 2_000
PATH = "/v1/rerank"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What to run. `url`: a server that runs already; else one is started with `arguments` and `environment`.

    `requests` are sent for each load in each round. `one_core`: the server on one core, the generator on the others.
    """

    loads: tuple[Load, ...]
    workload: Workload
    requests: int = 1_000
    repeats: int = 3
    url: str = ""
    key: str = ""
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    one_core: bool = False


def parse_loads(clients: str, rates: str) -> tuple[Load, ...]:
    """`"1,16"` and `"200"` are three loads: two closed, one open. Raises InvalidInput."""
    try:
        closed = [Load(clients=int(one)) for one in clients.split(",") if one.strip()]
        opened = [Load(rate=float(one)) for one in rates.split(",") if one.strip()]
    except ValueError as error:
        raise InvalidInput(f"clients and rate: numbers, several with commas: {error}", param="clients") from error
    loads = (*closed, *opened)
    if not loads or any(load.clients < 1 and not 0.0 < load.rate < 1e6 for load in loads) or len(set(loads)) < len(loads):
        asked = f"clients {clients!r}, rate {rates!r}"
        raise InvalidInput(f"clients and rate: numbers from 1, each once; {asked} are not", param="clients", received=asked)
    return loads


def run(settings: Settings, say: Say) -> JsonObject:
    """Raises InvalidInput, DeviceUnavailable (one core only) or ModelUnavailable (the server does not become ready)."""
    sent, load_before = bodies(settings.workload), round(os.getloadavg()[0], 2)
    if settings.url and settings.one_core:
        raise InvalidInput("one_core: only for a server that is started here, not with a url", param="one_core")
    ceiling = _ceiling(settings, sent)
    say(f"the generator's own ceiling: {ceiling:.0f} requests/s")
    with _server(settings) as (url, process):
        target = Target(url.rstrip("/") + PATH, sent, settings.workload.documents, settings.key)
        rounds, usages = asyncio.run(_measure(settings, target, process, say))
    before = {"generator_ceiling_requests_per_second": rounded(ceiling), "load_average_before": load_before}
    return _result(settings, rounds, usages) | before


def _ceiling(settings: Settings, sent: Sequence[bytes]) -> float:
    command = (PROGRAM[0], "-m", "gigarank.bench.serve_canned", str(settings.workload.documents))
    with one_core_each(settings.one_core) as cores, running(command, {}, first_line=True) as (_, port):
        to_the_other(cores)
        target = Target(f"http://127.0.0.1:{port}{PATH}", sent, settings.workload.documents)
        return asyncio.run(_fastest(target, Load(clients=16)))


async def _fastest(target: Target, load: Load) -> float:
    async with Generator(target) as generator:
        await generator.run(load, WARM_UP)
        samples = await generator.run(load, CEILING_REQUESTS)
    return len(samples) / Round(samples, (), 0.0).seconds


@contextmanager
def _server(settings: Settings) -> Iterator[tuple[str, Any]]:
    """The address and, where the server is ours, its process."""
    if settings.url:
        yield settings.url, None
        return
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = (*PROGRAM, "serve", "--port", str(port), *settings.arguments)
    with one_core_each(settings.one_core) as cores, running(command, settings.environment) as (process, _):
        to_the_other(cores)
        asyncio.run(until_ready(url, process))
        yield url, process


async def _measure(settings: Settings, target: Target, process: Any, say: Say) -> tuple[dict[str, list[Round]], list[Usage]]:
    """Every load once a round, in turn; before that each warms up."""
    rounds: dict[str, list[Round]] = {load.name: [] for load in settings.loads}
    usages: list[Usage] = []
    async with Generator(target, settings.workload.seed) as generator:
        for load in settings.loads:
            _check(await generator.run(load, min(WARM_UP, settings.requests)))
        for number in range(1, settings.repeats + 1):
            for load in settings.loads:
                one = await _round(generator, load, settings.requests, process)
                rounds[load.name].append(one)
                usages += one.usages
                say(f"round {number} of {settings.repeats}, {load.name}: {one.pairs_per_second:.0f} pairs/s")
    return rounds, usages


def _check(samples: Sequence[Any]) -> None:
    """A server that answers nothing would be measured as a fast one."""
    if not any(one.pairs for one in samples):
        raise InvalidInput(f"url: no request was answered with a ranking, but with {samples[0].outcome}", param="url")


async def _round(generator: Generator, load: Load, requests: int, process: Any) -> Round:
    usages: list[Usage] = []
    watching = asyncio.create_task(watch(process, usages)) if process else None
    await asyncio.sleep(0)  # the first usage is taken before the first request
    spent = time.process_time()
    samples = await generator.run(load, requests)
    spent = time.process_time() - spent
    if watching:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    return Round(samples, usages, spent)


def _result(settings: Settings, rounds: Mapping[str, Sequence[Round]], usages: Sequence[Usage]) -> JsonObject:
    loads = {load.name: load.described() for load in settings.loads}
    load = settings.workload
    return {
        "bench": "serve",
        "workload": {"model": load.model, "documents": load.documents, "document_bytes": load.document_bytes},
        "server": settings.url or "started here",
        "one_core": settings.one_core,
        "repeats": settings.repeats,
        "results": [summarise(loads[name], each) for name, each in rounds.items()],
        "pairs_per_second_ratio": ratios(rounds),
        "memory": memory(usages),
    }
