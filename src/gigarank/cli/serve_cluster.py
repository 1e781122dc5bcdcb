"""`gigarank serve --cluster`: the models run on a Ray cluster, and this process keeps the rest.

The one place that knows both the server's upstreams and the cluster. Invariant: what is wrong with the settings, and a cluster
that cannot be reached, is one line before the server listens.
"""

import importlib.util
from typing import TYPE_CHECKING

from gigarank.errors import InvalidInput
from gigarank.service.settings import Settings

if TYPE_CHECKING:
    from gigarank.cluster.options import ClusterOptions
    from gigarank.service.upstream.backend import UpstreamBackend


def check_cluster(settings: Settings, backend: str) -> None:
    """Raises InvalidInput."""
    if importlib.util.find_spec("ray") is None:
        message = "cluster: needs a package that is not here (ray): pip install 'gigarank[cluster]'"
        raise InvalidInput(message, param="cluster", received=settings.cluster)
    if backend != "engine":
        message = f"cluster: the engine runs there, so --backend must be engine or left out; received {backend!r}"
        raise InvalidInput(message, param="backend", limit="engine", received=backend)
    if settings.score_cache:
        message = "score_cache: kept scores are one process's own, and a cluster has several; leave it out"
        raise InvalidInput(message, param="score_cache", limit=0, received=settings.score_cache)
    from gigarank.cluster.options import check_address

    check_address(settings.cluster)
    cluster_options(settings)


def cluster_options(settings: Settings) -> "ClusterOptions":
    from gigarank.cluster.options import ClusterOptions, ModelSource, Replicas
    from gigarank.service.hosting.specs import parse_specs

    return ClusterOptions(
        tuple(
            ModelSource(spec.name, spec.source, spec.pinned) for spec in parse_specs(settings.models, settings.default_model)
        ),
        Replicas(
            settings.cluster_min_replicas,
            settings.cluster_max_replicas,
            settings.cluster_replica_tokens,
            settings.cluster_models,
            settings.cluster_cpus,
            settings.cluster_gpus,
        ),
        settings.dtype,
        settings.keep_quantized,
        settings.max_batch_tokens,
        settings.retry_failed_s,
        settings.cluster_version,
    )


def cluster_backend(settings: Settings) -> "UpstreamBackend":
    """A backend whose cluster is reached. Raises InvalidInput, ClusterUnavailable."""
    from gigarank.cluster.client import Access, Cluster
    from gigarank.service.hosting.specs import parse_specs
    from gigarank.service.upstream.backend import WaitingLimits
    from gigarank.service.upstream.balance import BalanceLimits
    from gigarank.service.upstream.cluster import PAUSE_S, TRIES, backend_on

    access = Access(settings.cluster, settings.cluster_deploy, settings.upstream_timeout_s)
    wait_s = settings.upstream_timeout_s
    balance = BalanceLimits(tokens=settings.upstream_tokens, grace_s=wait_s, tries=TRIES, pause_s=PAUSE_S)
    waiting = WaitingLimits(settings.max_waiting_requests, settings.max_waiting_tokens)
    cluster = Cluster.connect(access, cluster_options(settings))
    return backend_on(parse_specs(settings.models, settings.default_model), cluster, balance, waiting)
