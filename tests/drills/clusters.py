"""Drills of `gigarank serve --cluster`: copies of a model that Ray Serve runs, killed and replaced while clients ask.

The model has two small layers and random weights. Each answer's scores are compared with those that the engine gives in the
drill's own process. Clients ask once, and send nothing again.
"""

import signal
import time
from dataclasses import dataclass
from pathlib import Path

from drills.load import Load, Question, longest_silence, quantile
from drills.ray_cluster import END_S, LOCAL, SETTINGS, START_S, Own, Replicas, head, require_ray
from drills.replicas import Ready
from drills.stage import Stage, postgres
from drills.verdict import Verdict, judge
from houses import House

_RATIO = 5  # of p99 around a kill to that of calm, at most
_REST_S = 0.2
_QUERY = "which planet is red"
_TEXTS = tuple(f"{number} the red planet is Mars and Venus is bright " for number in range(8))


def _questions(folder: Path) -> list[Question]:
    """Of a few words, which one replica answers, and of so many that both have a part of it. The checkpoint is written."""
    from gigarank.bench.checkpoint import write_checkpoint  # noqa: PLC0415 - torch: seconds, and other drills need none
    from gigarank.engine.reranker import Reranker  # noqa: PLC0415
    from gigarank.prompt import QWEN3_V1  # noqa: PLC0415
    from hosting import SHAPE  # noqa: PLC0415

    write_checkpoint(folder, SHAPE, QWEN3_V1)
    engine = Reranker.load(folder)
    asked = [[text * times for text in _TEXTS[:number]] for number, times in ((3, 1), (8, 20), (1, 3), (6, 30))]
    scores = [engine.score([(_QUERY, document) for document in documents]) for documents in asked]
    return [
        Question({"query": _QUERY, "documents": documents}, {n: score.relevance_score for n, score in enumerate(found)})
        for documents, found in zip(asked, scores, strict=True)
    ]


@dataclass(frozen=True)
class _Served:
    """A server with a cluster of its own, its replicas by their processes, and what asks it."""

    house: House
    load: Load
    cluster: Own
    replicas: Replicas
    processes: dict[int, str]


def _serving(stage: Stage, copies: int) -> _Served:
    require_ray()
    questions = _questions(stage.folder / "tiny")
    house, key = stage.house(**SETTINGS)
    server = stage.start(house, *_clustered(stage, LOCAL, copies), timeout_s=START_S)
    cluster = Own(server)
    stage.ending.callback(cluster.kill)
    replicas = Replicas(cluster.address, stage.ending)
    load = Load(lambda: server.url, key, stage.clients, rest_s=_REST_S, questions=questions)
    return _Served(house, load, cluster, replicas, replicas.processes(copies))


def _clustered(stage: Stage, address: str, copies: int) -> tuple[str, ...]:
    number = str(copies)
    copied = ("--cluster-min-replicas", number, "--cluster-max-replicas", number)
    return ("--model", f"tiny={stage.folder / 'tiny'}", "--cluster", address, *copied, "--no-pages")


def cluster_replica_killed(stage: Stage) -> Verdict:
    """Each of two, with -9 in the middle of its work, the second once the first has a successor."""
    served = _serving(stage, 2)
    outages = []
    with served.load as load:
        load.further(stage.requests)
        for victim in served.processes:
            served.replicas.kill(victim)
            killed = time.monotonic()
            served.replicas.processes(2, without=[victim])
            outages.append((killed, time.monotonic()))
            load.further(stage.requests)
    calm = [one for one in load.done if not any(one.met(outage) for outage in outages)]
    around = [one for one in load.done if any(one.met(outage) for outage in outages)]
    times = quantile(around, 0.99) / quantile(calm, 0.99)
    seconds = ", ".join(f"{back - killed:.0f}" for killed, back in outages)
    verdict = judge(
        "cluster_replica_killed", served.house, load, calm, note=f"2 again after {seconds} s; p99 then {times:.1f} times"
    )
    return verdict.but("" if times <= _RATIO else f"p99 is more than {_RATIO} times", served.cluster.end())


def cluster_only_replica_killed(stage: Stage) -> Verdict:
    """There is nobody to serve until Ray has started another one: what is refused is 503 and free."""
    served = _serving(stage, 1)
    (victim,) = served.processes
    with served.load as load:
        calm = load.further(stage.requests)
        served.replicas.kill(victim)
        served.replicas.processes(1, without=[victim])
        load.further(stage.requests)
    note = f"no answer for {longest_silence(load.done):.1f} s"
    verdict = judge("cluster_only_replica_killed", served.house, load, calm, losing=True, note=note)
    others = sorted(set(load.statuses()) - {200, 503})
    return verdict.but(f"refused with {others}" if others else "", served.cluster.end())


def cluster_rolling_update(stage: Stage) -> Verdict:
    """On a cluster of its own a server is replaced by one with another `cluster_version`, while clients go by /ready."""
    require_ray()
    questions = _questions(stage.folder / "tiny")
    with head(stage.folder) as address, postgres() as database, Ready() as ready:
        house, key = stage.house(database.url, **SETTINGS)
        words = (*_clustered(stage, address, 2), "--drain-delay-s", "2")
        first = stage.start(house, *words, timeout_s=START_S)
        ready.add(first)
        replicas = Replicas(address, stage.ending)
        old = replicas.processes(2)
        with Load(ready.where, key, stage.clients, rest_s=_REST_S, questions=questions) as load:
            calm = load.further(stage.requests)
            second = stage.start(house, *words, "--cluster-version", "2", timeout_s=START_S)
            ready.add(second)
            new = replicas.processes(2, without=old)
            load.further(stage.requests)
            codes = [first.end(signal.SIGTERM, END_S)]
            load.further(stage.requests)
        verdict = judge("cluster_rolling_update", house, load, calm, note="2 of 2 replicas are the new version's")
        codes.append(second.end(signal.SIGTERM, END_S))
    is_new = len(set(new.values())) == 1 and not set(new.values()) & set(old.values())
    changed = "" if is_new else f"options {old} before and {new} after"
    return verdict.but(changed, f"exit codes {codes}" if any(codes) else "")
