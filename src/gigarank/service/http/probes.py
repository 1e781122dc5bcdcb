"""What operators ask: whether the process lives, whether it can answer, what it has counted, what it offers.

Invariant: the probes answer while models load and while the server drains; they need no model.
"""

from collections.abc import Sequence

from gigarank.errors import ModelLoading, ShuttingDown
from gigarank.service.backend import ModelState
from gigarank.service.call import Answer, Call, Endpoint, Route, Routes
from gigarank.service.http.dispatch import Lifecycle
from gigarank.service.http.metrics import Metrics
from gigarank.types import JsonObject

_STATUS: JsonObject = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}


def probes(lifecycle: Lifecycle, metrics: Metrics, metrics_public: bool) -> Routes:
    return (
        Route("GET", "/health", health, "Whether the process lives", "operations", response=_STATUS, public=True),
        Route("GET", "/ready", _ready(lifecycle), "Whether it can answer", "operations", response=_STATUS, public=True),
        Route(
            "GET",
            "/metrics",
            _exposition(metrics),
            "Counters and histograms, as Prometheus reads them",
            "operations",
            listed=False,
            public=metrics_public,
        ),
    )


async def health(call: Call) -> Answer:
    return Answer({"status": "ok"})


def _ready(lifecycle: Lifecycle) -> Endpoint:
    async def ready(call: Call) -> Answer:
        if lifecycle.draining:
            raise ShuttingDown("the server is shutting down", retry_after=5.0)
        if not call.backend.ready():
            raise _not_ready([model for model in call.backend.models() if model.pinned])
        return Answer({"status": "ready"})

    return ready


def _not_ready(pinned: Sequence[ModelState]) -> ModelLoading:
    """Counts and an estimate: this is answered without a key, so it names no model."""
    missing = [model for model in pinned if model.state != "ready"]
    if not missing:
        return ModelLoading("the server is starting", retry_after=1.0)
    states = ", ".join(sorted({model.state for model in missing}))
    estimates = [model.ready_in_s for model in missing if model.ready_in_s is not None]
    message = f"{len(missing)} of {len(pinned)} models that have to be loaded are not ready ({states})"
    return ModelLoading(message, retry_after=max(estimates, default=1.0))


def _exposition(metrics: Metrics) -> Endpoint:
    async def exposition(call: Call) -> Answer:
        text, content_type = metrics.exposition(call.headers.get("accept", ""))
        return Answer(text, headers={"content-type": content_type})

    return exposition


def description(document: JsonObject) -> Route:
    async def openapi(call: Call) -> Answer:
        return Answer(document)

    return Route("GET", "/openapi.json", openapi, "This description", "operations", listed=False, public=True)
