"""What a second replica is worth, beside what a second process is; and what the cluster's path costs, beside a call of nothing.

    python scripts/cluster_speed.py [--shape nano|0.6b] [--layers N] [--documents N] [--words N] [--rounds N] [--calls N]

In every round, one after the other: plain products in one process and in two at once (the ceiling of this machine), one request
with one replica and with two, of one thread each. Then calls in turn: of a replica that does nothing, of a model through the
cluster, and of the same model in this process, by the same worker. Random weights. Prints a table and one line of JSON.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gigarank.bench import machine
from gigarank.bench.checkpoint import shape_of, write_checkpoint
from gigarank.engine.work import Search, Work
from gigarank.types import JsonObject

ROWS, WIDTH, HEIGHT = 512, 1_024, 3_072  # of a product, as in an MLP of the 0.6B shape
PRODUCTS_S = 2.0
CEILING, OVERHEAD = 0.85, 1.5
PACKAGES = ("gigarank", "ray", "torch")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shape", choices=["nano", "0.6b"], default="nano")
    parser.add_argument("--layers", type=int, help="shorten the model for a look; the result says so")
    parser.add_argument("--documents", type=int, default=40)
    parser.add_argument("--words", type=int, default=40, help="of a document")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=200, help="of each kind, with a model of one layer; 0 leaves them out")
    asked = parser.parse_args(arguments)
    os.environ.update(OMP_NUM_THREADS="1", RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")
    with tempfile.TemporaryDirectory(prefix="gigarank-cluster-") as place, two_processes() as processes:
        for name, layers in (("whole", asked.layers), ("short", 1)):
            shape, prompt = shape_of(asked.shape, layers)
            write_checkpoint(Path(place) / name, shape, prompt)
        result = asyncio.run(measured(asked, Path(place), processes))
    print("\n".join(table(result)) + "\n")
    print(json.dumps(result | {"machine": machine.describe(PACKAGES)}))
    return 0


async def measured(asked: argparse.Namespace, place: Path, processes: Sequence[Connection]) -> JsonObject:
    import ray  # noqa: PLC0415 - seconds long
    from ray import serve  # noqa: PLC0415
    from ray.serve.config import ProxyLocation  # noqa: PLC0415

    ray.init("local", num_cpus=5, include_dashboard=False, log_to_driver=False, object_store_memory=200 * 2**20)
    serve.start(proxy_location=ProxyLocation.Disabled)
    try:
        rounds = await in_rounds(asked, place, processes)
        calls = await in_turn(asked.calls, place) if asked.calls else {}
    finally:
        serve.shutdown()
        ray.shutdown()
    about = {"shape": asked.shape, "layers": asked.layers, "documents": asked.documents, "words": asked.words}
    return {"bench": "cluster", **about, **summary(rounds), "calls": called(calls)}


async def in_rounds(asked: argparse.Namespace, place: Path, processes: Sequence[Connection]) -> dict[str, list[float]]:
    """Rates by what was measured: of products a second and of documents a second."""
    words = ("plants make food from light and water in green leaves that stand in the sun all day " * 20).split()
    documents = tuple(f"{number} " + " ".join(words[: asked.words]) for number in range(asked.documents))
    work = Work((Search("how do plants make food", documents),))
    found: dict[str, list[float]] = {"one process": [], "two processes": [], "one replica": [], "two replicas": []}
    backends = {name: await backend(place / "whole", name, count) for name, count in (("one replica", 1), ("two replicas", 2))}
    for number in range(asked.rounds + 1):  # the first warms up
        rates = {"one process": products(processes[:1]), "two processes": products(processes)}
        for name, asking in backends.items():
            started = time.perf_counter()
            await asking("whole", work)
            rates[name] = asked.documents / (time.perf_counter() - started)
        print(f"round {number}: " + ", ".join(f"{name} {rate:.2f}" for name, rate in rates.items()), file=sys.stderr)
        for name, rate in rates.items() if number else ():
            found[name].append(rate)
    return found


async def in_turn(calls: int, place: Path) -> dict[str, list[float]]:
    """Seconds of each call, by what was called."""
    from ray import serve  # noqa: PLC0415

    from gigarank.engine.reranker import Reranker  # noqa: PLC0415
    from gigarank.engine.worker import Worker  # noqa: PLC0415

    work = Work((Search("how do plants make food", ("by light", "in a kitchen", "a red car", "")),))
    through, worker = await backend(place / "short", "short", 1), Worker(Reranker.load(place / "short"))
    nothing = serve.run(serve.deployment(Nothing).bind(), name="nothing", route_prefix=None)
    kinds: dict[str, Callable[[], Awaitable[Any]]] = {
        "nothing": lambda: asyncio.wait_for(nothing.call.remote(), 60.0),
        "cluster": lambda: through("short", work),
        "in process": lambda: asyncio.wrap_future(worker.score(work).future),
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(calls + 20):
        for name, call in kinds.items():
            started = time.perf_counter()
            await call()
            if number >= 20:
                found[name].append(time.perf_counter() - started)
    worker.close()
    return found


class Nothing:
    async def call(self) -> None:
        """A call, and no more."""


async def backend(folder: Path, application: str, replicas: int) -> Callable[[str, Work], Awaitable[Any]]:
    """What scores on an application of so many replicas of one thread, once they run."""
    from gigarank.cluster.client import Access, Cluster  # noqa: PLC0415
    from gigarank.cluster.options import ClusterOptions, ModelSource, Replicas  # noqa: PLC0415
    from gigarank.service.hosting.specs import ModelSpec  # noqa: PLC0415
    from gigarank.service.upstream.balance import BalanceLimits  # noqa: PLC0415
    from gigarank.service.upstream.cluster import backend_on  # noqa: PLC0415

    spec = ModelSpec(folder.name, str(folder), pinned=True)
    options = ClusterOptions((ModelSource(spec.name, spec.source, pinned=True),), Replicas(replicas, replicas), dtype="fp32")
    cluster = Cluster(Access("local", timeout_s=600.0, application=application.replace(" ", "-")), options)
    made = backend_on([spec], cluster, BalanceLimits(grace_s=600.0))
    await made.start()
    while not (made.ready() and await cluster.running() == replicas):
        await asyncio.sleep(0.2)
    await asyncio.sleep(3.0)  # it is looked at every two seconds: then it knows how many there are
    return made.score


@contextmanager
def two_processes() -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(2)]
    started = [context.Process(target=multiply, args=(theirs,), daemon=True) for _, theirs in pairs]
    for process in started:
        process.start()
    try:
        yield [ours for ours, _ in pairs]
    finally:
        for process in started:
            process.terminate()
            process.join()


def multiply(asked: Connection) -> None:
    """In its own process: so many seconds of products, whenever asked, and how many there were in a second."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    left, right = torch.randn(ROWS, WIDTH), torch.randn(WIDTH, HEIGHT)
    while True:
        seconds, done, started = asked.recv(), 0, time.perf_counter()
        while (passed := time.perf_counter() - started) < seconds:
            torch.mm(left, right)
            done += 1
        asked.send(done / passed)


def products(processes: Sequence[Connection]) -> float:
    """A second, of all of them at once."""
    for process in processes:
        process.send(PRODUCTS_S)
    return float(sum(process.recv() for process in processes))


def summary(rates: dict[str, list[float]]) -> JsonObject:
    """The medians, and of each round's ratios the median: what a second one is worth."""
    medians = {name: round(statistics.median(found), 3) for name, found in rates.items()}
    ceiling = _ratio(rates["two processes"], rates["one process"])
    replicas = _ratio(rates["two replicas"], rates["one replica"])
    return {"rates": medians, "ceiling": ceiling, "replicas": replicas, "of_ceiling": round(replicas / ceiling, 3)}


def _ratio(two: Sequence[float], one: Sequence[float]) -> float:
    return round(statistics.median(more / less for more, less in zip(two, one, strict=True)), 3)


def called(seconds: dict[str, list[float]]) -> JsonObject:
    """Milliseconds, medians; the overhead is what the cluster takes more than this process, over a call of nothing."""
    if not seconds:
        return {}
    medians = {name: round(statistics.median(found) * 1e3, 3) for name, found in seconds.items()}
    overhead = (medians["cluster"] - medians["in process"]) / medians["nothing"]
    return {"median_ms": medians, "overhead_of_nothing": round(overhead, 3)}


def table(result: JsonObject) -> list[str]:
    rates = result["rates"]
    lines = [
        f"| {result['shape']} | one | two | two over one |",
        "|---|---|---|---|",
        f"| plain products a second, processes | {rates['one process']} | {rates['two processes']} | {result['ceiling']} |",
        f"| documents a second, replicas | {rates['one replica']} | {rates['two replicas']} | {result['replicas']} |",
        "",
        f"two replicas reach {result['of_ceiling']:.0%} of the ceiling (wanted {CEILING:.0%})",
    ]
    if calls := result["calls"]:
        shown = ", ".join(f"{name} {value} ms" for name, value in calls["median_ms"].items())
        lines.append(f"calls: {shown}; overhead {calls['overhead_of_nothing']} of a call of nothing (wanted {OVERHEAD})")
    return lines


if __name__ == "__main__":
    sys.exit(main())
