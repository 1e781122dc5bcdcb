"""The cluster as a server asks it: reached, given the deployment, asked for logits.

Every method but `connect` may be awaited in any event loop; what blocks runs on threads. Knows no HTTP and no requests, only
portions. Invariant: what is raised is a GigarankError; ClusterUnavailable says that another try may find a replica.
"""

import asyncio
import logging
import os
import re
import socket
import threading
import time
from dataclasses import dataclass, field

import ray
from ray import serve
from ray._private.state import available_resources_per_node  # ray.available_resources() adds up what no node has together
from ray.exceptions import RayError
from ray.serve.config import ProxyLocation
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from gigarank.cluster.application import application, has_room
from gigarank.cluster.options import APPLICATION, DEPLOYMENT, LOCAL, ClusterOptions, check_address
from gigarank.engine.portion import Portion
from gigarank.engine.work import Tier
from gigarank.errors import ClusterUnavailable, GigarankError

_REASON = re.compile(r"gigarank\.errors\.\w+: (.*)")
_REACH_S, _LOOK_S = 5.0, 0.25
_LOCAL_STORE_BYTES = 200 * 2**20  # what travels are tokens and numbers
_CHANGING = (ApplicationStatus.DEPLOYING, ApplicationStatus.DELETING)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """Where the cluster is: local, auto or HOST:PORT. `deploys`: whether this server tells it what to run. `timeout_s`: for an
    answer. `application`: its name there."""

    address: str
    deploys: bool = True
    timeout_s: float = 30.0
    application: str = APPLICATION


@dataclass(eq=False)
class Cluster:
    access: Access
    options: ClusterOptions
    _handles: dict[str, DeploymentHandle] = field(default_factory=dict)
    _told: bool = False
    _closed: bool = False
    _telling: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def connect(cls, access: Access, options: ClusterOptions) -> "Cluster":
        """Joins the cluster, or starts one on this machine. Raises InvalidInput, ClusterUnavailable."""
        check_address(access.address)
        _join(access.address)
        serve.start(proxy_location=ProxyLocation.Disabled)
        return cls(access, options)

    async def running(self) -> int:
        """How many replicas take work; the first call deploys, and waits for the first of them. Raises GigarankError."""
        return await asyncio.to_thread(self._running)

    async def ask(self, model: str, asked: Portion, tier: Tier, priority: int) -> list[float]:
        """Raises ClusterUnavailable, or what the replica says."""
        response = self._handle(model).ask.remote(model, asked, tier, priority)
        try:
            async with asyncio.timeout(self.access.timeout_s):
                told: list[float] | GigarankError = await response
        except TimeoutError as error:
            response.cancel()
            raise ClusterUnavailable("cluster: no replica answered in time") from error
        except asyncio.CancelledError:
            response.cancel()
            raise
        except (RayError, RayServeException) as error:
            raise ClusterUnavailable(f"cluster: a replica did not answer: {type(error).__name__}") from error
        if isinstance(told, GigarankError):
            raise told
        return told

    def deploy(self) -> None:
        """Has the cluster run these options; replicas of others are replaced one after the other. Does not wait."""
        room = has_room(available_resources_per_node().values(), self.options.replicas)
        target = serve.RunTarget(application(self.options, room), name=self.access.application, route_prefix=None)
        serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)

    async def close(self) -> None:
        """Leaves the cluster; a local one ends."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._leave)

    def _leave(self) -> None:
        if self.access.address == LOCAL:
            serve.shutdown()
        ray.shutdown()

    def _handle(self, model: str) -> DeploymentHandle:
        """Where every replica has every model, which one is asked is a matter of their queues alone."""
        several = self.options.models_per_replica < len(self.options.models)
        key = model if several else ""
        if key not in self._handles:
            handle = serve.get_deployment_handle(DEPLOYMENT, self.access.application)
            self._handles[key] = handle.options(multiplexed_model_id=model) if several else handle
        return self._handles[key]

    def _running(self) -> int:
        try:
            with self._telling:
                if not self._told:
                    self._tell()
                    self._told = True
            return _replicas(self._overview())
        except (RayError, RayServeException) as error:
            raise ClusterUnavailable(f"cluster: it does not answer: {type(error).__name__}") from error

    def _tell(self) -> None:
        """Deploys what is not deployed yet, and returns when something runs. Raises ClusterUnavailable."""
        if self.access.deploys and (self._overview() is None or not self._is_ours(self._settled())):
            _log.info("cluster: deploying %s", ", ".join(model.name for model in self.options.models))
            self.deploy()
        while not _replicas(self._settled(), least=0):
            time.sleep(_LOOK_S)

    def _settled(self) -> ApplicationStatusOverview | None:
        """Once it is no longer being deployed. Raises ClusterUnavailable when this server ends."""
        while (overview := self._overview()) is not None and overview.status in _CHANGING:
            time.sleep(_LOOK_S)
            if self._closed:
                raise ClusterUnavailable("cluster: this server leaves it")
        return overview

    def _overview(self) -> ApplicationStatusOverview | None:
        return serve.status().applications.get(self.access.application)

    def _is_ours(self, overview: ApplicationStatusOverview | None) -> bool:
        if overview is None or not _replicas(overview, least=0):
            return False
        told = self._handle(self.options.models[0].name).described.remote().result(timeout_s=self.access.timeout_s)
        return bool(told["fingerprint"] == self.options.fingerprint())


def _replicas(overview: ApplicationStatusOverview | None, least: int = 1) -> int:
    """Those that run. Raises ClusterUnavailable where there are fewer than `least`."""
    if overview is None:
        raise ClusterUnavailable("cluster: gigarank is not deployed there", retry_after=2.0)
    deployment = overview.deployments.get(DEPLOYMENT)
    running = int(deployment.replica_states.get("RUNNING", 0)) if deployment is not None else 0
    if running < least or (not running and overview.status == ApplicationStatus.DEPLOY_FAILED):
        said = " ".join((overview.message, deployment.message if deployment is not None else ""))
        raise ClusterUnavailable(f"cluster: no replica runs: {_reason(said, overview.status)}", retry_after=2.0)
    return running


def _reason(said: str, status: ApplicationStatus) -> str:
    """The error of ours that a replica ended with, out of Ray Serve's many words."""
    found = _REASON.findall(said)
    return found[-1].strip() if found else str(status.value).lower().replace("_", " ")


def _join(address: str) -> None:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        if address == LOCAL:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            # Replicas have the priority of the command, not one 15 steps lower: beside a busy process they would stand still.
            os.environ.setdefault("RAY_worker_niceness", "0")
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                object_store_memory=_LOCAL_STORE_BYTES,
            )
        else:
            _reach(address)
            ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise ClusterUnavailable(f"cluster: {address} cannot be reached: {said}", param="cluster", received=address) from error


def _reach(address: str) -> None:
    """Ray would try for a minute. Raises OSError."""
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()
