"""The load generator: real HTTP/1.1 requests over kept connections, from clients in closed loops or at a rate in an open one.

Knows no server but by its address. Invariant: every request that was to be sent becomes one Sample; nothing is retried, and a
response that is not a whole ranking counts as an error.
"""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import aiohttp

from gigarank.bench.serve_summary import Sample
from gigarank.types import JsonObject

STAGES = ("x-gigarank-queue-ms", "x-gigarank-tokenize-ms", "x-gigarank-inference-ms")
"""Headers whose sum is the backend's own time; the rest of a request's latency is the server's overhead."""


@dataclass(frozen=True, slots=True)
class Load:
    """Closed: `clients` that each send when they have been answered, and begin evenly over `over_s`, or all at once. Open:
    `rate` requests a second, Poisson arrivals."""

    clients: int = 0
    rate: float = 0.0
    over_s: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.rate:g} requests/s" if self.rate else f"{self.clients} client{'s' * (self.clients > 1)}"

    def described(self) -> JsonObject:
        kind = {"loop": "open", "rate": self.rate} if self.rate else {"loop": "closed", "clients": self.clients}
        return {"name": self.name, **kind}


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send what. `documents` is how many results a whole answer has."""

    url: str
    bodies: Sequence[bytes]
    documents: int
    key: str = ""
    timeout_s: float = 120.0


class Generator:
    """`async with Generator(target) as generator: await generator.run(load, requests)`; its connections stay open."""

    def __init__(self, target: Target, seed: int = 0) -> None:
        self._target = target
        self._bodies = itertools.cycle(target.bodies)
        self._random = random.Random(seed)

    async def __aenter__(self) -> "Generator":
        headers = {"content-type": "application/json"}
        if self._target.key:
            headers["authorization"] = f"Bearer {self._target.key}"
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=self._target.timeout_s),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def run(self, load: Load, requests: int) -> list[Sample]:
        """Sends `requests` of them and returns when the last is answered."""
        samples: list[Sample] = []
        if load.rate:
            await self._open(load.rate, requests, samples)
        else:
            turns = iter(range(requests))
            waits = (number * load.over_s / load.clients for number in range(load.clients))
            await asyncio.gather(*(self._client(wait_s, turns, samples) for wait_s in waits))
        return samples

    async def _client(self, wait_s: float, turns: Iterator[int], samples: list[Sample]) -> None:
        await asyncio.sleep(wait_s)
        for _ in turns:
            await self._into(samples, time.perf_counter())

    async def _open(self, rate: float, requests: int, samples: list[Sample]) -> None:
        async with asyncio.TaskGroup() as sending:
            intended = time.perf_counter()
            for _ in range(requests):
                intended += self._random.expovariate(rate)
                await asyncio.sleep(max(0.0, intended - time.perf_counter()))
                sending.create_task(self._into(samples, intended))

    async def _into(self, samples: list[Sample], intended: float) -> None:
        samples.append(await self._ask(intended))

    async def _ask(self, intended: float) -> Sample:
        sent = time.perf_counter()
        try:
            async with self._session.post(self._target.url, data=next(self._bodies)) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return Sample(intended, sent, time.perf_counter(), type(error).__name__, 0, 0.0)
        done = time.perf_counter()
        pairs = self._target.documents if answer.status == 200 and self._whole(text) else 0
        outcome = str(answer.status) if pairs or answer.status != 200 else "200, not a ranking"
        return Sample(intended, sent, done, outcome, pairs, backend_ms(answer.headers))

    def _whole(self, text: bytes) -> bool:
        try:
            found = json.loads(text)
        except ValueError:
            return False
        results = found.get("results") if isinstance(found, dict) else None
        return isinstance(results, list) and len(results) == self._target.documents


def backend_ms(headers: Mapping[str, str]) -> float:
    """What the timing headers add up to, in milliseconds; 0 where a server sends none."""
    return sum(float(headers.get(name, 0.0)) for name in STAGES)
