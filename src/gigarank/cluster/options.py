"""What a cluster is to run: one frozen value, the same for every server that asks the same cluster.

Values only: no Ray, no torch. Invariant: two options with the same fingerprint are the same deployment.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from gigarank.errors import InvalidInput

APPLICATION = "gigarank"
DEPLOYMENT = "models"
LOCAL = "local"
_ADDRESS = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model by the name that requests give it. `pinned`: a replica has it before it takes work."""

    name: str
    source: str
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many copies there are, and what each takes. `tokens`: waiting for a copy on the mean before another one is started.
    `models`: in the memory of one copy at a time; 0 is all. `cpus`: processors of a copy, and threads of its model."""

    least: int = 1
    most: int = 1
    tokens: int = 16_384
    models: int = 0
    cpus: int = 1
    gpus: float = 0.0


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """`version`: any word; another one has all replicas replaced, one after the other. `retry_failed_s`: for how long a model
    that could not be loaded is refused without another try."""

    models: tuple[ModelSource, ...]
    replicas: Replicas = Replicas()
    dtype: str = "auto"
    keep_quantized: bool = False
    max_batch_tokens: int = 1_024
    retry_failed_s: float = 60.0
    version: str = ""

    def __post_init__(self) -> None:
        least, most = self.replicas.least, self.replicas.most
        if most < least:
            message = f"cluster_max_replicas: must be at least cluster_min_replicas, {least}, not {most}"
            raise InvalidInput(message, param="cluster_max_replicas", limit=least, received=most)

    @property
    def models_per_replica(self) -> int:
        return self.replicas.models or len(self.models)

    def preloaded(self) -> list[ModelSource]:
        """What a replica loads before it takes work: the pinned first, and as many as it holds."""
        return sorted(self.models, key=lambda model: not model.pinned)[: self.models_per_replica]

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def options_from(given: dict[str, Any]) -> ClusterOptions:
    """Options from the JSON object that `asdict` makes of them, as a Serve config holds it. Raises InvalidInput."""
    try:
        models = tuple(ModelSource(**model) for model in given.get("models", ()))
        rest = {name: value for name, value in given.items() if name not in ("models", "replicas")}
        options = ClusterOptions(models, Replicas(**given.get("replicas", {})), **rest)
    except TypeError as error:
        raise InvalidInput(f"cluster: these are no options of a deployment: {error}", param="cluster") from error
    if not options.models:
        raise InvalidInput("cluster: at least one model must be named", param="models", limit=1, received=0)
    return options


def check_address(address: str) -> None:
    """Raises InvalidInput."""
    if address not in (LOCAL, "auto") and not _ADDRESS.fullmatch(address):
        raise InvalidInput(
            f"cluster: {address!r} is none of local, auto (of this machine's Ray node) and HOST:PORT",
            param="cluster",
            limit="local, auto, HOST:PORT",
            received=address,
        )
