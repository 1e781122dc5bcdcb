"""What Ray Serve is told: one deployment of the replica, how it scales, how its health is asked, how it is replaced.

`build` is the import path of a Serve config file, as RayService of KubeRay has one. Knows no servers. Invariant: an old replica
that is replaced answers what it has begun.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, RequestRouterConfig

from gigarank.cluster.options import DEPLOYMENT, ClusterOptions, Replicas, options_from
from gigarank.cluster.replica import Scorer

_MOST_ONGOING = 1_000  # of a replica: its worker puts them in order, and tells how many tokens wait
_HEALTH_S, _HEALTH_TIMEOUT_S = 10.0, 60.0
_DRAIN_S = 60.0
_UPSCALE_S, _DOWNSCALE_S, _LOOK_BACK_S = 5.0, 120.0, 15.0
_STARTS = 3
"""A replica that fails so often to start fails the deployment, and leaves those that still run as they were."""
_SURGE_PERCENT = 1  # of the replicas, rounded up: one more than there are to be


def application(options: ClusterOptions, room: bool = False) -> serve.Application:
    """`room`: an update starts a new replica before it stops an old one, for which there must be room, or it waits for ever;
    else it stops one first."""
    replicas = options.replicas
    scaling = AutoscalingConfig(
        min_replicas=replicas.least,
        max_replicas=replicas.most,
        upscale_delay_s=_UPSCALE_S,
        downscale_delay_s=_DOWNSCALE_S,
        look_back_period_s=_LOOK_BACK_S,
        policy=AutoscalingPolicy(
            policy_function="gigarank.cluster.scaling:TokensPolicy", policy_kwargs={"tokens": replicas.tokens}
        ),
    )
    deployment = serve.deployment(
        Scorer,
        name=DEPLOYMENT,
        autoscaling_config=scaling,
        request_router_config=RequestRouterConfig(request_router_class="gigarank.cluster.routing:TokensRouter"),
        max_ongoing_requests=_MOST_ONGOING,
        health_check_period_s=_HEALTH_S,
        health_check_timeout_s=_HEALTH_TIMEOUT_S,
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=_DRAIN_S,
        max_constructor_retry_count=_STARTS,
        max_surge_percent=_SURGE_PERCENT if room else 0,
        ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
    )
    return deployment.bind(options)


def has_room(free: Iterable[Mapping[str, float]], replicas: Replicas) -> bool:
    """Whether one of the nodes, each what is free of it, could take one more replica."""
    return any(node.get("CPU", 0.0) >= replicas.cpus and node.get("GPU", 0.0) >= replicas.gpus for node in free)


def build(arguments: dict[str, Any]) -> serve.Application:
    """The application of a Serve config file: `args` are the options, by their names. Raises InvalidInput."""
    return application(options_from(arguments))
