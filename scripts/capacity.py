"""The simulation of `gigarank plan` against real servers on this machine: one replica, then two, under the same requests.

    python scripts/capacity.py [--replicas N] [--loads X,X] [--seconds S] [--documents N] [--tokens N] [--profile FILE]

Starts N `gigarank serve` of nano with one thread each, one a core. Requests one at a time give the costs; a client at each
server at once gives the speed that the machine has for N (its cores may share one). Then, for each load (a share of what N
replicas can do), requests come at random moments to the server with the fewest tokens on their way. The simulation gets the
same requests at the same times, and the two p50 and p99 are compared. Ends in one line of JSON. Exit code 1: some request
failed.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
from tokenizers import Tokenizer

from gigarank.bench import machine
from gigarank.bench.serve_process import PROGRAM, free_port, running, until_ready
from gigarank.bench.workloads import words
from gigarank.catalogue import NANO
from gigarank.cluster.capacity.calibration import Timed, fit, with_speeds
from gigarank.cluster.capacity.costs import Costs
from gigarank.cluster.capacity.replica import Bounds
from gigarank.cluster.capacity.simulation import Fleet, simulate
from gigarank.cluster.capacity.summary import percentile
from gigarank.cluster.capacity.traffic import PROMPTS, QUERY_TOKENS, Arrival, Traffic, arrivals
from gigarank.engine.request import Reads, encode
from gigarank.engine.store import locate
from gigarank.engine.tokenizer import PromptTokenizer, TextTokenizer
from gigarank.errors import InvalidInput
from gigarank.prompt import NANO_V1
from gigarank.types import JsonObject, Pair

ONE_THREAD = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
CALIBRATION_DOCUMENTS = (1, 2, 4, 8, 16, 24)
_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as bytes, and as the engine will see it."""

    body: bytes
    arrival: Arrival


class Texts:
    """nano's tokenizer, and the words that are one token to it."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = PromptTokenizer(TextTokenizer.from_folder(folder), NANO_V1, NANO.context_tokens)
        self.vocabulary = words(Tokenizer.from_file(str(folder / "tokenizer.json")))


class Servers:
    """Real servers by address, and the tokens on their way to each."""

    def __init__(self, urls: Sequence[str], session: aiohttp.ClientSession) -> None:
        self._urls = urls
        self._session = session
        self._tokens = [0] * len(urls)

    async def ask(self, asked: Asked, intended: float, server: int | None = None) -> Timed:
        """Its seconds count from `intended`."""
        chosen = min(range(len(self._urls)), key=lambda one: self._tokens[one]) if server is None else server
        self._tokens[chosen] += asked.arrival.tokens
        try:
            async with self._session.post(f"{self._urls[chosen]}/v1/rerank", data=asked.body) as answer:
                text = await answer.read()
                model_s = float(answer.headers.get("x-gigarank-inference-ms", 0.0)) / 1e3
        finally:
            self._tokens[chosen] -= asked.arrival.tokens
        if answer.status != 200 or len(json.loads(text)["results"]) != asked.arrival.documents:
            raise InvalidInput(f"a server answered {answer.status}: {text[:200]!r}", param="replicas")
        return Timed(asked.arrival.pieces, model_s, time.perf_counter() - intended)


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    texts = Texts(locate(NANO.name).folder)
    with ExitStack() as stack:
        urls = [_start(stack, core) for core in range(asked.replicas)]
        found = asyncio.run(measure(urls, texts, asked))
    found |= {"bench": "capacity", "replicas": asked.replicas, "documents": asked.documents, "tokens": asked.tokens}
    found["machine"] = machine.describe((*machine.PACKAGES, "simpy"))
    print(f"{table(found)}\n")
    print(json.dumps(found))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--replicas", type=int, default=1, help="servers, each with one thread on a core of its own")
    parser.add_argument("--loads", type=_shares, default=(0.4, 0.7), help="shares of what they can do, with commas")
    parser.add_argument("--seconds", type=float, default=90.0, help="how long each load lasts")
    parser.add_argument("--documents", type=int, default=3, help="of a request, 40%% more or fewer")
    parser.add_argument("--tokens", type=int, default=24, help="of a document, 40%% more or fewer")
    parser.add_argument("--repeats", type=int, default=6, help="requests of each size to calibrate with")
    parser.add_argument("--profile", type=Path, help="write the costs here, for `gigarank plan --profile`")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _shares(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _start(stack: ExitStack, core: int) -> str:
    """A server on one of this process's cores."""
    cores = sorted(os.sched_getaffinity(0))
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = (*PROGRAM, "serve", "--port", str(port), "--model", "nano")
    process, _ = stack.enter_context(running(command, ONE_THREAD))
    process.cpu_affinity([cores[core % len(cores)]])
    asyncio.run(until_ready(url, process))
    return url


async def measure(urls: Sequence[str], texts: Texts, asked: argparse.Namespace) -> JsonObject:
    bounds = Bounds()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        servers = Servers(urls, session)
        costs, calibrated = await calibrate(servers, texts, asked)
        if asked.profile:
            asked.profile.write_text(json.dumps(profile(costs), indent=2) + "\n", encoding="utf-8")
        results = []
        for number, share in enumerate(asked.loads):
            traffic = Traffic(1.0, asked.documents, asked.tokens, PROMPTS[NANO.prompt], seed=asked.seed + number)
            results.append(await compare(servers, texts, costs, (traffic, share, asked.seconds, len(urls))))
            print(f"load {share:g}: {results[-1]['latency_ms']}", file=sys.stderr)
    return {"costs": asdict(costs), "calibration": calibrated, "bounds": asdict(bounds), "results": results}


async def calibrate(servers: Servers, texts: Texts, asked: argparse.Namespace) -> tuple[Costs, JsonObject]:
    """Sizes in turn, one request at a time; then at each server at once."""
    sizes = [
        one
        for number in range(asked.repeats)
        for documents in CALIBRATION_DOCUMENTS
        for one in requests(_traffic(documents, asked.tokens, seed=number), 1, texts)
    ]
    for one in sizes[:_WARM_UP]:
        await asyncio.gather(*(servers.ask(one, time.perf_counter(), server) for server in range(asked.replicas)))
    together = [await _in_turn(servers, sizes, range(count)) for count in range(1, asked.replicas + 1)]
    limits = Bounds().limits
    costs = with_speeds(fit(together[0], NANO.shape, limits), together, limits)
    errors = [costs.model_s(one.pieces, limits) / one.model_s - 1.0 for one in together[0]]
    return costs, {"requests": len(sizes), "error": {"p5": percentile(errors, 5), "p95": percentile(errors, 95)}}


async def _in_turn(servers: Servers, asked: Sequence[Asked], chosen: Sequence[int]) -> list[Timed]:
    """Each server gets all of them one after the other; the servers at once."""

    async def one_client(server: int) -> list[Timed]:
        mine = random.Random(server).sample(list(asked), len(asked))
        return [await servers.ask(one, time.perf_counter(), server) for one in mine]

    return [timed for each in await asyncio.gather(*map(one_client, chosen)) for timed in each]


async def compare(servers: Servers, texts: Texts, costs: Costs, about: tuple[Traffic, float, float, int]) -> JsonObject:
    """One load, measured and simulated."""
    traffic, share, seconds, replicas = about
    one_at_a_time = Fleet(costs, 1)
    mean_s = sum(map(one_at_a_time.alone, arrivals(traffic, 500))) / 500
    rate = share * replicas * costs.speeds[-1] / mean_s
    sent = requests(replace(traffic, rate=rate), max(20, round(rate * seconds)), texts)
    measured = [one.total_s for one in await _openly(servers, sent)]
    run = simulate([one.arrival for one in sent], Fleet(costs, replicas))
    shown = {
        name: {str(p): 1e3 * percentile(values, p) for p in (50, 90, 99)}
        for name, values in (("measured", measured), ("simulated", run.latencies_s))
    }
    off = {p: shown["simulated"][p] / shown["measured"][p] - 1.0 for p in shown["measured"]}
    return {"load": share, "rate": rate, "requests": len(sent), "latency_ms": shown, "off": off, "utilisation": run.utilisation}


async def _openly(servers: Servers, sent: Sequence[Asked]) -> list[Timed]:
    async with asyncio.TaskGroup() as group:
        started, tasks = time.perf_counter(), []
        for one in sent:
            intended = started + one.arrival.at
            await asyncio.sleep(max(0.0, intended - time.perf_counter()))
            tasks.append(group.create_task(servers.ask(one, intended)))
    return [task.result() for task in tasks]


def _traffic(documents: int, tokens: int, seed: int) -> Traffic:
    return Traffic(1.0, documents, tokens, PROMPTS[NANO.prompt], seed=1_000 * documents + seed)


def requests(traffic: Traffic, count: int, texts: Texts) -> list[Asked]:
    """The traffic's own requests, as texts; their pieces are then counted by the engine."""
    rng = random.Random(f"texts {traffic.seed}")
    made = []
    for one in arrivals(traffic, count):
        query = _text(rng, texts.vocabulary, QUERY_TOKENS)
        lengths = [piece.length - traffic.prompt.suffix for piece in one.pieces if piece.wanted]
        documents = [_text(rng, texts.vocabulary, length) for length in lengths]
        body = json.dumps({"model": NANO.name, "query": query, "documents": documents}).encode()
        pieces = encode([Pair(query, document) for document in documents], texts.tokenizer, Reads()).pieces
        made.append(Asked(body, Arrival(one.at, tuple(pieces))))
    return made


def _text(rng: random.Random, vocabulary: Sequence[str], count: int) -> str:
    return "".join(rng.choices(vocabulary, k=count))[1:]


def profile(costs: Costs) -> JsonObject:
    """A file for `gigarank plan --profile`."""
    where = f"{machine.cpu_model()}, one thread a replica"
    source = f"scripts/bench plan, {time.strftime('%Y-%m-%d', time.gmtime())}, {where}"
    return {"model": NANO.name, "hardware": where, "source": source, "costs": asdict(costs)}


def table(found: Any) -> str:
    """A load a row, and what the calibration gave."""
    costs = found["costs"]
    lines = ["| load | requests/s | requests | | p50 | p90 | p99 |", "|---|---|---|---|---|---|---|"]
    for one in found["results"]:
        head = f"| {one['load']:.2f} | {one['rate']:.2f} | {one['requests']} "
        for name, values in one["latency_ms"].items():
            lines.append(f"{head}| {name} | " + " | ".join(f"{value:.0f} ms" for value in values.values()) + " |")
            head = "| | | "
        lines.append("| | | | off by | " + " | ".join(f"{value:+.1%}" for value in one["off"].values()) + " |")
    speeds = ", ".join(f"{speed:.2f}" for speed in costs["speeds"])
    lines.append(f"\n{costs['batch_s'] * 1e3:.1f} ms a batch, {costs['token_s'] * 1e3:.3f} ms a token; speeds {speeds}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
