"""All drills by their names, and one way to perform them."""

from collections.abc import Callable, Mapping

from drills import clusters, machines, replicas, stores
from drills.stage import Stage, stage
from drills.verdict import Verdict

DRILLS: Mapping[str, Callable[[Stage], Verdict]] = {
    "replica_killed": replicas.replica_killed,
    "only_replica_killed": replicas.only_replica_killed,
    "upstream_spoilt": replicas.upstream_spoilt,
    "rolling_update": replicas.rolling_update,
    "cluster_replica_killed": clusters.cluster_replica_killed,
    "cluster_only_replica_killed": clusters.cluster_only_replica_killed,
    "cluster_rolling_update": clusters.cluster_rolling_update,
    "postgres_restarted": stores.postgres_restarted,
    "postgres_partitioned": stores.postgres_partitioned,
    "redis_down": stores.redis_down,
    "redis_down_open": stores.redis_down_open,
    "redis_hangs": stores.redis_hangs,
    "two_sweepers": stores.two_sweepers,
    "two_servers_sweep": stores.two_servers_sweep,
    "disk_full": machines.disk_full,
    "clock_jumps": machines.clock_jumps,
}


def perform(name: str, requests: int, clients: int) -> Verdict:
    """Raises Impossible where this machine cannot do it."""
    with stage(requests, clients) as one:
        return DRILLS[name](one)
